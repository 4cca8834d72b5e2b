"""Colours of a person that stay much the same from one photo to the next: of brows, eyes, hair and skin."""

import cv2
import numpy as np

from maquette.types import Float32, Float64
from services.reconstructor.engines.open.patch import SIDE, FacePatch

NAMES = ("brows", "eyes", "hair", "skin")

_RIGHT_BROW = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55)
_LEFT_BROW = (300, 293, 334, 296, 336, 276, 283, 282, 295, 285)
_FOREHEAD = (68, 104, 69, 298, 333, 299, 151, 9)
_CHEEKS = (50, 101, 205, 36, 280, 330, 425, 266, 117, 346, 118, 347, 123, 352)
_IRISES = (468, 473)
_TOP, _CHIN = 10, 152
_ABOVE = 0.22
"""How far above the forehead's upper landmark hair is looked for, by the face's height."""

_DARKEST = 0.003
_LEAST_COLOUR = 0.02


def tones(patch: FacePatch) -> Float64:
    """Logarithms of luminances by the skin's, and the skin's red by its green.

    Args:
        patch: A face framed ``WIDE``.

    Returns:
        (4,) float64 in the order of ``NAMES``; the last is NaN in a picture without colour.
    """
    light = np.asarray(cv2.GaussianBlur(patch.luminance, (0, 0), 0.8), np.float32)
    cheeks, forehead = (_log(float(np.median(patch.at(light, where)))) for where in (_CHEEKS, _FOREHEAD))
    brows = np.mean([_log(float(np.percentile(patch.at(light, b), 20))) for b in (_RIGHT_BROW, _LEFT_BROW)])
    eyes = np.mean([_log(_around(light, patch.points, centre)) for centre in _IRISES])
    x, y = patch.points[_TOP] - _ABOVE * (patch.points[_CHIN] - patch.points[_TOP])
    above = light[_span(y, 3), _span(x, 16)]
    red, green, blue = np.median(patch.at(patch.linear, _CHEEKS + _FOREHEAD), axis=0)
    coloured = float(np.abs(patch.linear[..., 0] - patch.linear[..., 2]).max()) > _LEAST_COLOUR and red != blue
    skin = float(np.log((red + 0.005) / (green + 0.005))) if coloured else np.nan
    return np.array([brows - forehead, eyes - cheeks, _log(float(np.median(above))) - cheeks, skin])


def _around(light: Float32, points: Float64, centre: int) -> float:
    """Median within an iris; the four landmarks after its centre lie on its rim."""
    radius = 0.8 * float(np.linalg.norm(points[centre + 1] - points[centre]))
    rows, columns = (_span(v, max(radius, 1.0)) for v in points[centre, ::-1])
    return float(np.median(light[rows, columns]))


def _span(middle: float, reach: float) -> slice:
    start = int(np.clip(middle - reach, 0, SIDE - 2))
    return slice(start, int(np.clip(middle + reach, start + 1, SIDE)))


def _log(value: float) -> float:
    return float(np.log(value + _DARKEST))
