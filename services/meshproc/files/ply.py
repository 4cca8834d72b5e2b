"""PLY, binary and ASCII (Turk, "The PLY Polygon File Format", Stanford 1994); millimetres."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.errors import MeshInvalid
from services.meshproc.files.mesh import MeshLimits, TriangleMesh, checked_mesh, fans

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_INDICES = ("vertex_indices", "vertex_index")
_HEADER_BYTES = 65_536
_MOST_FIELDS = 256

_VERTEX = np.dtype(("<f4", 3))
_FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])


@dataclass(frozen=True)
class _Field:
    """A property; ``count`` is the type of a list's length."""

    name: str
    kind: np.dtype[Any]
    count: np.dtype[Any] | None = None


@dataclass(frozen=True)
class _Element:
    name: str
    rows: int
    fields: tuple[_Field, ...]

    def column(self, *names: str) -> int:
        """Place of the first field of such a name."""
        for place, field in enumerate(self.fields):
            if field.name in names:
                return place
        raise _damage(f"an element {self.name} without {' or '.join(names)}")


def read_ply(data: bytes, limits: MeshLimits) -> TriangleMesh:
    """Read vertices and faces of a PLY file; polygons become fans of triangles.

    Raises:
        MeshInvalid: The header is damaged, the file shorter than it says, or what is there makes no mesh.
    """
    order, elements, start = _header(data)
    for element in elements:
        if element.name == "vertex":
            limits.require_vertices(element.rows)
        elif element.name == "face":
            limits.require_triangles(element.rows)
    body = _Text(data[start:]) if order == "=" else _Binary(data, start)
    vertices, triangles = np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    for element in elements:
        if element.name == "vertex":
            if any(f.count is not None for f in element.fields):
                raise _damage("lists in its vertices")
            columns = [element.column(axis) for axis in "xyz"]
            vertices = body.table(element)[:, columns]
        elif element.name == "face":
            triangles = _triangles(body, element, limits)
        elif all(f.count is None for f in element.fields):
            body.table(element)
        else:
            for _ in body.rows(element):
                pass
    return checked_mesh(vertices, triangles, limits)


def write_ply(mesh: TriangleMesh) -> bytes:
    """A mesh as binary PLY."""
    faces = np.empty(len(mesh.triangles), _FACE)
    faces["count"], faces["corners"] = 3, mesh.triangles
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment Millimetres. A mesh by Maquette.",
        f"element vertex {len(mesh.vertices)}",
        *(f"property float {c}" for c in "xyz"),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    return "\n".join(header).encode() + mesh.vertices.astype("<f4").tobytes() + faces.tobytes()


