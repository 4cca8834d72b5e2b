"""Several photos of one head to one map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maquette.types import Float32, Float64
from services.reconstructor.engines.open.atlas import Atlas, smoothstep, weighted_blur
from services.reconstructor.engines.open.lighting import shading
from services.reconstructor.engines.open.sampling import Sample
from services.reconstructor.engines.open.tissue import Tissue

_BAND_MM = 6.0
_SHARPNESS = 4
_MAIN_PHOTO = 2.0
_STRAIGHT = (0.45, 0.85)
_GAINS = (0.4, 2.5)
_LEAST = 500
_SURE = 0.4


@dataclass(frozen=True, eq=False)
class Seen:
    """What the photos together show; maps (H, N, ...).

    Attributes:
        albedo: (H, N, 3) float32 linear, the main photo's light divided out, in its exposure.
        weight: (H, N) float32, how well the texel was seen.
        skin: (H, N) float32, probability of skin where seen.
        hair: (H, N) float32, probability of hair where seen.
        frontal: (H, N) float32, 1 where a photo looks straight enough at the skin for its fitted light to be right.
    """

    albedo: Float32
    weight: Float32
    skin: Float32
    hair: Float32
    frontal: Float32


def merge(atlas: Atlas, samples: Sequence[Sample], tissues: Sequence[Tissue]) -> Seen:
    """Blend photos after taking each one's light away.

    Each photo's colours are matched to the main one's where both show skin. The tone is the mean by weight; fine detail
    comes mostly from the photo that shows it best, so that small misfits do not show twice.
    """
    frontal = np.max([_frontal(atlas, s) for s in samples], axis=0)
    albedos = [s.linear / shade_of(atlas, s, t.light) for s, t in zip(samples, tissues, strict=True)]
    if len(samples) == 1:
        return Seen(albedos[0], samples[0].weight, tissues[0].skin, tissues[0].hair, frontal)
    skins = [s.weight * t.skin for s, t in zip(samples, tissues, strict=True)]
    total = sum(((_MAIN_PHOTO if k == 0 else 1.0) * s.weight for k, s in enumerate(samples)), np.float32(1e-6))
    best = sum((_sharp(s.weight) for s in samples), np.float32(1e-12))
    albedo, skin, hair = np.zeros_like(albedos[0]), np.zeros_like(skins[0]), np.zeros_like(skins[0])
    unseen = np.ones_like(skins[0])
    for k, (sample, tissue) in enumerate(zip(samples, tissues, strict=True)):
        own = albedos[k] if k == 0 else albedos[k] * _gain(albedos, skins, k)
        smooth = weighted_blur(own, sample.weight, _BAND_MM / atlas.texel_mm)
        share = (_MAIN_PHOTO if k == 0 else 1.0) * sample.weight / total
        albedo += smooth * share[..., None] + (own - smooth) * (_sharp(sample.weight) / best)[..., None]
        skin += tissue.skin * share
        hair += tissue.hair * share
        unseen *= 1 - sample.weight
    return Seen(np.maximum(albedo, 0), 1 - unseen, skin, hair, frontal)


def shade_of(atlas: Atlas, sample: Sample, light: Float64) -> Float32:
    """(H, N, 3) float32, a photo's light on the head; 1 off the skin."""
    shade = atlas.image(shading(light, sample.normals, sample.towards))
    shade[~atlas.skin] = 1
    return shade


def _frontal(atlas: Atlas, sample: Sample) -> Float32:
    cosine = np.asarray(sample.normals @ sample.towards.astype(np.float32), np.float32)
    return sample.weight * atlas.image(smoothstep((cosine - _STRAIGHT[0]) / (_STRAIGHT[1] - _STRAIGHT[0])))


def _sharp(weight: Float32) -> Float32:
    return weight**_SHARPNESS + np.float32(1e-6) * weight


def _gain(albedos: Sequence[Float32], skins: Sequence[Float32], k: int) -> Float32:
    """(3,) float32 factor that brings photo ``k`` to the main one's exposure and white."""
    both = np.minimum(skins[0], skins[k]) > _SURE
    if both.sum() >= _LEAST:
        gain = np.median(albedos[0][both] / np.maximum(albedos[k][both], 1e-3), axis=0)
    elif (skins[0] > _SURE).any() and (skins[k] > _SURE).any():
        main, other = (np.median(albedos[i][skins[i] > _SURE], axis=0) for i in (0, k))
        gain = main / np.maximum(other, 1e-3)
    else:
        gain = np.ones(3)
    return np.clip(gain, *_GAINS).astype(np.float32)
