"""Whether something lies over the eyes or the mouth: a hand, a mask, sunglasses, a black bar.

The landmark networks answer with a whole face whatever covers it. What they cannot invent is what eyes and lips look
like: an eye is a dark line or disc in lighter skin even when it is closed, a mouth is redder or darker than the skin
around it, and that skin has the colour of the rest of the face. A part that has neither its structure nor its colour is
covered. The limits were set on photographs with and without patches laid over them.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from maquette.types import Float32, Float64, UInt8
from services.detector.topology import MIRROR

RIGHT_LIDS = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_LIDS = tuple(int(MIRROR[k]) for k in RIGHT_LIDS)
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip

PARTS = ("right_eye", "left_eye", "mouth")

EYE_DARKNESS = 0.16
"""Least darkness of an eye against the skin below it; open and closed eyes have 0.3 to 0.9."""

EYE_CONTRAST = 0.03
"""Least standard deviation of the lightness within the lids."""

LIP_DARKNESS = 0.12
LIP_REDNESS = 6.0
"""Least darkness of the mouth against its surroundings, and least redness in CIELAB a*; most mouths have both."""

SKIN_CHROMA = (16.0, 6.5)
"""Distance in CIELAB a*b* from the face's skin beyond which what surrounds a part is no skin: units, and multiples of
the scatter of the skin itself; the larger counts."""

BEARD = 1.7
"""Multiple of it from which the mouth counts as covered when nothing else is odd: a beard is no skin either."""

SHADE = (27.0, 0.4)
"""CIELAB L* by which the surroundings of *both* eyes are darker than the face when they are behind dark glass: units,
and parts of the face's range; the larger counts."""


@dataclass(frozen=True)
class _Complexion:
    """What a face looks like as a whole, by which its parts are judged.

    Attributes:
        colour: (3,) float32 CIELAB, median of the skin.
        scatter: Distance of the skin from that in a*b*, the 30th percentile: less than half of it may be covered.
        spread: L* between the face's darkest and lightest parts.
    """

    colour: Float32
    scatter: float
    spread: float

    def darkness(self, value: float, against: float) -> float:
        """How much darker an L* value is than another: by that one, or by the face's range where that gives more.

        The first allows for eyes in the shade, the second for faded pictures.
        """
        return (against - value) / min(against + 5, self.spread)

    def foreign(self, around: Float32) -> float:
        """How far (N, 3) colours are from the skin's; above 1 they are no skin."""
        least, multiple = SKIN_CHROMA
        distance = float(np.median(_chroma(around - self.colour)))
        return distance / max(least, multiple * self.scatter)


def skin_mask(points: Float64, side: int) -> UInt8:
    """Where bare skin is to be expected: the face without eyes and mouth.

    Args:
        points: (478, 2) float64 landmarks in pixels of a square picture.
        side: Its width.

    Returns:
        (side, side) uint8, 1 on skin.
    """
    mask = np.zeros((side, side), np.uint8)
    _fill(mask, points[list(OVAL)], 1)
    for part, growth in ((RIGHT_LIDS, 1.6), (LEFT_LIDS, 1.6), (LIPS, 1.2)):
        outline = points[list(part)]
        centre = outline.mean(0)
        _fill(mask, centre + (outline - centre) * growth, 0)
    return mask


def cover_of(lab: Float32, points: Float64) -> dict[str, float]:
    """How likely each part is covered.

    Args:
        lab: (N, N, 3) float32 CIELAB picture of the face, eyes level.
        points: (478, 2) float64 landmarks in its pixels.

    Returns:
        For each of ``PARTS`` a figure that is above 1 where the part counts as covered.
    """
    smooth = np.asarray(cv2.GaussianBlur(lab, (0, 0), 0.75), np.float32)
    face = _complexion(smooth, points)
    eyes = [_eye(smooth, points[list(lids)], face) for lids in (RIGHT_LIDS, LEFT_LIDS)]
    shade = min(e[1] for e in eyes)
    right, left = (max(cover, shade) for cover, _ in eyes)
    return dict(zip(PARTS, (right, left, _mouth(smooth, points, face)), strict=True))


