"""Texels that no photo shows: the other side mirrored, tone continued, holes closed."""

from functools import lru_cache

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from maquette.headmodel import HeadModel
from maquette.types import Float32
from services.reconstructor.engines.open.atlas import Atlas, blur, resized, skin_adjacency, smoothstep, weighted_blur
from services.reconstructor.engines.open.tissue import LIDS, LIPS

_STIFFNESS = 0.15
_ANCHOR = 2e-4
_MIRROR_BLUR_MM = 9.0
_STEADY_MM = 6.0
_BORDER_MM = 9.0
_EDGE_MM = 2.0
_HOLES = (14.0, 5.0, 2.0)
"""Widths in mm at which holes are closed from their rims, widest first."""


@lru_cache(maxsize=2)
def _laplacian(model: HeadModel) -> tuple[sp.csc_matrix, sp.csc_matrix]:
    """Graph Laplacian of the skin's vertices (n, n), and the (n, V) matrix that picks them."""
    skin = np.flatnonzero(model.part("skin"))
    ones = np.ones(len(skin))
    pick = sp.csc_matrix((ones, (np.arange(len(skin)), skin)), shape=(len(skin), len(model.mean)))
    adjacency = pick @ skin_adjacency(model).astype(np.float64) @ pick.T
    return sp.csc_matrix(sp.diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency), pick


def continue_tone(atlas: Atlas, values: Float32, weight: Float32, anchor: Float32) -> Float32:
    """Smooth map over the whole skin that follows ``values`` where they have weight.

    One sparse solve on the vertices, which have no seam: the sum of ``w |x − v|²``, of the stiffness times
    ``|x_i − x_j|²`` over the edges, and of a very small ``|x − anchor|²`` is least.

    Args:
        atlas: Of the head model.
        values: (H, N, C) float32.
        weight: (H, N) float32, 0 to 1.
        anchor: (C,) float32, what skin tends to far from everything seen.
    """
    laplacian, pick = _laplacian(atlas.model)
    w = atlas.pack(weight)
    stacked = np.concatenate([np.ones_like(w)[:, None], w[:, None], atlas.pack(values) * w[:, None]], 1)
    sums = pick @ np.asarray(atlas.to_vertices @ stacked, np.float64)
    sums /= np.maximum(sums[:, :1], 1e-6)
    system = sp.csc_matrix(sp.diags(sums[:, 1] + _ANCHOR) + _STIFFNESS * laplacian)
    factor = splu(system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    solved = factor.solve(sums[:, 2:] + _ANCHOR * anchor.astype(np.float64))
    return atlas.pad(atlas.image(np.asarray(pick.T @ solved, np.float32)))


def features_of(atlas: Atlas) -> Float32:
    """(H, N) float32, 1 on lids, lips and nose, whose borders are part of them."""
    return np.asarray(np.clip(1.5 * atlas.region(*LIDS, *LIPS, "nose", soften=4), 0, 1), np.float32)


def draw_back(atlas: Atlas, weight: Float32) -> Float32:
    """(H, N) float32, weight that ends softly inside its own border, where pixels mix with what is beyond."""
    inside = smoothstep(blur(weight, _EDGE_MM / atlas.texel_mm) * np.float32(2) - np.float32(1))
    return np.clip(weight * (inside + (1 - inside) * features_of(atlas)), 0, 1)


def firmness(atlas: Atlas, weight: Float32) -> Float32:
    """(H, N) float32, 1 well inside what was seen, 0 at its borders, where shadows and outlines are.

    Args:
        atlas: Of the head model.
        weight: (H, N) float32, how well it was seen.
    """
    inside = smoothstep(blur(weight, _BORDER_MM / atlas.texel_mm) * np.float32(1.6) - np.float32(0.6))
    return inside + (1 - inside) * features_of(atlas)


def steady_tone(atlas: Atlas, colour: Float32, weight: Float32, firm: Float32, low: Float32) -> Float32:
    """Let texels at the borders of what was seen lend their detail but not their tone.

    Light at a grazing angle is what the fitted light gets wrong: such texels get the tone continued from better ones.

    Args:
        atlas: Of the head model.
        colour: (H, N, 3) float32, seen.
        weight: (H, N) float32, 0 to 1.
        firm: See ``firmness``.
        low: (H, N, 3) float32, the tone continued from what was seen well.
    """
    near = weighted_blur(colour, weight + np.float32(1e-4), _STEADY_MM / atlas.texel_mm)
    ratio = np.clip(low / np.maximum(near, np.float32(1e-3)), 0.4, 2.5)
    return np.asarray(colour * (1 + (ratio - 1) * (1 - firm)[..., None]), np.float32)


def close_holes(atlas: Atlas, colour: Float32, weight: Float32, low: Float32) -> Float32:
    """Continue ``low`` towards the seen texels, so that a narrow hole takes its rim's colour and not its region's.

    Args:
        atlas: Of the head model.
        colour: (H, N, 3) float32, seen.
        weight: (H, N) float32, 0 to 1.
        low: (H, N, 3) float32, the continued tone.
    """
    # Nothing here is finer than two texels of half the size.
    half = (colour.shape[0] // 2, colour.shape[1] // 2)
    cover = resized(weight, half)
    lit = resized(colour * weight[..., None], half)
    base = resized(low, half)
    for width in _HOLES:
        sigma = 0.25 * width / atlas.texel_mm
        near = blur(cover, sigma)
        rim = blur(lit, sigma) / np.maximum(near, np.float32(1e-3))[..., None]
        base += (rim - base) * smoothstep(near * np.float32(2.5) - np.float32(0.1))[..., None]
    return resized(base, weight.shape)


def mirror_detail(atlas: Atlas, colour: Float32, weight: Float32, low: Float32) -> tuple[Float32, Float32]:
    """The other side's fine detail on this side's tone.

    Args:
        atlas: Of the head model.
        colour: (H, N, 3) float32, seen.
        weight: (H, N) float32, 0 to 1.
        low: (H, N, 3) float32, the tone to put it on.

    Returns:
        Colours (H, N, 3), and how far they can be used (H, N).
    """
    smooth = weighted_blur(colour, weight, _MIRROR_BLUR_MM / atlas.texel_mm)
    ratio = (colour / np.maximum(smooth, np.float32(1e-3)))[:, ::-1]
    usable = weight * smoothstep(blur(weight, 2 / atlas.texel_mm) * 1.6 - 0.4)
    return low * np.clip(ratio, 0.25, 1.8), usable[:, ::-1]


def yield_to_mirror(atlas: Atlas, weight: Float32) -> Float32:
    """Weight lowered where the mirrored texel is seen much better: a grazing view smears, its mirror image does not."""
    better = smoothstep((weight[:, ::-1] - weight - np.float32(0.15)) / np.float32(0.35))
    return weight * (1 - blur(better, 2.5 / atlas.texel_mm))
