"""A writer of glTF 2.0 in its binary form (Khronos Group, "glTF 2.0 Specification", sections 3 and 4)."""

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.types import Float32

ARRAY_BUFFER = 34962
ELEMENT_ARRAY_BUFFER = 34963

_COMPONENTS = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
_SHAPES: dict[tuple[int, ...], str] = {
    (): "SCALAR",
    (2,): "VEC2",
    (3,): "VEC3",
    (4,): "VEC4",
    (4, 4): "MAT4",
}


class Document:
    """A glTF document that grows, and its one buffer.

    Attributes:
        json: The document's top-level arrays; accessors and buffer views are added by the methods.
    """

    def __init__(self) -> None:
        self.json: dict[str, Any] = {}
        self._chunks: list[bytes] = []
        self._size = 0

    def add(self, collection: str, entry: dict[str, Any]) -> int:
        """Append to a top-level array and return the index."""
        entries: list[dict[str, Any]] = self.json.setdefault(collection, [])
        entries.append(entry)
        return len(entries) - 1

    def view(self, data: bytes, target: int | None = None) -> int:
        """Add bytes as a buffer view, aligned to four.

        Args:
            data: Not empty.
            target: ``ARRAY_BUFFER``, ``ELEMENT_ARRAY_BUFFER`` or None for what is neither.
        """
        entry: dict[str, Any] = {"buffer": 0, "byteOffset": self._size, "byteLength": len(data)}
        if target is not None:
            entry["target"] = target
        padding = -len(data) % 4
        self._chunks += [data, bytes(padding)]
        self._size += len(data) + padding
        return self.add("bufferViews", entry)

    def accessor(
        self, values: NDArray[Any], target: int | None = None, *, bounds: bool = False, normalised: bool = False
    ) -> int:
        """Add an array.

        Args:
            values: (N,), (N, 2), (N, 3), (N, 4) or (N, 4, 4), of a type that glTF has; matrices with columns first.
            target: Of its buffer view.
            bounds: Write the smallest and largest values.
            normalised: Integers stand for 0 to 1 or -1 to 1.
        """
        entry = self._entry(values.shape, values.dtype.name)
        entry["bufferView"] = self.view(np.ascontiguousarray(values).tobytes(), target)
        if normalised:
            entry["normalized"] = True
        if bounds:
            entry["min"], entry["max"] = _bounds(values)
        return self.add("accessors", entry)

    def zeros(self, count: int) -> int:
        """Add (count, 3) float32 zeros, which take no room in the buffer."""
        entry = self._entry((count, 3), "float32")
        entry["min"], entry["max"] = [0.0] * 3, [0.0] * 3
        return self.add("accessors", entry)

    def index_view(self, indices: NDArray[np.integer]) -> tuple[int, str]:
        """Add indices for ``sparse``, in as few bytes as they need; returns the view and their type."""
        kind = "uint16" if int(indices.max()) < 65536 else "uint32"
        return self.view(indices.astype(kind).tobytes()), kind

    def sparse(self, count: int, indices: tuple[int, str], values: Float32, *, bounds: bool = False) -> int:
        """Add (count, 3) float32 that are zero but for some rows.

        Args:
            count: Number of rows.
            indices: From ``index_view``; rising.
            values: (N, 3) float32, the rows at the indices.
            bounds: Write the smallest and largest values.
        """
        entry = self._entry((count, 3), "float32")
        view, kind = indices
        entry["sparse"] = {
            "count": len(values),
            "indices": {"bufferView": view, "componentType": _COMPONENTS[kind]},
            "values": {"bufferView": self.view(np.ascontiguousarray(values, np.float32).tobytes())},
        }
        if bounds:
            rest = np.zeros((int(len(values) < count), 3), np.float32)
            entry["min"], entry["max"] = _bounds(np.concatenate([values, rest]))
        return self.add("accessors", entry)

    def to_glb(self) -> bytes:
        """The document and its buffer in the binary container."""
        document = {**self.json, "buffers": [{"byteLength": self._size}]}
        text = json.dumps(document, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + self._size
        header = struct.pack("<4sIII4s", b"glTF", 2, total, len(text), b"JSON")
        return b"".join([header, text, struct.pack("<I4s", self._size, b"BIN\0"), *self._chunks])

    def _entry(self, shape: tuple[int, ...], kind: str) -> dict[str, Any]:
        return {"componentType": _COMPONENTS[kind], "count": shape[0], "type": _SHAPES[shape[1:]]}


def _bounds(values: NDArray[Any]) -> tuple[list[float], list[float]]:
    # As doubles that are exactly the single-precision values: readers compare them with what the buffer holds.
    low, high = values.min(0).astype(np.float64), values.max(0).astype(np.float64)
    return np.atleast_1d(low).tolist(), np.atleast_1d(high).tolist()
