"""Whether something lies over one side of the face: a lock of hair over a brow, a hand at the jaw.

Both are told by comparing a face with its own mirror image, because light, skin and fringes are much the same on both
sides. The limits were set on photographs and on pictures of ``training.pictures``, whose sitters have long hair, bare
necks and side light, but no hands.
"""

import cv2
import numpy as np

from maquette.types import Float32, Float64, UInt8
from services.detector.cover import LEFT_LIDS, LIPS, OVAL, RIGHT_LIDS, skin_mask
from services.detector.region import Region
from services.detector.topology import ATTENTION_LIPS, MESH_LANDMARKS, MIRROR

PARTS = ("right_brow", "left_brow", "right_jaw", "left_jaw")

AROUND = 1.35
"""Side of the picture that is looked at, by that of the landmarks' frame: as much as shows what is beside the jaw."""

BROW = np.array([
    70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 68, 104, 69, 108, 71, 139, 156, 124, 225, 224, 223, 222, 113,
])  # fmt: skip
"""Right brow, what is above it, and the upper lid's fold."""

NOSE = (
    1, 2, 4, 5, 6, 168, 197, 195, 19, 94, 98, 97, 48, 49, 115, 131, 134, 220, 64, 240, 99, 60, 75, 59, 166, 79, 218,
    219, 235, 102, 129, 3, 51, 45, 44, 20, 237, 239, 238, 241, 242, 125, 141, 236, 174, 217, 198, 209, 196, 122, 188,
    114, 47, 126, 142,
)  # fmt: skip

DARKER, AS_LIGHT = -0.8, -0.45
"""Logarithms of luminance by what the light of the rest of the face gives: hair is at most the first, and its twin on
the other side at least the second."""

LOCK = 0.5
"""Part of ``BROW`` that is dark on one side only where a lock lies over it."""

JAW = (132, 58, 172, 136, 150, 149, 176, 148, 152)
"""Outline of the right jaw from the ear to the chin; the third to the sixth stand beside the mouth and the chin."""

BESIDE, AT_EYES = (0.04, 0.22), (0.12, 0.34)
"""Strips beside the jaw and beside the ears, in parts of the face's width from its outline."""

SKIN_CHROMA = (9.0, 4.0)
"""Distance in CIELAB a*b* up to which a colour may be that of a hand: units, and multiples of the skin's scatter."""

SKIN_LIGHT = (0.8, 1.35)
"""Its lightness L* by the face's. Necks are darker."""

LEAST_CHROMA = 6.0
"""In pictures with less colour everything grey would be skin."""

HAND = 0.5
"""Part of the strip that has the colour of skin where a hand is."""

_OTHER, _YAW, _PITCH = 0.5, 0.035, 0.02
"""What is taken off for the neck: by the other side's part, and per degree that the face turns away or looks up."""

_TWINS = MIRROR[:MESH_LANDMARKS]
_PLAIN = np.setdiff1d(
    np.arange(MESH_LANDMARKS), [*NOSE, *_TWINS[list(NOSE)], *ATTENTION_LIPS, *LIPS, *RIGHT_LIDS, *LEFT_LIDS, *OVAL]
)


def wider(frame: Region) -> Region:
    """The square that ``obstacles`` looks at, from the landmarks' frame."""
    return Region(frame.x, frame.y, AROUND * frame.size, frame.angle)


def obstacles(crop: UInt8, points: Float64, yaw: float, pitch: float) -> dict[str, float]:
    """How likely something lies over a side of the face.

    Args:
        crop: (N, N, 3) uint8 sRGB picture of the face and what is around it, eyes level.
        points: (478, 2) float64 landmarks in its pixels.
        yaw: Degrees that the face turns to the subject's left.
        pitch: Degrees that it looks up.

    Returns:
        For each of ``PARTS`` a figure that is above 1 where the part counts as covered.
    """
    locks = _locks(crop, points)
    hands = _hands(crop, points, yaw, pitch)
    return dict(zip(PARTS, (*(x / LOCK for x in locks), *(x / HAND for x in hands)), strict=True))


