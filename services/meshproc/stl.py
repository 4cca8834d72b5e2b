"""``print.stl``: a solid as it stands on the print bed, binary STL."""

import numpy as np
import trimesh
from trimesh.exchange.stl import export_stl

from maquette.errors import MeshInvalid
from services.meshproc.solid import Solid


def write_stl(solid: Solid, height_mm: float | None) -> bytes:
    """A solid in millimetres with z up, standing on z = 0 around the origin, the face towards -y.

    Args:
        solid: Closed surface in the head frame.
        height_mm: Its height when it stands; None for life size.

    Raises:
        MeshInvalid: The surface is not closed or bounds no volume.
    """
    x, y, z = solid.vertices.astype(np.float64).T
    stood = np.stack([x, -z, y], 1)
    low, high = stood.min(0), stood.max(0)
    stood -= [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]]
    if height_mm is not None:
        stood *= height_mm / (high[2] - low[2])
    mesh = trimesh.Trimesh(stood, solid.triangles, process=False)
    if not mesh.is_watertight or mesh.volume <= 0:
        raise MeshInvalid(f"expected a closed solid, found one of {mesh.volume:.0f} mm³, closed: {mesh.is_watertight}")
    return bytes(export_stl(mesh))
