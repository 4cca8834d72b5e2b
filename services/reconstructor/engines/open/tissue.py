"""Which seen texels are skin, and which are hair, beard, cloth or glass?"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from maquette.rooms import PhotoView
from maquette.types import Float32, Float64, View
from services.reconstructor.engines.open.atlas import Atlas, blur, resized, smoothstep, weighted_blur
from services.reconstructor.engines.open.lighting import even_light, fit_light, harmonics
from services.reconstructor.engines.open.linear import log, luminance
from services.reconstructor.engines.open.sampling import Sample

GRID = 512
"""Side of the atlas, at most, in which tissues are told apart."""

CORE = ("cheek_left", "cheek_right", "nose", "forehead")
BROWS = ("brow_left", "brow_right")
LIPS = ("lip_upper", "lip_lower")
LIDS = ("eyelids_left", "eyelids_right")
EARS = ("ear_left", "ear_right")

_SKIN_FLOOR = np.array([0.22, 0.05, 0.07, 0.35])
_HAIR_FLOOR = np.array([0.5, 0.10, 0.14, 0.45])
"""Least standard deviations of the features: log luminance, log R/G, log B/G, log of the fine variation."""

_NOT_SKIN = 12.0
_STANDS_OFF_MM = 14.0
_VOLUMINOUS = 0.6
_DARK = 0.004
_OTHER = 1e-3
_LEAST = 200


@dataclass(frozen=True, eq=False)
class Tissue:
    """Tissues of one photo; maps (H, N).

    Attributes:
        skin: Probability that the look-up shows skin; 0 where nothing was seen.
        hair: The same of hair.
        hairy: How much of the seen scalp is hair, 0 to 1; None when hardly any of it was seen.
        light: (9, 3) float64, see ``fit_light``.
    """

    skin: Float32
    hair: Float32
    hairy: float | None
    light: Float64


def tell_tissues(atlas: Atlas, sample: Sample, volume: float | None = None) -> Tissue:
    """Tell skin from hair by luminance under the estimated light, chroma and fineness.

    The skin's distribution is learned on cheeks, nose and forehead, the hair's on what is seen of the scalp; both are
    Gaussian, with a prior by place.

    Args:
        atlas: Of the head model.
        sample: The photo.
        volume: See ``hair_volume``; hair that stands off the head is hair, be it of the skin's colour.
    """
    small = _Small(atlas, sample)
    apart = atlas.region(*BROWS, soften=5), atlas.region(*LIDS, soften=4), atlas.region(*LIPS, soften=4)
    core = small.pack(atlas.region(*CORE) * (1 - apart[0]) * (1 - apart[1]))
    wide = small.pack(atlas.region("face") * (1 - np.maximum(np.maximum(*apart[:2]), apart[2])))
    sure = small.weight * core
    if (sure > 0.3).sum() < _LEAST:
        sure = small.weight * wide
    if (sure > 0.3).sum() < _LEAST:
        return _unknown(atlas)
    light = small.light(sure)
    for _ in range(2):
        features = small.features(light)
        mean, covariance = _gaussian(features[sure > 0.3], sure[sure > 0.3], _SKIN_FLOOR)
        off_skin = _distance(features, mean, covariance)
        sure = np.asarray(small.weight * wide * np.exp(-0.25 * off_skin), np.float32)
        light = small.light(sure)
    above = small.weight * smoothstep(2 * small.pack(atlas.region("scalp")) - 1)
    hairy = above * (1.0 if volume is not None and volume > _VOLUMINOUS else off_skin > _NOT_SKIN)
    fraction = float(hairy.sum() / above.sum()) if above.sum() > 2 * _LEAST else None
    shaded = features.copy()
    shaded[:, 0] = _lenient(shaded[:, 0], mean[0], 1.2 * float(np.sqrt(covariance[0, 0])))
    prior = small.pack(_hair_prior(atlas))
    skin = (1 - prior) * _density(shaded, mean, covariance)
    hair = np.zeros_like(skin)
    if fraction is not None and hairy.sum() > _LEAST:
        hair = prior * _density(features, *_gaussian(features[hairy > 0.2], hairy[hairy > 0.2], _HAIR_FLOOR))
    total = skin + hair + _OTHER
    # Collars and scarves come close to skin: off the face its colour and its fineness must be right; its luminance need
    # not be, because the chin throws a shadow.
    off_colour = np.asarray(_distance(features[:, 1:], mean[1:], covariance[1:, 1:]), np.float32)
    bare = small.pack(atlas.region("face", *EARS, "scalp", soften=4))
    strict = 1 - (1 - bare) * smoothstep((off_colour - 4) / 4)
    return Tissue(small.spread(strict * skin / total), small.spread(hair / total), fraction, light)


def _unknown(atlas: Atlas) -> Tissue:
    """Tissue of a photo that shows hardly any of the face's skin: everything counts as skin in even light."""
    ones = atlas.skin.astype(np.float32)
    return Tissue(ones, 0 * ones, None, even_light())


