"""478 landmarks of a face from a region of the photo."""

import math
from dataclasses import dataclass

import numpy as np

from maquette.types import Float32, Float64
from services.detector.attention import LID_POINTS, REFINED, AttentionMesh
from services.detector.network import Network, sigmoid, unit_range
from services.detector.region import Pyramid, Region
from services.detector.topology import (
    ATTENTION_LEFT_EYE,
    ATTENTION_RIGHT_EYE,
    LANDMARKS,
    LEFT_IRIS,
    MESH_LANDMARKS,
    MIRROR,
    RIGHT_IRIS,
)

MESH_SIDE = 192
SETTLING = 2
"""Further looks before the landmarks are taken: each halves what is left of the first box's arbitrariness in them."""

EYE_CORNERS = (33, 263)
"""Outer corners of the right and of the left eye; their line is level in the crop."""


@dataclass(frozen=True)
class Landmarks:
    """What the mesh networks say about a region.

    Attributes:
        refined: (478, 3) float64, photo pixels; lips, eyes, brows and irises from the attention network.
        plain: (478, 3) float64, photo pixels; the face mesh alone, with the same irises.
        score: Probability of a face, the smaller of the picture's and its mirror image's.
        discord: Mean distance of the landmarks from those of the mirrored picture, by the size of the face.
        region: The region that was read.
    """

    refined: Float64
    plain: Float64
    score: float
    discord: float
    region: Region


class LandmarkFinder:
    """The face mesh, fed again with its own frame, averaged with its answer to the mirror image."""

    def __init__(self, mesh: Network, attention: AttentionMesh) -> None:
        self._mesh = mesh
        self._attention = attention

    def rough(self, photo: Pyramid, region: Region) -> tuple[Region, float]:
        """One quick look: the region that the mesh found there says is better, and the probability of a face."""
        points, score = self._points(unit_range(region.sample(photo, MESH_SIDE)))
        return frame(_to_photo(points, region)), score

    def find(self, photo: Pyramid, region: Region) -> Landmarks:
        """All landmarks, from a region that ``rough`` gave."""
        for _ in range(SETTLING):
            region, _ = self.rough(photo, region)
        crop = unit_range(region.sample(photo, MESH_SIDE))
        flipped = np.ascontiguousarray(crop[:, ::-1])
        plain, score = self._points(crop)
        twin, twin_score = self._points(flipped)
        twin = _unmirrored(twin)
        discord = float(np.linalg.norm((plain - twin)[:, :2], axis=1).mean() / (MESH_SIDE / 1.5))
        mean = np.zeros((LANDMARKS, 3), np.float32)
        mean[:MESH_LANDMARKS] = (plain + twin) / 2
        sharp = (self._attention(crop)[0] + _unmirrored(self._attention(flipped)[0])) / 2
        refined = mean.copy()
        refined[REFINED, :2] = sharp[REFINED, :2]
        for iris, eye in ((RIGHT_IRIS, ATTENTION_RIGHT_EYE), (LEFT_IRIS, ATTENTION_LEFT_EYE)):
            # The attention network gives the irises no depth.
            refined[list(iris), 2] = mean[list(eye[:LID_POINTS]), 2].mean()
            mean[list(iris)] = refined[list(iris)]
        return Landmarks(_to_photo(refined, region), _to_photo(mean, region), min(score, twin_score), discord, region)

    def _points(self, crop: Float32) -> tuple[Float32, float]:
        """(468, 3) float32 crop pixels and the probability of a face."""
        outputs = self._mesh(crop)
        points, logit = outputs if outputs[0].size == 3 * MESH_LANDMARKS else outputs[::-1]
        return points.reshape(MESH_LANDMARKS, 3), float(sigmoid(logit).ravel()[0])


def frame(points: Float64) -> Region:
    """Square around a mesh, eyes level, 1.5 times its larger side.

    Args:
        points: (N, 3) float64, photo pixels.
    """
    right, left = points[list(EYE_CORNERS), :2]
    angle = math.atan2(left[1] - right[1], left[0] - right[0])
    c, s = math.cos(angle), math.sin(angle)
    axes = np.array([[c, -s], [s, c]])
    along = points[:MESH_LANDMARKS, :2] @ axes
    low, high = along.min(0), along.max(0)
    x, y = axes @ ((low + high) / 2)
    # Never of no size, whatever the network answers.
    return Region(float(x), float(y), max(1.5 * float((high - low).max()), 1.0), angle)


def _to_photo(points: Float32, region: Region) -> Float64:
    to_photo = region.to_photo(MESH_SIDE)
    xy = points[:, :2] @ to_photo[:, :2].T + to_photo[:, 2]
    return np.concatenate([xy, points[:, 2:] * (region.size / MESH_SIDE)], axis=1)


def _unmirrored(points: Float32) -> Float32:
    """Landmarks of the mirrored crop as landmarks of the crop."""
    out = points[MIRROR[: len(points)]].copy()
    out[:, 0] = MESH_SIDE - out[:, 0]
    return out
