"""How continued skin looks from close by: its grain, and the dark of its cavities."""

from functools import lru_cache

import cv2
import numpy as np

from maquette.geometry.raster import Scene
from maquette.geometry.surface import vertex_normals
from maquette.headmodel import HeadModel
from maquette.types import Float32
from services.reconstructor.engines.open.atlas import Atlas, blur, smoothstep
from services.reconstructor.engines.open.linear import exp, log, luminance
from services.reconstructor.engines.open.tissue import EARS

_TILE = 512
_CAVITY_MM = 25.0
_OPEN = 0.3
_RAYS = 48


@lru_cache(maxsize=32)
def _tile(sigma: float, seed: int) -> Float32:
    noise = np.random.default_rng(seed).standard_normal((_TILE, _TILE), np.float32)
    if sigma > 0.3:
        border = int(4 * sigma) + 1
        wrapped = cv2.copyMakeBorder(noise, border, border, border, border, cv2.BORDER_WRAP)
        noise = np.asarray(cv2.GaussianBlur(wrapped, (0, 0), sigma), np.float32)[border:-border, border:-border]
    return np.asarray(noise / noise.std(), np.float32)


def grain(shape: tuple[int, int], sigma: float, seed: int) -> Float32:
    """(h, w) float32 Gaussian noise of unit variance whose spots are about ``sigma`` texels wide; always the same."""
    tile = _tile(round(sigma, 2), seed)
    return np.tile(tile, (-(-shape[0] // _TILE), -(-shape[1] // _TILE)))[: shape[0], : shape[1]]


def roughen(atlas: Atlas, colour: Float32, weight: Float32, plain: Float32) -> Float32:
    """Give continued skin the grain that the seen skin has, so that it does not look like wax.

    Args:
        atlas: Of the head model.
        colour: (H, N, 3) float32 linear.
        weight: (H, N) float32, how well it was seen.
        plain: (H, N) float32, 1 on plain skin.
    """
    mm = 1 / atlas.texel_mm
    seen = weight * plain > 0.7
    level = 0.02
    if seen.sum() > 1000:
        log_y = log(luminance(colour))
        level = 0.9 * float(np.median(np.abs(log_y - blur(log_y, mm))[seen]))
    noise = 0.8 * grain(weight.shape, 0.35 * mm, 31) + 0.6 * grain(weight.shape, 1.2 * mm, 32)
    share = float(np.clip(level, 0.008, 0.03)) * (1 - weight)
    return np.asarray(colour * exp(noise * share)[..., None], np.float32)


def darken_cavities(atlas: Atlas, colour: Float32, weight: Float32) -> Float32:
    """Nostrils and ear canals, which no photo lights, are dark.

    Args:
        atlas: Of the head model.
        colour: (H, N, 3) float32 linear.
        weight: (H, N) float32, how well it was seen: what was seen stays.
    """
    light = _openness(atlas.model)
    inside = np.asarray(atlas.to_texels @ (light < _OPEN).astype(np.float32)) > 0
    where = atlas.texels[inside]
    factor = 0.12 + 0.88 * smoothstep((atlas.to_texels[inside] @ light - np.float32(0.02)) / np.float32(_OPEN - 0.02))
    factor += (1 - factor) * weight.reshape(-1)[where]
    out = colour.reshape(-1, 3).copy()
    # What little light gets in has bounced off skin and is redder.
    out[where] *= factor[:, None] ** np.array([1.0, 1.25, 1.35], np.float32)
    return out.reshape(colour.shape)


@lru_cache(maxsize=2)
def _openness(model: HeadModel) -> Float32:
    """(V,) float32, how much of the outside the skin of nose and ears sees on the mean head, 0 (a cavity) to 1."""
    vertices = model.mean.astype(np.float64)
    normals = vertex_normals(vertices, model.triangles)
    where = np.flatnonzero(np.any([model.region(n) for n in ("nose", *EARS)], 0))
    # A spiral of directions, even over the sphere (Vogel 1979); those below the surface count for nothing.
    k = np.arange(_RAYS) + 0.5
    z = 1 - 2 * k / _RAYS
    turn = np.pi * (1 + 5**0.5) * k
    rays = np.stack([np.sqrt(1 - z * z) * np.cos(turn), np.sqrt(1 - z * z) * np.sin(turn), z], 1)
    cosine = np.clip(normals[where] @ rays.T, 0, None)
    directions = np.broadcast_to(rays, (len(where), _RAYS, 3))
    origins = np.broadcast_to((vertices[where] + 0.3 * normals[where])[:, None], directions.shape)
    hit = Scene(vertices, model.triangles).cast(origins, directions)
    free = ~hit.covered | (hit.distance > _CAVITY_MM)
    out = np.ones(len(vertices), np.float32)
    out[where] = (cosine * free).sum(1) / cosine.sum(1)
    return out
