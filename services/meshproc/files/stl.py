"""STL, binary and ASCII (3D Systems, "Stereolithography Interface Specification"); millimetres."""

import re

import numpy as np
from numpy.typing import NDArray

from maquette.errors import MeshInvalid
from maquette.geometry.surface import triangle_normals
from maquette.types import Float32, Float64
from services.meshproc.files.mesh import MeshLimits, TriangleMesh, checked_mesh

_HEADER = b"Millimetres. A mesh by Maquette."
_HEADER_BYTES = 80
_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])
_START = _HEADER_BYTES + 4

_NUMBER = rb"[ \t]+([^ \t\r\n]{1,40})"
_VERTEX = re.compile(rb"^[ \t]*vertex" + 3 * _NUMBER + rb"[ \t]*\r?$", re.M | re.I)
_FACETS = re.compile(rb"^[ \t]*endfacet[ \t]*\r?$", re.M | re.I)
_END = re.compile(rb"^[ \t]*endsolid\b[^\n]*\Z", re.M | re.I)


def read_stl(data: bytes, limits: MeshLimits) -> TriangleMesh:
    """Read an STL file; each triangle has vertices of its own.

    Raises:
        MeshInvalid: It is neither a binary file of the length it claims nor a complete ASCII one, or makes no mesh.
    """
    claimed = int.from_bytes(data[_HEADER_BYTES:_START], "little")
    if len(data) >= _START and len(data) == _START + claimed * _FACET.itemsize:
        limits.require_triangles(claimed)
        corners = np.frombuffer(data, _FACET, claimed, _START)["corners"].reshape(-1, 3).astype(np.float64)
    elif data[:_HEADER_BYTES].lstrip()[:5].lower() == b"solid":
        corners = _ascii(data, limits)
    else:
        raise MeshInvalid(
            f"expected an STL file, found {len(data):,} bytes that are no text and claim {claimed:,} triangles, which "
            f"would be {_START + claimed * _FACET.itemsize:,} bytes"
        )
    return checked_mesh(corners, np.arange(len(corners)).reshape(-1, 3), limits)


def write_stl(mesh: TriangleMesh) -> bytes:
    """A mesh as binary STL."""
    corners = mesh.vertices.astype(np.float32)[mesh.triangles]
    normals = triangle_normals(mesh.vertices, mesh.triangles)
    return binary_stl(_HEADER, corners, normals)


def binary_stl(header: bytes, corners: Float32, normals: NDArray[np.floating]) -> bytes:
    """A binary STL file.

    Args:
        header: Text of at most 80 bytes.
        corners: (F, 3, 3) float32, unit of the file.
        normals: (F, 3), of any length.
    """
    facets = np.zeros(len(corners), _FACET)
    facets["normal"] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    facets["corners"] = corners
    return header.ljust(_HEADER_BYTES) + np.uint32(len(facets)).tobytes() + facets.tobytes()


def _ascii(data: bytes, limits: MeshLimits) -> Float64:
    if not _END.search(data.rstrip()):
        raise MeshInvalid("expected an ASCII STL file to end with endsolid, found that it breaks off")
    facets = len(_FACETS.findall(data))
    limits.require_triangles(facets)
    rows = _VERTEX.findall(data)
    if len(rows) != 3 * facets:
        raise MeshInvalid(f"expected {3 * facets:,} vertices of {facets:,} facets, found {len(rows):,}")
    try:
        return np.array(rows, np.bytes_).astype(np.float64).reshape(-1, 3)
    except ValueError as error:
        raise MeshInvalid("expected numbers as coordinates of an ASCII STL file, found something else") from error
