"""The head model at the landmarks: what the fit moves, and how far it trusts each point."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maquette.geometry.surface import vertex_normals
from maquette.headmodel import ARKIT_NAMES, HeadModel
from maquette.types import Float64

LANDMARKS = 468
"""Landmarks on the skin; the ten of the irises follow them."""

RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398)
LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
)  # fmt: skip
LIDS = ((159, 145), (158, 153), (160, 144), (386, 374), (385, 380), (387, 373))
"""Points of the upper lids with those of the lower lids below them."""

MOUTH_GAPS = ((13, 14), (82, 87), (312, 317), (81, 178), (311, 402))
"""Points of the upper lip's inner rim with those of the lower lip's below them."""

TOP = (10, 338, 297, 332, 284, 251, 109, 67, 103, 54, 21, 151, 337, 299, 333, 298, 301, 108, 69, 104, 68, 71)
"""The upper forehead, where the network guesses under the hair."""

FITTED_EXPRESSIONS = tuple(
    k for k, name in enumerate(ARKIT_NAMES) if not name.startswith("eyeLook") and name != "tongueOut"
)
"""Blendshapes that landmarks say something about; the eyes' directions come from the irises."""

_SURE_MM, _TRUST = 2.0, (0.3, 1.3)
_EYES_AND_LIPS, _FOREHEAD = 2.0, 0.25


@dataclass(frozen=True, eq=False)
class Evidence:
    """The model cut down to its landmarks; K identity modes, E fitted blendshapes.

    Attributes:
        points: (468, 3) float64 mm, the mean head's landmarks where the network sees them.
        basis: (K + E, 468, 3) float64 mm, per unit of each coefficient.
        looks: (52, 468, 3) float64 mm, all blendshapes (the fit itself moves only its own).
        normals: (468, 3) float64, unit, of the mean head's skin.
        weights: (468,) float64, how far each landmark is trusted.
        modes: K.
    """

    points: Float64
    basis: Float64
    looks: Float64
    normals: Float64
    weights: Float64
    modes: int

    def at(self, code: Float64) -> Float64:
        """(468, 3) mm, landmarks of identity and fitted expression (K + E)."""
        return self.points + np.tensordot(code, self.basis, 1)


def gather(model: HeadModel) -> Evidence:
    """Cut a model down to its landmarks."""
    corners, weights = model.landmark_vertices[:LANDMARKS], model.landmark_weights[:LANDMARKS].astype(np.float64)

    def cut(field: NDArray[np.floating]) -> Float64:
        return np.asarray(np.einsum("...lkc,lk->...lc", field[..., corners, :].astype(np.float64), weights))

    normals = cut(vertex_normals(model.mean.astype(np.float64), model.triangles))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    identity, looks = cut(model.identity_modes), cut(model.expression_modes)
    spread = model.landmark_spread[:LANDMARKS].astype(np.float64)
    trust = np.clip(_SURE_MM / np.maximum(spread, 1e-6), *_TRUST)
    trust[list(TOP)] *= _FOREHEAD
    trust[list(RIGHT_EYE + LEFT_EYE + LIPS)] *= _EYES_AND_LIPS
    return Evidence(
        points=cut(model.mean) + model.landmark_offset[:LANDMARKS],
        basis=np.ascontiguousarray(np.concatenate([identity, looks[list(FITTED_EXPRESSIONS)]])),
        looks=looks,
        normals=normals,
        weights=trust,
        modes=len(identity),
    )
