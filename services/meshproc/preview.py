"""``preview.png``: front, three-quarter and profile, in clay and in colour."""

import numpy as np

from maquette.geometry.transform import rotation_x, rotation_y
from maquette.types import Camera, Float64, UInt8
from services.meshproc.picture import Paint, Sitter, over

_TILE = 500
_YAWS = (0.0, -38.0, -90.0)
_PITCH = 3.0
_DISTANCE_MM = 1400.0
_ABOVE_MM = 14.0
_BELOW_MM = 4.0
_HAIR_ABOVE = 0.4
"""Hair below this part of the head's height does not decide how much is shown."""

_TOP, _BOTTOM = 244, 218


def draw_preview(sitter: Sitter, bust_mm: float, paint: Paint | None, *, baked: bool) -> UInt8:
    """Draw a head from three sides, down to a line through the bust.

    Args:
        sitter: The head.
        bust_mm: Height in the head frame down to which it is shown.
        paint: Its colour map; None leaves the row in colour out.
        baked: The colour map has the photo's light in it.

    Returns:
        (H, W, 3) uint8 sRGB: a row in clay without hair, then a row in colour with it.
    """
    tops = [sitter.mesh.vertices[:, 1].max(), *(strands.piece.vertices[:, 1].max() for strands in sitter.hair)]
    shade = np.linspace(_TOP, _BOTTOM, _TILE).astype(np.uint8)
    background = np.broadcast_to(shade[:, None, None], (_TILE, _TILE, 3))
    rows: list[list[UInt8]] = [[], []]
    for yaw in _YAWS:
        look = sitter.look(_camera(sitter.mesh.vertices.astype(np.float64), yaw, float(max(tops)), bust_mm))
        rows[0].append(over(look.clay(), background))
        if paint is not None:
            rows[1].append(over(look.colour(paint, baked=baked), background))
    return np.vstack([np.hstack(row) for row in rows if row])


def _camera(points: Float64, yaw: float, top_mm: float, bottom_mm: float) -> Camera:
    """A camera turned about the head that shows it between two heights."""
    turn = np.diag([1.0, -1.0, -1.0]) @ rotation_x(_PITCH) @ rotation_y(yaw)
    top, bottom = top_mm + _ABOVE_MM, bottom_mm + _BELOW_MM
    upper = points[points[:, 1] > (top + 2 * bottom) / 3]
    middle = np.array([0.0, (top + bottom) / 2, np.median(upper[:, 2])])
    across = (upper - middle) @ turn[0]
    shift = np.array([-(across.min() + across.max()) / 2, 0.0, _DISTANCE_MM])
    focal = _DISTANCE_MM * _TILE / (top - bottom)
    return Camera(focal, np.full(2, _TILE / 2), turn, shift - turn @ middle, _TILE, _TILE)
