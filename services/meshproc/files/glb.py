"""Binary glTF 2.0: the triangles of its scene (Khronos Group, "glTF 2.0 Specification"); metres."""

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from maquette.errors import MeshInvalid
from maquette.geometry.surface import vertex_normals
from maquette.types import Float64
from services.meshproc.files.mesh import MeshLimits, TriangleMesh, checked_mesh
from services.meshproc.gltf import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, Document

_METRES = 1e-3
_KINDS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC3": 3}
_TRIANGLES = 4
_PLAIN = ("KHR_mesh_quantization", "KHR_texture_", "KHR_materials_", "KHR_lights_")
"""Extensions that a reader of triangles may leave alone."""

_DAMAGE = (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError, struct.error)


def read_glb(data: bytes, limits: MeshLimits) -> TriangleMesh:
    """Read the triangles of a GLB's scene, in the places its nodes give them; skinned ones in their bind pose.

    Raises:
        MeshInvalid: It is no GLB, damaged, refers to other files, uses an extension that packs its triangles, or makes
            no mesh.
    """
    try:
        return _Reader(data, limits).mesh()
    except _DAMAGE as error:
        raise _damage(f"damage ({type(error).__name__})") from error


def write_glb(mesh: TriangleMesh) -> bytes:
    """A mesh in metres with smooth normals."""
    document = Document()
    document.json["asset"] = {"version": "2.0", "generator": "Maquette"}
    points = (mesh.vertices * _METRES).astype(np.float32)
    normals = vertex_normals(mesh.vertices, mesh.triangles).astype(np.float32)
    # glTF wants unit normals; vertices without any area around them get one that does no harm.
    normals[np.linalg.norm(normals, axis=1) < 0.5] = (0, 0, 1)
    kind = np.uint16 if len(points) < 65_536 else np.uint32
    primitive = {
        "attributes": {
            "POSITION": document.accessor(points, ARRAY_BUFFER, bounds=True),
            "NORMAL": document.accessor(normals, ARRAY_BUFFER),
        },
        "indices": document.accessor(mesh.triangles.ravel().astype(kind), ELEMENT_ARRAY_BUFFER),
    }
    document.add("meshes", {"primitives": [primitive]})
    document.add("nodes", {"mesh": 0})
    document.json |= {"scene": 0, "scenes": [{"nodes": [0]}]}
    return document.to_glb()


