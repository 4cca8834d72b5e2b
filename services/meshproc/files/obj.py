"""Wavefront OBJ: its polygons ("Object Files" of Wavefront's Advanced Visualizer); millimetres."""

import numpy as np

from maquette.errors import MeshInvalid
from services.meshproc.files.mesh import MeshLimits, TriangleMesh, checked_mesh
from services.meshproc.text import decimal_rows, face_rows

_DECIMALS = 6
_MOST = 2**31


def read_obj(data: bytes, limits: MeshLimits) -> TriangleMesh:
    """Read vertices and faces of an OBJ file; polygons become fans of triangles.

    Raises:
        MeshInvalid: A line of either is damaged, or they make no mesh.
    """
    vertices: list[tuple[float, float, float]] = []
    triangles: list[tuple[int, int, int]] = []
    for number, line in enumerate(data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").splitlines(), 1):
        words = line.split()
        if not words or words[0] not in (b"v", b"f"):
            continue
        try:
            if words[0] == b"v":
                x, y, z = words[1:4]
                vertices.append((float(x), float(y), float(z)))
            else:
                triangles += _fan(words[1:], len(vertices))
        except ValueError as error:
            kind = "vertex of three numbers" if words[0] == b"v" else "face of three or more vertices"
            raise MeshInvalid(f"expected a {kind} in line {number} of an OBJ file, found damage") from error
        limits.require_vertices(len(vertices))
        limits.require_triangles(len(triangles))
    corners = np.array(triangles, np.int64).reshape(-1, 3)
    return checked_mesh(np.array(vertices, np.float64).reshape(-1, 3), corners, limits)


def write_obj(mesh: TriangleMesh) -> bytes:
    """A mesh as OBJ with six decimals."""
    points = decimal_rows(b"v", mesh.vertices, _DECIMALS)
    return b"# Millimetres. A mesh by Maquette.\n" + points + face_rows([mesh.triangles])


def _fan(corners: list[bytes], count: int) -> list[tuple[int, int, int]]:
    """Triangles of a polygon whose corners count from one, or backwards from the last vertex so far."""
    indices = [int(c.partition(b"/")[0]) for c in corners]
    if len(indices) < 3 or not all(1 <= i < _MOST or -count <= i <= -1 for i in indices):
        raise ValueError("a corner that points nowhere")
    places = [i - 1 if i > 0 else count + i for i in indices]
    return [(places[0], places[k], places[k + 1]) for k in range(1, len(places) - 1)]