def _locks(crop: UInt8, points: Float64) -> tuple[float, float]:
    """Parts of the right and the left brow that are dark while the other one is not."""
    linear = (crop.astype(np.float32) / 255) ** 2.2
    luminance = cv2.GaussianBlur(linear @ np.array([0.2126, 0.7152, 0.0722], np.float32), (0, 0), 1.2)
    seen = _at(np.log(luminance + 0.01), points[:MESH_LANDMARKS]).astype(np.float64)
    where = points[:MESH_LANDMARKS] - points[:MESH_LANDMARKS].mean(0)
    x, y = (where / max(float(np.ptp(where[:, 1])) / 2, 1.0)).T
    shape = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], 1)
    plain = np.zeros(MESH_LANDMARKS, bool)
    plain[_PLAIN] = True
    lit, left = plain, seen
    for _ in range(6):
        left = seen - shape @ np.linalg.lstsq(shape[lit], seen[lit], rcond=None)[0]
        spread = max(1.48 * float(np.median(np.abs(left[lit]))), 0.08)
        lit = plain & (left > -2 * spread) & (left < 2.5 * spread)
    right, other = (
        float(((left[side] < DARKER) & (left[_TWINS[side]] > AS_LIGHT)).mean()) for side in (BROW, _TWINS[BROW])
    )
    return right, other


def _hands(crop: UInt8, points: Float64, yaw: float, pitch: float) -> tuple[float, float]:
    """Parts of the strips beside the right and the left jaw that show skin which is no neck's and no backdrop's."""
    lab = cv2.GaussianBlur(cv2.cvtColor(crop.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), (0, 0), 1.0)
    skin = lab[skin_mask(points, len(lab)) > 0]
    colour = np.median(skin, axis=0)
    if np.hypot(colour[1], colour[2]) < LEAST_CHROMA:
        return 0.0, 0.0
    scatter = float(np.percentile(np.hypot(*(skin - colour)[:, 1:].T), 30))
    reach = max(SKIN_CHROMA[0], SKIN_CHROMA[1] * scatter)

    def like_skin(columns: Float64, rows: Float64) -> float:
        found = _at(np.asarray(lab, np.float32), np.stack([columns.ravel(), rows.ravel()], 1))
        near = np.hypot(found[:, 1] - colour[1], found[:, 2] - colour[2]) < reach
        low, high = (colour[0] * k for k in SKIN_LIGHT)
        return float((near & (found[:, 0] > low) & (found[:, 0] < high)).mean())

    width = float(points[454, 0] - points[234, 0])
    strips, backdrops = [], []
    for sign, outline, ear in ((-1, list(JAW), 234), (1, list(MIRROR[list(JAW)]), 454)):
        rows = np.linspace(points[outline[2], 1], points[outline[5], 1], 10)[:, None]
        edge = np.interp(rows, points[outline, 1], points[outline, 0])
        columns = edge + sign * width * np.linspace(*BESIDE, 10)
        strips.append(like_skin(columns, np.broadcast_to(rows, columns.shape)))
        level = np.linspace(points[133, 1] - 0.25 * width, points[2, 1], 10)[:, None]
        columns = points[ear, 0] + sign * width * np.linspace(*AT_EYES, 10)[None]
        backdrops.append(like_skin(np.broadcast_to(columns, (10, 10)), np.broadcast_to(level, (10, 10))))
    right, left = (
        max(strips[k] - backdrops[k] - _OTHER * strips[1 - k] - _YAW * max(turn, 0) - _PITCH * max(pitch, 0), 0.0)
        for k, turn in ((0, yaw), (1, -yaw))
    )
    return right, left


def _at(image: Float32, points: Float64) -> Float32:
    """(P, ...) values of an (N, N, ...) picture at (P, 2) points; nothing beyond its border."""
    x, y = (points - 0.5).astype(np.float32).T
    found = cv2.remap(image, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(found[0], np.float32)
