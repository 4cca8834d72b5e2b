"""The attention mesh: refined lips, eyes, brows and irises (Grishchenko et al. 2020, arXiv:2006.10962).

The network's three custom operations are rebuilt here from what its outputs are in mediapipe's own runtime; the figures
in the comments (0.25, 1.5, 4, half pixels) are theirs.
"""

import math

import numpy as np

from maquette.types import Float32, Float64
from services.detector.network import Network, sigmoid
from services.detector.topology import (
    ATTENTION_LEFT_EYE,
    ATTENTION_LIPS,
    ATTENTION_RIGHT_EYE,
    LANDMARKS,
    LEFT_IRIS,
    MESH_LANDMARKS,
    RIGHT_IRIS,
)

SIDE = 192
MAP_SIDE = 48
CUT_SIDE = 16
LID_POINTS = 16
"""The first points of an eye's list lie on the lid margins."""

_SUBSETS = tuple(np.array(s) for s in (ATTENTION_LIPS, ATTENTION_RIGHT_EYE, ATTENTION_LEFT_EYE))
_LEVEL = ((61, 291), (33, 133), (362, 263))
"""Per subset the two landmarks whose line is level in its cut."""

_ANSWERS = ((0, _SUBSETS[0]), (1, _SUBSETS[1]), (1, np.array(RIGHT_IRIS)), (2, _SUBSETS[2]), (2, np.array(LEFT_IRIS)))
"""Per output of the heads the cut that it belongs to and the landmarks that it answers."""

REFINED = np.unique(np.concatenate([a[1] for a in _ANSWERS]))
"""Landmarks that the attention network refines, irises included."""


class AttentionMesh:
    """The attention network, cut in two; see ``services.detector.surgery``."""

    def __init__(self, trunk: Network, heads: Network) -> None:
        self._trunk = trunk
        self._heads = heads

    def __call__(self, crop: Float32) -> tuple[Float32, float]:
        """Find landmarks.

        Args:
            crop: (192, 192, 3) float32, sRGB in 0..1, eyes level, the mesh filling two thirds.

        Returns:
            (478, 3) float32 landmarks, crop pixels, z on the same scale; where not refined they are the trunk's mesh,
            and the irises' z is 0. The probability of there being a face.
        """
        mesh, features, logit = self._trunk(crop)
        points = np.zeros((LANDMARKS, 3), np.float32)
        points[:MESH_LANDMARKS] = mesh.reshape(MESH_LANDMARKS, 3)
        coarse = points[:, :2].astype(np.float64) * (MAP_SIDE / SIDE)
        cuts = [_cut(coarse[subset], coarse[list(level)]) for subset, level in zip(_SUBSETS, _LEVEL, strict=True)]
        outputs = self._heads(*(_sampled(features, cut) for cut in cuts))
        for (which, index), answer in zip(_ANSWERS, outputs, strict=True):
            cut = cuts[which]
            # The heads answer in quarter cells of their cut, which cancels the step from map cells to crop pixels.
            points[index, :2] = answer.reshape(-1, 2) @ cut[:, :2].T + cut[:, 2] * (SIDE / MAP_SIDE)
        return points, float(sigmoid(logit).ravel()[0])


def _cut(subset: Float64, level: Float64) -> Float64:
    """Where a region of interest lies in the feature map (operation Landmarks2TransformMatrix).

    Args:
        subset: (N, 2) landmarks of the region in map cells.
        level: (2, 2) the two whose line is level in the cut.

    Returns:
        (2, 3) float64, affine from cells of the cut to cells of the map, both counted from their outer edges. The cut
        is the box of the landmarks along its own axes, 1.5 times as wide and as high.
    """
    dx, dy = level[1] - level[0]
    angle = math.atan2(dy, dx)
    c, s = math.cos(angle), math.sin(angle)
    axes = np.array([[c, -s], [s, c]])
    along = subset @ axes
    low, high = along.min(0), along.max(0)
    turn = axes * (1.5 * (high - low) / CUT_SIDE)
    shift = axes @ ((low + high) / 2) - turn @ np.array([CUT_SIDE / 2, CUT_SIDE / 2])
    return np.concatenate([turn, shift[:, None]], axis=1)


_CENTRES = np.stack(np.meshgrid(np.arange(CUT_SIDE) + 0.5, np.arange(CUT_SIDE) + 0.5), -1).reshape(-1, 2)


def _sampled(features: Float32, cut: Float64) -> Float32:
    """Sample the feature map bilinearly (operation TransformTensorBilinear).

    A cell centre that lies outside the centres of the map's border cells gives zeros.

    Args:
        features: (48, 48, C) float32.
        cut: (2, 3) float64 from ``_cut``.

    Returns:
        (16, 16, C) float32.
    """
    side = features.shape[0]
    where = _CENTRES @ cut[:, :2].T + cut[:, 2] - 0.5
    inside = ((where >= 0) & (where <= side - 1)).all(1)
    cell = np.clip(np.floor(where), 0, side - 2).astype(int)
    u, v = (np.clip(where - cell, 0, 1) * inside[:, None]).T.astype(np.float32)[..., None]
    flat = features.reshape(-1, features.shape[-1])
    k = cell[:, 1] * side + cell[:, 0]
    mixed = (flat[k] * (1 - u) + flat[k + 1] * u) * (1 - v) + (flat[k + side] * (1 - u) + flat[k + side + 1] * u) * v
    return np.asarray((mixed * inside[:, None]).reshape(CUT_SIDE, CUT_SIDE, -1), np.float32)
