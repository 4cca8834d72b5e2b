"""``preview.png``: front, three-quarter and profile, in clay and in colour."""

import numpy as np

from maquette.geometry.transform import rotation_x, rotation_y
from maquette.headmodel import HeadModel
from maquette.types import Camera, Float64, Head, UInt8
from services.meshproc.materials import Maps
from services.meshproc.mesh import HeadMesh
from services.meshproc.picture import Stage, Surface, over

_TILE = (420, 480)  # width, height
_YAWS = (0.0, -38.0, -90.0)
_PITCH = 4.0
_DISTANCE_MM = 1400.0
_MARGIN = 1.06
_TOP, _BOTTOM = 242, 214
_HAIR_BELOW_MM = 60.0


def draw_preview(model: HeadModel, head: Head, mesh: HeadMesh, maps: Maps | None) -> UInt8:
    """Draw a head from three sides.

    Args:
        model: The model that the head is of.
        head: The head, for its hair.
        mesh: Its mesh as it is to be shown, detailed or not.
        maps: Its pictures; None leaves the row in colour out.

    Returns:
        (H, W, 3) uint8 sRGB: a row in clay without hair, then a row in colour with it.
    """
    width, height = _TILE
    background = np.repeat(np.linspace(_TOP, _BOTTOM, height).astype(np.uint8)[:, None, None], width, 1) * np.ones(
        3, np.uint8
    )
    hair = [Surface.of_hair(piece) for piece in head.hair]
    rows = [[Surface.of_mesh(mesh, None)]]
    if maps is not None:
        rows.append([Surface.of_mesh(mesh, maps.colour), *hair])
    tall = [mesh.vertices, *(s.vertices[s.vertices[:, 1] > mesh.vertices[:, 1].min() - _HAIR_BELOW_MM] for s in hair)]
    cameras = [_camera(np.concatenate(tall).astype(np.float64), yaw) for yaw in _YAWS]
    stages = [Stage(surfaces) for surfaces in rows]
    tiles = [[over(*stage.draw(camera), background) for camera in cameras] for stage in stages]
    return np.vstack([np.hstack(row) for row in tiles])


def _camera(points: Float64, yaw: float) -> Camera:
    """A camera that sees all points, turned about the head."""
    width, height = _TILE
    turn = np.diag([1.0, -1.0, -1.0]) @ rotation_x(_PITCH) @ rotation_y(yaw)
    middle = (points.min(0) + points.max(0)) / 2
    x = (points - middle) @ turn.T
    centre = (x.min(0) + x.max(0)) / 2
    span = np.ptp(x, axis=0)
    # All views at one scale, so that they can be compared; the frame is as wide as the widest of them.
    wide = np.hypot(np.ptp(points[:, 0]), np.ptp(points[:, 2]))
    focal = _DISTANCE_MM / _MARGIN * min(height / span[1], width / (0.82 * wide))
    translation = np.array([-centre[0], -centre[1], _DISTANCE_MM]) - turn @ middle
    return Camera(focal, np.array([width, height]) / 2, turn, translation, width, height)
