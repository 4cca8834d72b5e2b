"""Whether a photo shows a row of teeth between the lips."""

import cv2
import numpy as np

from maquette.rooms import PhotoView
from maquette.types import Bool, Float64, UInt8
from services.reconstructor.engines.open.sampling import MOUTH

_OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
_CHEEKS = (50, 280, 205, 425, 101, 330)
_LEAST_PIXELS = 25
_LIGHT = 0.6
"""Lightness of teeth, at least, as a share of the cheeks'."""

_FROM, _TO = 0.25, 0.5
"""Shares of the mouth's opening filled by teeth at which a smile begins to count as one and surely is one."""


def teeth_shown(view: PhotoView) -> float:
    """How surely the opening of the mouth is filled by teeth, 0 to 1.

    A smile with closed jaws opens the lips as a dropped jaw does; what lies between them tells one from the other.
    Teeth are light, and less red than lips and tongue.

    Args:
        view: The photo and its face.
    """
    points = view.face.landmarks[:, :2].astype(np.float64)
    pixels = view.photo.pixels
    ring = points[list(_OUTER_LIPS)]
    size = np.array([pixels.shape[1], pixels.shape[0]])
    low = np.clip(np.floor(ring.min(0)).astype(int) - 1, 0, size - 1)
    high = np.clip(np.ceil(ring.max(0)).astype(int) + 1, low + 1, size)
    lab = _lab(pixels[low[1] : high[1], low[0] : high[0]])
    opening = _inside(points[list(MOUTH)] - low, lab.shape[:2])
    lips = _inside(ring - low, lab.shape[:2]) & ~opening
    if opening.sum() < _LEAST_PIXELS or not lips.any():
        return 0.0
    at = np.clip(points[list(_CHEEKS)].astype(int), 0, size - 1)
    cheek = _lab(pixels[at[:, 1], at[:, 0]][None]).mean((0, 1))
    red = (cheek[1] + np.median(lab[lips][:, 1])) / 2
    share = float(((lab[opening][:, 0] > _LIGHT * cheek[0]) & (lab[opening][:, 1] < red)).mean())
    return float(np.clip((share - _FROM) / (_TO - _FROM), 0, 1))


def _lab(pixels: UInt8) -> Float64:
    """(H, W, 3) CIELAB of sRGB bytes."""
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB), np.float64)


def _inside(ring: Float64, shape: tuple[int, ...]) -> Bool:
    """(H, W) pixels in a polygon (P, 2)."""
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint((ring - 0.5) * 16).astype(np.int32)], 1, shift=4)
    return np.asarray(mask > 0, bool)
