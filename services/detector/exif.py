"""What a picture's EXIF says about how it was taken."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

_ORIENTATION = 0x0112
_EXIF_IFD = 0x8769
_FOCAL_LENGTH = 0x920A
_WIDTH, _HEIGHT = 0xA002, 0xA003
_FOCAL_PLANE_X_RESOLUTION = 0xA20E
_FOCAL_PLANE_UNIT = 0xA210
_FOCAL_LENGTH_35MM = 0xA405

_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""Millimetres in a focal plane resolution unit; inch where none is given (EXIF 2.32, tag 41488)."""

_FULL_FRAME_DIAGONAL = math.hypot(36.0, 24.0)
"""Millimetres; the 35 mm equivalent is defined by the angle of view along the diagonal (CIPA DCG-001)."""

_SANE = (0.2, 20.0)
"""Focal length by the picture's diagonal: from an extreme wide angle (136°) to a telescope (3°)."""


@dataclass(frozen=True)
class Exif:
    """The tags that matter.

    Attributes:
        orientation: 1 to 8 as in EXIF; 1 when it says nothing usable.
        focal_px: Focal length in pixels of the picture as it is, or None.
    """

    orientation: int
    focal_px: float | None


def read_exif(image: Image.Image) -> Exif:
    """Read a picture's EXIF; whatever is missing, damaged or absurd counts as not there.

    Args:
        image: A picture as opened; of the size that its pixels have in the file.
    """
    try:
        tags = image.getexif()
        orientation = _number(tags.get(_ORIENTATION))
        details = tags.get_ifd(_EXIF_IFD)
    except Exception:  # a hostile block makes Pillow raise nearly anything, and the picture is good without it
        return Exif(1, None)
    turned = int(orientation) if orientation in range(1, 9) else 1
    return Exif(turned, focal_pixels(details, image.width, image.height))


def focal_pixels(tags: Mapping[int, object], width: int, height: int) -> float | None:
    """Focal length in pixels.

    A picture that was scaled after it was taken is allowed for. One that was cropped to another shape is not: how much
    of the angle of view is left is unknown.

    Args:
        tags: EXIF tags by number, values as Pillow gives them.
        width: Pixels of the picture.
        height: Pixels of the picture.

    Returns:
        Pixels, or None when the tags say nothing usable.
    """
    taken = (_number(tags.get(_WIDTH)), _number(tags.get(_HEIGHT)))
    if all(taken) and not _same_shape(taken, (width, height)):
        return None
    diagonal = math.hypot(width, height)
    for guess in (_from_equivalent, _from_focal_plane):
        focal = guess(tags, diagonal, math.hypot(*taken) if all(taken) else diagonal)
        if focal is not None and _SANE[0] <= focal / diagonal <= _SANE[1]:
            return focal
    return None


def _from_equivalent(tags: Mapping[int, object], diagonal: float, _taken: float) -> float | None:
    equivalent = _number(tags.get(_FOCAL_LENGTH_35MM))
    return equivalent / _FULL_FRAME_DIAGONAL * diagonal if equivalent else None


def _from_focal_plane(tags: Mapping[int, object], diagonal: float, taken: float) -> float | None:
    focal, resolution = _number(tags.get(_FOCAL_LENGTH)), _number(tags.get(_FOCAL_PLANE_X_RESOLUTION))
    unit = _UNIT_MM.get(int(_number(tags.get(_FOCAL_PLANE_UNIT)) or 2))
    if not focal or not resolution or unit is None:
        return None
    return focal * resolution / unit * (diagonal / taken)


def _same_shape(taken: tuple[float, ...], actual: tuple[int, int]) -> bool:
    """Whether two sizes have one aspect ratio, either way up, within what rounding to whole pixels explains."""
    a, b = max(taken) / min(taken), max(actual) / min(actual)
    return abs(a - b) <= 0.02 * b


def _number(value: object) -> float:
    """A positive finite number, or 0."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ArithmeticError):
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0