def hair_volume(atlas: Atlas, posed: Float32, view: View, photo: PhotoView, sample: Sample) -> float | None:
    """How much of the upper head's outline has the person's mask standing off it, 0 to 1; None when it is not seen.

    Tells hair of the skin's own grey or colour from a bald head.

    Args:
        atlas: Of the head model.
        posed: (V, 3) float32 mm, head frame.
        view: Fit of the photo.
        photo: The photo and its mask.
        sample: The photo from the texels.
    """
    model, camera = atlas.model, view.camera
    upper = model.region("scalp") & (model.mean[:, 1] > model.mean[model.region("ear_left"), 1].max() - 15)
    vertices = posed.astype(np.float64)
    rays = -camera.rotation.T @ camera.translation - vertices
    cosine = (sample.normals * rays).sum(1) / np.linalg.norm(rays, axis=1)
    outline = upper & (np.abs(cosine) < 0.25)
    points = camera.project(vertices[outline] + _STANDS_OFF_MM * sample.normals[outline])
    inside = ((points > 0) & (points < [camera.width, camera.height])).all(1)
    if outline.sum() < 10 or inside.sum() < 0.3 * outline.sum():
        return None
    at = points[inside] @ photo.mask.to_crop[:, :2].T + photo.mask.to_crop[:, 2]
    column, row = np.clip(at.astype(int), 0, photo.mask.alpha.shape[0] - 1).T
    return float((photo.mask.alpha[row, column] > 0.5).mean())


def _hair_prior(atlas: Atlas) -> Float32:
    """(H, N) float32, how likely hair is to cover a texel before one has looked."""
    face = atlas.region("face", soften=4)
    edge = 4 * face * (1 - face)
    inner = np.clip(blur(face, 12 / atlas.texel_mm) * 2 - 1, 0, 1)
    prior = 0.5 - 0.46 * inner + 0.1 * edge
    return np.asarray(np.clip(prior + 0.35 * atlas.region("scalp", soften=4), 0.02, 0.9), np.float32)


def inner_face(atlas: Atlas) -> Float32:
    """(H, N) float32, 1 well inside the face, where whatever the photo shows belongs to it: brows, lips, a beard.

    Hair falls over the sides further than anything else reaches over the jaw, so that the margin is wider above; over
    the forehead there is hardly one, as a fringe may stay.
    """
    within = (atlas.region("face", soften=0) > 0.5) | ~atlas.skin
    depth = cv2.distanceTransform(within.astype(np.uint8), cv2.DIST_L2, 5) * np.float32(atlas.texel_mm)
    model = atlas.model
    height = model.mean[:, 1]
    mouth = float(height[model.region("lip_upper")].mean())
    brows = float(height[np.any([model.region(n) for n in BROWS], 0)].max())
    margin = (11 + 4 * smoothstep((height - mouth) / 30)) * (1 - 0.8 * smoothstep((height - brows + 6) / 12))
    return smoothstep((depth - atlas.image(margin)) / 8) * atlas.skin


