"""Hair's volume: a style stretched or flattened so that its outline is the photo's."""

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from maquette.headmodel import HeadModel
from maquette.types import Bool, Float32, Float64
from services.reconstructor.engines.open.atlas import smoothstep
from services.reconstructor.engines.open.hairline import Evidence

_BIN_DEG = 5.0
_REACH_DEG = 200.0
"""How far the outline is followed to each side: over the head, and from its middle's level on downwards."""

_SMOOTH_BINS = 1.6
_LEAST_BINS = 6
_RATIOS = (0.78, 1.3)
_HANGING = (0.9, 1.1)
"""Least and largest ratio of the photo's outline to the style's; of hair that hangs, which would leave the face."""

_DOUBT = 0.25
"""Weight of leaving a bin as it is, beside a seen bin's 1."""

_ALIKE_SIDES = 0.35
_STILL, _FULL = 0.55, 0.92
"""Shares of the outline's distance from the middle at which hair stays, and goes with the outline."""

_CLOSE_MM = (1.5, 7.0)
"""Hair nearer to the skin than this stays, so that the hairline does; further off it moves."""


def fit_outline(points: Float32, drawn: Bool, evidence: Evidence, vertices: Float32, model: HeadModel) -> Float32:
    """Move a style's vertices in the picture's plane until its outline lies on that of the hair seen.

    The outline is described around the middle of the skull: by angle above it, by rows on either side below.

    Args:
        points: (H, 3) mm, the style on the head.
        drawn: (N, N) where it is seen in the square of the evidence.
        evidence: What the photo shows of hair.
        vertices: (V, 3) mm, the head.
        model: The head model.

    Returns:
        (H, 3) float32 mm; the points themselves where the photo shows too little of the outline.
    """
    square = evidence.camera
    skull = vertices[model.region("scalp")].astype(np.float64)
    middle = square.project(skull.mean(0)[None])[0]
    unit = float(np.ptp(square.project(skull)[:, 0])) / 2
    seen = _radii((evidence.hair > 0.5) & evidence.known, evidence.known, middle, unit)
    own = _radii(drawn & evidence.known, evidence.known, middle, unit)
    known = (seen > 0) & (own > 0)
    if known.sum() < _LEAST_BINS:
        return points
    log = np.where(known, np.log(np.clip(seen / np.maximum(own, 1e-6), *_RATIOS)), 0)
    weight = gaussian_filter1d(known.astype(np.float64), _SMOOTH_BINS)
    log = gaussian_filter1d(log, _SMOOTH_BINS) / (weight + _DOUBT)
    hanging = np.abs(_middles()) > 90
    log = np.where(hanging, np.clip(log, *np.log(_HANGING)), log)
    log = gaussian_filter1d(log, _SMOOTH_BINS, mode="nearest")
    log = (1 - _ALIKE_SIDES / 2) * log + _ALIKE_SIDES / 2 * log[::-1]
    x = square.to_camera(points.astype(np.float64))
    at = square.project(points.astype(np.float64)) - middle
    place, radius = _polar(at, unit)
    outline = np.interp(place, _middles(), _filled(own, known))
    share = smoothstep((radius / np.maximum(outline, 1.0) - _STILL) / (_FULL - _STILL))
    gap, _ = cKDTree(vertices[model.part("skin")]).query(points)
    share = share * smoothstep((gap - _CLOSE_MM[0]) / (_CLOSE_MM[1] - _CLOSE_MM[0]))
    stretch = share * np.expm1(np.interp(place, _middles(), log))
    # Below the middle hair moves sideways only.
    away = np.stack([at[:, 0], np.minimum(at[:, 1], 0)], 1)
    shift = away * stretch[:, None] * (x[:, 2:] / square.focal)
    return np.asarray(points + np.pad(shift, ((0, 0), (0, 1))) @ square.rotation, np.float32)


def _middles() -> Float64:
    """(B,) degrees, middles of the outline's bins from the picture's left below over the top to its right below."""
    return np.arange(-_REACH_DEG, _REACH_DEG, _BIN_DEG) + _BIN_DEG / 2


def _polar(at: Float64, unit: float) -> tuple[Float64, Float64]:
    """Place along the outline (P,) in degrees and distance from the middle (P,) in pixels of points (P, 2) about it.

    Args:
        at: Pixels from the middle, y down.
        unit: Half the skull's width in pixels, which turns rows into degrees.
    """
    x, y = at.T
    side = np.where(x < 0, -1.0, 1.0)
    above = y <= 0
    place = np.where(above, np.rad2deg(np.arctan2(x, -y)), side * (90 + np.rad2deg(np.maximum(y, 0) / unit)))
    return place, np.where(above, np.hypot(x, y), np.abs(x))


def _radii(mask: Bool, known: Bool, middle: Float64, unit: float) -> Float64:
    """(B,) pixels from the middle to the outermost of a mask in each bin; 0 where there is none, or the photo ends."""
    rows, columns = np.nonzero(mask)
    count = len(_middles())
    out = np.zeros(count)
    if not len(rows):
        return out
    place, radius = _polar(np.stack([columns + 0.5, rows + 0.5], 1) - middle, unit)
    index = ((place + _REACH_DEG) / _BIN_DEG).astype(int)
    inside = (index >= 0) & (index < count)
    np.maximum.at(out, index[inside], radius[inside])
    rows, columns = np.nonzero(~known)
    if len(rows):
        place, radius = _polar(np.stack([columns + 0.5, rows + 0.5], 1) - middle, unit)
        index = ((place + _REACH_DEG) / _BIN_DEG).astype(int)
        inside = (index >= 0) & (index < count)
        end = np.full(count, np.inf)
        np.minimum.at(end, index[inside], radius[inside])
        out[out > end - 2.5] = 0
    return out


def _filled(radii: Float64, known: Bool) -> Float64:
    """Radii (B,) with those of unknown bins interpolated."""
    index = np.arange(len(radii))
    return np.asarray(np.interp(index, index[known], radii[known]), np.float64)