class _Binary:
    """The body of a binary file, read from front to back."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data, self._at = data, start

    def table(self, element: _Element) -> NDArray[np.float64]:
        """(rows, fields) float64 of an element without lists."""
        kind = np.dtype([(f"f{i}", f.kind) for i, f in enumerate(element.fields)])
        rows = self._take(kind, element.rows)
        columns = [rows[name].astype(np.float64) for name in kind.names or ()]
        return np.stack(columns, 1) if columns else np.zeros((element.rows, 0))

    def threes(self, element: _Element, column: int) -> NDArray[np.int64] | None:
        """(rows, 3) int64 of the only list of an element, where all of its lists have three entries."""
        parts: list[tuple[str, Any]] = []
        for i, field in enumerate(element.fields):
            if field.count is not None:
                if i != column:
                    return None
                parts += [("count", field.count), ("corners", (field.kind, 3))]
            else:
                parts.append((f"f{i}", field.kind))
        kind = np.dtype(parts)
        if element.rows * kind.itemsize > len(self._data) - self._at:
            return None
        rows = np.frombuffer(self._data, kind, element.rows, self._at)
        if not (rows["count"] == 3).all():
            return None
        self._at += element.rows * kind.itemsize
        return rows["corners"].astype(np.int64)

    def rows(self, element: _Element) -> Iterator[list[NDArray[np.float64]]]:
        """Fields of one row after the other."""
        for _ in range(element.rows):
            row = []
            for field in element.fields:
                length = 1 if field.count is None else _length(float(self._take(field.count, 1)[0]))
                row.append(self._take(field.kind, length).astype(np.float64))
            yield row

    def _take(self, kind: np.dtype[Any], count: int) -> NDArray[Any]:
        size = kind.itemsize * count
        if size > len(self._data) - self._at:
            raise _damage(f"{len(self._data) - self._at:,} bytes where {size:,} more belong")
        out: NDArray[Any] = np.frombuffer(self._data, kind, count, self._at)
        self._at += size
        return out


class _Text:
    """The body of an ASCII file."""

    def __init__(self, data: bytes) -> None:
        self._numbers, self._at = _numbers(data), 0

    def table(self, element: _Element) -> NDArray[np.float64]:
        """As ``_Binary.table``."""
        return self._take(element.rows * len(element.fields)).reshape(element.rows, len(element.fields))

    def threes(self, element: _Element, column: int) -> NDArray[np.int64] | None:
        """As ``_Binary.threes``."""
        width = len(element.fields) + 3
        if any(f.count is not None for i, f in enumerate(element.fields) if i != column):
            return None
        if element.rows * width > len(self._numbers) - self._at:
            return None
        rows = self._numbers[self._at : self._at + element.rows * width].reshape(element.rows, width)
        if not (rows[:, column] == 3).all():
            return None
        self._at += element.rows * width
        return _whole(rows[:, column + 1 : column + 4])

    def rows(self, element: _Element) -> Iterator[list[NDArray[np.float64]]]:
        """As ``_Binary.rows``."""
        for _ in range(element.rows):
            yield [
                self._take(1 if field.count is None else _length(float(self._take(1)[0]))) for field in element.fields
            ]

    def _take(self, count: int) -> NDArray[np.float64]:
        if count > len(self._numbers) - self._at:
            raise _damage(f"{len(self._numbers) - self._at:,} numbers where {count:,} more belong")
        self._at += count
        return self._numbers[self._at - count : self._at]


def _triangles(body: "_Binary | _Text", element: _Element, limits: MeshLimits) -> NDArray[np.int64]:
    column = element.column(*_INDICES)
    if element.fields[column].count is None:
        raise _damage("faces that are no lists")
    simple = body.threes(element, column)
    if simple is not None:
        return simple
    polygons, count = [], 0
    for row in body.rows(element):
        polygons.append(_whole(row[column]).tolist())
        count += max(len(polygons[-1]) - 2, 0)
        limits.require_triangles(count)
    return fans(polygons)


def _header(data: bytes) -> tuple[str, list[_Element], int]:
    """Byte order, elements, and where the body begins."""
    end = data.find(b"\nend_header", 0, _HEADER_BYTES)
    stop = data.find(b"\n", end + 1)
    if not data.startswith((b"ply\n", b"ply\r\n")) or end < 0 or stop < 0:
        raise _damage("no header")
    order, elements, fields = "", [], 0
    for line in data[:end].decode("ascii", "replace").splitlines()[1:]:
        words = line.split()
        try:
            match words:
                case ["format", kind, "1.0"] if not order:
                    order = _ORDERS[kind]
                case ["element", name, rows] if order:
                    elements.append(_Element(name, _length(int(rows)), ()))
                case ["property", *what] if elements:
                    last = elements.pop()
                    elements.append(_Element(last.name, last.rows, (*last.fields, _field(what, order))))
                    fields += 1
                case ["comment" | "obj_info", *_] | []:
                    pass
                case _:
                    raise ValueError("a line that means nothing")
        except (ValueError, KeyError) as error:
            raise _damage(f"a header with the line {line[:80]!r}") from error
        if fields > _MOST_FIELDS:
            raise _damage(f"more than {_MOST_FIELDS} properties")
    names = [e.name for e in elements]
    if sorted(n for n in names if n in ("vertex", "face")) != ["face", "vertex"]:
        raise _damage("a header without vertices or faces, or with two of them")
    if any(not e.fields for e in elements):
        raise _damage("an element without properties")
    return order, elements, stop + 1


def _field(words: Sequence[str], order: str) -> _Field:
    match words:
        case ["list", count, kind, name]:
            return _Field(name, np.dtype(order + _TYPES[kind]), np.dtype(order + _TYPES[count]))
        case [kind, name]:
            return _Field(name, np.dtype(order + _TYPES[kind]))
    raise ValueError("a property of neither form")


def _numbers(data: bytes) -> NDArray[np.float64]:
    """Numbers between blanks."""
    try:
        with warnings.catch_warnings():
            # NumPy stops at what is no number, and only warns.
            warnings.simplefilter("error", DeprecationWarning)
            return np.fromstring(data.decode("ascii"), np.float64, sep=" ")
    except (ValueError, DeprecationWarning) as error:
        raise _damage("text that is no number") from error


def _whole(values: NDArray[np.float64]) -> NDArray[np.int64]:
    if not (np.abs(values) < 2**31).all() or (values != np.rint(values)).any():
        raise _damage("an index that is no whole number")
    return values.astype(np.int64)


def _length(value: float) -> int:
    if not (0 <= value < 2**32 and value == int(value)):
        raise _damage(f"a length of {value:g}")
    return int(value)


def _damage(found: str) -> MeshInvalid:
    return MeshInvalid(f"expected a PLY file, found one with {found}")
