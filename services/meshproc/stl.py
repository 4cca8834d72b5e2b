"""Binary STL of a solid as it stands on the print bed (3D Systems, "Stereolithography Interface Specification")."""

import numpy as np

from maquette.errors import MeshInvalid
from maquette.geometry.surface import triangle_normals, unit
from maquette.types import Float32, Int32
from services.meshproc.files.stl import binary_stl
from services.meshproc.solid import Solid

_HEADER = b"Millimetres, z up. A head by Maquette."
_SHIFT, _ROUNDS = 1e-5, 8


def write_stl(solid: Solid, height_mm: float | None) -> bytes:
    """A solid in millimetres with z up, standing on z = 0 around the origin, the face towards -y.

    Args:
        solid: Closed surface in the head frame.
        height_mm: Its height as it stands; None for life size.

    Raises:
        MeshInvalid: The surface is not closed or bounds no volume.
    """
    x, y, z = solid.vertices.astype(np.float64).T
    stood = np.stack([x, -z, y], 1)
    low, high = stood.min(0), stood.max(0)
    stood -= [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]]
    if height_mm is not None:
        stood *= height_mm / (high[2] - low[2])
    vertices = _told_apart(stood.astype(np.float32), solid.triangles)
    normals = triangle_normals(vertices.astype(np.float64), solid.triangles)
    volume = float(np.einsum("fc,fc->", vertices[solid.triangles[:, 0]].astype(np.float64), normals) / 6)
    if not _closed(solid.triangles) or volume <= 0:
        raise MeshInvalid(f"expected a closed surface around a volume, found one around {volume:.0f} mm³")
    return binary_stl(_HEADER, vertices[solid.triangles], normals)


def _closed(triangles: Int32) -> bool:
    """Whether each edge has exactly one opposite."""
    after = np.roll(triangles, -1, 1).astype(np.int64)
    count = int(triangles.max()) + 1
    ways = np.sort((triangles.astype(np.int64) * count + after).ravel())
    back = np.sort((after * count + triangles).ravel())
    return bool((ways[1:] != ways[:-1]).all() and np.array_equal(ways, back))


def _told_apart(vertices: Float32, triangles: Int32) -> Float32:
    """Vertices of which no two are in one place: STL has no indices, and readers take such for one vertex.

    Where surfaces touch, or come nearer than single precision tells apart, each vertex moves a hundred thousandth of
    the height towards its neighbours.
    """
    out = vertices.copy()
    step = np.float32(_SHIFT * np.ptp(vertices[:, 2]))
    for _ in range(_ROUNDS):
        _, place, count = np.unique(out.view("V12").ravel(), return_inverse=True, return_counts=True)
        alike = count[place.ravel()] > 1
        if not alike.any():
            return out
        near = np.zeros((len(out), 3))
        corners = triangles[alike[triangles].any(1)]
        for k in (1, 2):
            np.add.at(near, corners.ravel(), (out[np.roll(corners, -k, 1)] - out[corners]).reshape(-1, 3))
        out[alike] += step * unit(near)[alike].astype(np.float32)
    raise MeshInvalid("expected a solid whose vertices can be told apart, found some that cannot")