def _complexion(lab: Float32, points: Float64) -> _Complexion:
    # Every fourth pixel tells the same.
    thin = lab[::2, ::2]
    skin = thin[skin_mask(points, len(lab))[::2, ::2] > 0]
    whole = np.zeros(lab.shape[:2], np.uint8)
    _fill(whole, points[list(OVAL)], 1)
    low, high = np.percentile(thin[..., 0][whole[::2, ::2] > 0], (2, 98))
    colour = np.median(skin, axis=0)
    # Never so narrow that noise in an even picture passes for features.
    return _Complexion(colour, float(np.percentile(_chroma(skin - colour), 30)), max(float(high - low), 8.0))


def _eye(lab: Float32, lids: Float64, face: _Complexion) -> tuple[float, float]:
    """How likely an eye is covered, and how likely it is behind dark glass if the other is too.

    Args:
        lab: (N, N, 3) float32.
        lids: (16, 2) float64, starting with one corner; entry 8 is the other.
        face: What the face looks like as a whole.
    """
    across = lids[8] - lids[0]
    if across[0] < 0:
        across = -across
    down = np.array([-across[1], across[0]])
    centre = lids.mean(0)
    # Widths in parts of the eye's: columns over its middle, rows from the crease to the cheek.
    opening = _grid(lab, centre, across, down, (-0.32, 0.32), (-0.2, 0.2))
    below = _grid(lab, centre, across, down, (-0.32, 0.32), (0.4, 0.75))
    above = _grid(lab, centre, across, down, (-0.6, 0.6), (-0.45, -0.35))
    around = np.concatenate([below.reshape(-1, 3), above.reshape(-1, 3)])
    under = float(np.median(below[..., 0]))
    darkness = face.darkness(float(np.median(opening[..., 0].min(0))), under)
    contrast = face.darkness(under - float(opening[..., 0].std()), under)
    shade = float(face.colour[0] - np.median(around[:, 0])) / max(SHADE[0], SHADE[1] * face.spread)
    return max(_lack(darkness, EYE_DARKNESS), _lack(contrast, EYE_CONTRAST), face.foreign(around)), shade


def _mouth(lab: Float32, points: Float64, face: _Complexion) -> float:
    """How likely the mouth is covered."""
    across = (points[291] - points[61]) * 0.5
    down = (points[17] - points[0]) * 0.5
    centre = (points[17] + points[0]) / 2
    lips = _grid(lab, centre, across, down, (-0.7, 0.7), (-1.0, 1.0))
    outside = np.concatenate(
        [_grid(lab, centre, across, down, (-0.7, 0.7), rows).reshape(-1, 3) for rows in ((-1.8, -1.3), (1.4, 2.0))]
    )
    around = np.median(outside, axis=0)
    darkness = face.darkness(float(np.median(lips[..., 0].min(0))), float(around[0]))
    # In a dark beard lips are light; less is made of it, for light falls on hands and masks too.
    darkness = max(darkness, 0.5 * float(np.median(lips[..., 0].max(0)) - around[0]) / face.spread)
    # In faded pictures lips are redder by less, in black and white ones by nothing.
    vivid = np.clip(float(_chroma(face.colour)) / 20, 0.25, 1)
    redness = float(np.median(lips[..., 1].max(0)) - around[1])
    foreign = face.foreign(outside)
    bare = max(_lack(darkness, LIP_DARKNESS), _lack(darkness, 2 * LIP_DARKNESS) * min(foreign, 1.5))
    return max(min(bare, _lack(redness, LIP_REDNESS * vivid)), foreign / BEARD)


def _chroma(lab: Float32) -> Float32:
    """Length of (..., 3) CIELAB differences in a*b*."""
    return np.asarray(np.hypot(lab[..., 1], lab[..., 2]), np.float32)


def _lack(value: float, least: float) -> float:
    """Figure that is 1 where a value is at its least, and 2 where there is nothing of it."""
    return float(np.clip(2 - value / least, 0, 2))


def _grid(
    lab: Float32,
    centre: Float64,
    across: Float64,
    down: Float64,
    columns: tuple[float, float],
    rows: tuple[float, float],
) -> Float32:
    """Sample a (12, 16, 3) grid between bounds given along two axes from a centre."""
    u, v = np.linspace(*columns, 16), np.linspace(*rows, 12)
    where = centre + u[None, :, None] * across + v[:, None, None] * down - 0.5
    x, y = where[..., 0].astype(np.float32), where[..., 1].astype(np.float32)
    return np.asarray(cv2.remap(lab, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _fill(mask: UInt8, outline: Float64, value: int) -> None:
    cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], value, shift=4)
