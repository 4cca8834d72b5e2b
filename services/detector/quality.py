"""How well a face can be reconstructed, and why not better."""

import math

import cv2
import numpy as np

from maquette.types import Float32, Float64, Quality, UInt8, Verdict
from services.detector.cover import PARTS, cover_of, skin_mask
from services.detector.landmarks import Landmarks, frame
from services.detector.obstacle import PARTS as SIDES
from services.detector.obstacle import obstacles, wider
from services.detector.pose import Pose
from services.detector.region import Pyramid, Region
from services.detector.topology import MESH_LANDMARKS

SIDE = 192
WHITE = 250
UPPER_LIP, LOWER_LIP = 13, 14
"""Landmarks on the inner rims of the lips."""

_SEVERITY = (Verdict.GOOD, Verdict.FAIR, Verdict.POOR, Verdict.UNUSABLE)

LIMITS: dict[str, tuple[str, float, float, float]] = {
    "too_small": ("mm_per_px", 1.5, 2.2, 4.5),
    "turned_away": ("turn_degrees", 35.0, 45.0, 50.0),
    "blurred": ("blur", 0.76, 0.83, 2.0),
    "over_exposed": ("clipped", 0.08, 0.25, 0.6),
    "under_exposed": ("darkness", 0.76, 0.87, 0.96),
    "mouth_open": ("mouth_gap_mm", 16.0, 28.0, math.inf),
    "covered": ("cover", 1.0, 1.0, math.inf),
    "cut_off": ("outside", 0.01, 0.1, 0.35),
}
"""Per reason the measure, and the values from which it makes a face fair, poor and unusable."""

PARTLY = "cover_side"
"""Measure that makes a face fair from 1 on, with the reason ``covered``: one brow or one side of the jaw is."""


def judge(photo: Pyramid, found: Landmarks, pose: Pose, size: float) -> Quality:
    """Judge a face.

    Args:
        photo: The photo.
        found: The face's landmarks.
        pose: Its pose.
        size: Larger side of its box, pixels.

    Returns:
        Verdict, reasons from the severest on, and measures: ``mm_per_px`` (of a mean face), ``turn_degrees`` (angle
        between face and camera), ``blur`` (0 sharp to 1), ``clipped`` (part of the skin that is white),
        ``darkness`` (1 when the light parts of the skin are black), ``mouth_gap_mm``, ``cover`` (and per part; above 1
        where covered; 0 in a blurred face), ``cover_side`` (the same of the brows and the sides of the jaw) and
        ``outside`` (part of the landmarks beyond the photo).
    """
    around = frame(found.refined)
    crop = around.sample(photo, SIDE)
    points = _inside(around, found)
    skin = crop[skin_mask(points, SIDE) > 0]
    lab = cv2.cvtColor(np.asarray(crop, np.float32) / 255, cv2.COLOR_RGB2LAB)
    blur = _blur(photo, found)
    # Eyes and lips that are blurred look like skin.
    seen = blur < LIMITS["blurred"][2]
    cover = cover_of(np.asarray(lab, np.float32), points) if seen else dict.fromkeys(PARTS, 0.0)
    wide = wider(around)
    sides = (
        obstacles(wide.sample(photo, SIDE), _inside(wide, found), pose.yaw, pose.pitch)
        if seen
        else dict.fromkeys(SIDES, 0.0)
    )
    xy = found.refined[:MESH_LANDMARKS, :2]
    beyond = (xy < -1) | (xy > [photo.width + 1, photo.height + 1])
    height = float(np.ptp(pose.canonical[:MESH_LANDMARKS, 1]))
    turn = math.acos(math.cos(math.radians(pose.yaw)) * math.cos(math.radians(pose.pitch)))
    measures = {
        "mm_per_px": height / size,
        "turn_degrees": math.degrees(turn),
        "blur": blur,
        "clipped": float(np.logical_and.reduce([skin[:, k] >= WHITE for k in range(3)]).mean()),
        "darkness": 1 - float(np.percentile(_luma(skin), 90)) / 255,
        "mouth_gap_mm": float(np.linalg.norm(pose.canonical[UPPER_LIP] - pose.canonical[LOWER_LIP])),
        "outside": float(beyond.any(1).mean()),
        "cover": max(cover.values()),
        PARTLY: max(sides.values()),
        **{f"cover_{part}": value for part, value in (cover | sides).items()},
    }
    graded = {reason: sum(measures[m] >= limit for limit in limits) for reason, (m, *limits) in LIMITS.items()}
    graded["covered"] = max(graded["covered"], int(measures[PARTLY] >= 1))
    reasons = sorted((r for r, g in graded.items() if g), key=lambda r: -graded[r])
    return Quality(_SEVERITY[max(graded.values())], tuple(reasons), measures)


def _inside(region: Region, found: Landmarks) -> Float64:
    """(478, 2) landmarks in the pixels of a region's picture."""
    to_photo = region.to_photo(SIDE)
    return np.asarray((found.refined[:, :2] - to_photo[:, 2]) @ np.linalg.inv(to_photo[:, :2]).T, np.float64)


def _blur(photo: Pyramid, found: Landmarks) -> float:
    """Blur of the face's middle, 0 to 1 (Crété-Roffet et al. 2007, "The blur effect").

    What blurring a picture once more takes from the differences between its neighbouring pixels is much when it was
    sharp and little when it was blurred already. Measured at one scale for all faces, but never enlarged, because
    smallness is a reason of its own.
    """
    region = frame(found.refined)
    side = int(np.clip(round(region.size), 48, SIDE))
    edge = side // 6
    luma = _luma(region.sample(photo, side))[edge:-edge, edge:-edge]
    worst = 0.0
    for axis, kernel in ((1, (7, 1)), (0, (1, 7))):
        sharp = np.abs(np.diff(luma, axis=axis))
        blurred = np.abs(np.diff(cv2.blur(luma, kernel), axis=axis))
        total = float(sharp.sum())
        worst = max(worst, 1 - float(np.maximum(sharp - blurred, 0).sum()) / total if total > 0 else 1.0)
    return worst


def _luma(pixels: UInt8) -> Float32:
    """Rec. 601 luma of (..., 3) uint8 pixels, 0 to 255."""
    weights: Float64 = np.array([0.299, 0.587, 0.114])
    return np.asarray(pixels @ weights, np.float32)