class _Reader:
    """One file on its way to a mesh."""

    def __init__(self, data: bytes, limits: MeshLimits) -> None:
        self._limits = limits
        self._json, self._buffer = _chunks(data)
        for name in self._json.get("extensionsRequired", []):
            if not name.startswith(_PLAIN):
                raise _damage(f"the extension {name[:80]}, which is not read")
        self._triangles = self._vertices = 0

    def mesh(self) -> TriangleMesh:
        """All triangles of the scene."""
        points, corners, count = [np.zeros((0, 3))], [np.zeros((0, 3), np.int64)], 0
        for node, place in self._placed():
            if "mesh" not in node:
                continue
            for primitive in self._item("meshes", node["mesh"])["primitives"]:
                vertices, triangles = self._primitive(primitive)
                # A skin's joints place its vertices, not the node: here, where they were bound.
                if "skin" not in node:
                    vertices = vertices @ place[:3, :3].T + place[:3, 3]
                    if np.linalg.det(place[:3, :3]) < 0:
                        triangles = triangles[:, ::-1]
                points.append(vertices / _METRES)
                corners.append(triangles + count)
                count += len(vertices)
        return checked_mesh(np.concatenate(points), np.concatenate(corners), self._limits)

    def _placed(self) -> Iterator[tuple[dict[str, Any], Float64]]:
        """Nodes of the scene and their places in it."""
        if "scenes" in self._json:
            roots = self._item("scenes", self._json.get("scene", 0)).get("nodes", [])
        else:
            nodes = self._json.get("nodes", [])
            children = {c for n in nodes for c in n.get("children", [])}
            roots = [i for i in range(len(nodes)) if i not in children]
        seen: set[int] = set()
        waiting = [(root, np.eye(4)) for root in reversed(roots)]
        while waiting:
            index, place = waiting.pop()
            if index in seen:
                raise _damage(f"a node that hangs in two places ({index})")
            seen.add(index)
            node = self._item("nodes", index)
            place = place @ _transform(node)
            yield node, place
            waiting += [(child, place) for child in reversed(node.get("children", []))]

    def _primitive(self, primitive: dict[str, Any]) -> tuple[Float64, NDArray[np.int64]]:
        if primitive.get("mode", _TRIANGLES) != _TRIANGLES:
            raise _damage(f"something other than triangles (mode {primitive['mode']})")
        position = self._item("accessors", primitive["attributes"]["POSITION"])
        # Before anything is made of it: one accessor may be drawn a million times.
        self._vertices += _count(position)
        self._limits.require_vertices(self._vertices)
        if "indices" not in primitive:
            self._triangles += _count(position) // 3
            self._limits.require_triangles(self._triangles)
            vertices = self._values(position, "VEC3")
            return vertices, np.arange(len(vertices) // 3 * 3).reshape(-1, 3)
        indices = self._item("accessors", primitive["indices"])
        self._triangles += _count(indices) // 3
        self._limits.require_triangles(self._triangles)
        vertices, flat = self._values(position, "VEC3"), self._values(indices, "SCALAR").astype(np.int64)
        if len(flat) % 3 or (len(flat) and not 0 <= flat.min() <= flat.max() < len(vertices)):
            raise _damage(f"triangles of other vertices than its {len(vertices):,}")
        return vertices, flat.reshape(-1, 3)

    def _values(self, accessor: dict[str, Any], kind: str) -> Float64:
        """(N, 3) or (N,) float64 of an accessor."""
        if accessor["type"] != kind or "sparse" in accessor or "bufferView" not in accessor:
            raise _damage(f"positions or indices that are no plain {kind}")
        view = self._item("bufferViews", accessor["bufferView"])
        dtype, width, count = np.dtype(_KINDS[accessor["componentType"]]), _WIDTHS[kind], _count(accessor)
        row = dtype.itemsize * width
        stride = view.get("byteStride", row)
        start, length = view.get("byteOffset", 0), view["byteLength"]
        offset = accessor.get("byteOffset", 0)
        if view.get("buffer") != 0 or not all(isinstance(n, int) and n >= 0 for n in (start, length, offset, stride)):
            raise _damage("a view of no buffer")
        if stride < row or start + length > len(self._buffer):
            raise _damage("a view beyond its buffer")
        if count and offset + (count - 1) * stride + row > length:
            raise _damage(f"{length:,} bytes for {count:,} values")
        out = np.ndarray((count, width), dtype, self._buffer, start + offset, (stride, dtype.itemsize)).astype(
            np.float64
        )
        if accessor.get("normalized") and dtype.kind in "iu":
            out = np.maximum(out / np.iinfo(dtype).max, -1)
        return out if width > 1 else out[:, 0]

    def _item(self, collection: str, index: object) -> dict[str, Any]:
        """An entry of a top-level array."""
        entries = self._json.get(collection, [])
        if type(index) is not int or not 0 <= index < len(entries) or not isinstance(entries[index], dict):
            raise _damage(f"a reference to {collection} that points nowhere")
        entry: dict[str, Any] = entries[index]
        return entry


def _chunks(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Document and buffer of the container."""
    if len(data) < 20 or data[:4] != b"glTF":
        raise _damage("no container")
    version, total, size, kind = struct.unpack_from("<III4s", data, 4)
    if version != 2 or total != len(data) or kind != b"JSON" or size > total - 20:
        raise _damage(f"a container of version {version} with {total:,} bytes where there are {len(data):,}")
    document = json.loads(data[20 : 20 + size], parse_constant=_no_number)
    if not isinstance(document, dict):
        raise _damage("a document that is none")
    rest = data[20 + size :]
    if not rest:
        return document, b""
    length, kind = struct.unpack_from("<I4s", rest)
    if kind != b"BIN\0" or length > len(rest) - 8:
        raise _damage("a second chunk that is no buffer, or breaks off")
    buffers = document.get("buffers", [])
    if buffers and "uri" in buffers[0]:
        raise _damage("a buffer in another file")
    return document, rest[8 : 8 + length]


def _transform(node: dict[str, Any]) -> Float64:
    """(4, 4) float64 of a node, columns first in the file."""
    if "matrix" in node:
        return _numbers(node["matrix"], 16).reshape(4, 4).T
    out = np.eye(4)
    if "rotation" in node:
        out[:3, :3] = Rotation.from_quat(_numbers(node["rotation"], 4)).as_matrix()
    out[:3, :3] *= _numbers(node.get("scale", [1, 1, 1]), 3)
    out[:3, 3] = _numbers(node.get("translation", [0, 0, 0]), 3)
    return out


def _numbers(values: object, count: int) -> Float64:
    out = np.array(values, np.float64)
    if out.shape != (count,) or not np.isfinite(out).all() or np.abs(out).max() > 1e9:
        raise _damage("a node whose place is none")
    return out


def _count(accessor: dict[str, Any]) -> int:
    count = accessor["count"]
    if type(count) is not int or count < 0:
        raise _damage("an accessor that counts wrongly")
    return count


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _damage(found: str) -> MeshInvalid:
    return MeshInvalid(f"expected a GLB file, found one with {found}")