class _Small:
    """The seen texels of a sample, on a grid of ``GRID`` at most; P of them."""

    def __init__(self, atlas: Atlas, sample: Sample) -> None:
        height, width = atlas.skin.shape
        size = min(GRID, width)
        self._large = (height, width)
        self._shape = (round(height * size / width), size)
        self._mm = size / width / atlas.texel_mm
        self._map = resized(sample.weight, self._shape)
        self._seen = self._map > 0.02
        self.weight = self._map[self._seen]
        self._linear = resized(sample.linear, self._shape)
        normals = self.pack(atlas.image(sample.normals))
        self._harmonics = harmonics(normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6))
        self._fine = self._fineness()

    def pack(self, image: Float32) -> Float32:
        """(P, ...) values of a map."""
        return resized(image, self._shape)[self._seen]

    def spread(self, values: NDArray[np.floating]) -> Float32:
        """(H, N) map of values (P,), a little blurred."""
        image = np.zeros(self._shape, np.float32)
        image[self._seen] = values
        return resized(weighted_blur(image, self._map, 1.2), self._large)

    def light(self, sure: Float32) -> Float64:
        """(9, 3) light, fitted where ``sure`` (P,) says that there is skin."""
        chosen = sure > 0.3
        # A few thousand texels say as much about nine coefficients as all of them.
        step = max(int(chosen.sum() // 8000), 1)
        index = np.flatnonzero(chosen)[::step]
        return fit_light(self._linear[self._seen][index], self._harmonics[index], sure[index])

    def _fineness(self) -> Float64:
        log_y = log(luminance(self._linear) + np.float32(_DARK))
        weight = self._map + np.float32(1e-3)
        rest = log_y - weighted_blur(log_y, weight, 3 * self._mm)
        variance = weighted_blur(rest * rest, weight, 3 * self._mm)[self._seen].astype(np.float64)
        return np.asarray(0.5 * np.log(variance + 1e-3), np.float64)

    def features(self, light: Float64) -> Float64:
        """(P, 4): log luminance under the light, log R/G, log B/G, log of the luminance's local variation."""
        linear = self._linear[self._seen].astype(np.float64) + _DARK
        under = np.maximum(self._harmonics @ light.mean(1), 0.25)
        r, g, b = np.log(linear).T
        return np.stack([np.log(luminance(linear.astype(np.float32)) / under), r - g, b - g, self._fine], -1)


def _lenient(values: Float64, centre: float, width: float) -> Float64:
    """Values drawn towards a centre the more the further off they are: skin in a cast shadow is still skin."""
    return np.asarray(centre + width * np.arcsinh((values - centre) / width), np.float64)


def _gaussian(points: Float64, weight: Float32, floor: Float64) -> tuple[Float64, Float64]:
    """Mean (C,) and covariance (C, C) of the bulk of some points (P, C)."""
    w = weight.astype(np.float64)
    centre = np.median(points, axis=0)
    spread = np.maximum(1.4826 * np.median(np.abs(points - centre), axis=0), floor)
    trust = w
    for _ in range(3):
        trust = w * (np.abs((points - centre) / spread) < 2.5).all(1)
        if trust.sum() < 10:
            break
        centre = trust @ points / trust.sum()
        spread = np.maximum(1.2 * np.sqrt(trust @ (points - centre) ** 2 / trust.sum()), floor)
    off = points - centre
    covariance = (off * trust[:, None]).T @ off / max(float(trust.sum()), 1e-6)
    return centre, covariance + np.diag(floor**2)


def _distance(points: Float64, mean: Float64, covariance: Float64) -> Float64:
    """(P,) squared Mahalanobis distances of points (P, C)."""
    white = np.linalg.inv(np.linalg.cholesky(covariance))
    return np.asarray(np.square((points - mean) @ white.T).sum(1), np.float64)


def _density(points: Float64, mean: Float64, covariance: Float64) -> Float64:
    """(P,) Gaussian density, up to a factor that is the same for all."""
    distance = _distance(points, mean, covariance)
    return np.asarray(np.exp(-0.5 * np.minimum(distance, 200)) / np.sqrt(np.linalg.det(covariance)), np.float64)
