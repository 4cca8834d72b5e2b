"""Distances on a head, between landmarks of the head model."""

from dataclasses import dataclass

import numpy as np

from maquette.headmodel import HeadModel
from maquette.types import Float32

SCALE_NOTE = (
    "A photo does not show how large a head is. Lengths are those of a head of the model's average size; ratios of "
    "lengths do not depend on it."
)

PAIRS: dict[str, tuple[int, int]] = {
    "interpupillary_distance": (468, 473),
    "inner_eye_distance": (133, 362),
    "outer_eye_distance": (33, 263),
    "face_width": (234, 454),
    "jaw_width": (172, 397),
    "face_height": (168, 152),
    "nose_length": (168, 2),
    "nose_width": (129, 358),
    "mouth_width": (61, 291),
}
"""MediaPipe landmarks that each distance runs between; ``face_height`` is from the root of the nose to the chin."""


@dataclass(frozen=True)
class Measurement:
    """A distance.

    Attributes:
        name: One of ``PAIRS``.
        millimetres: Its length.
        uncertainty_mm: One standard deviation, were the errors of its two ends independent.
        determined: 0 (the average head's) to 1 (the photo's), of the end that was seen less well.
    """

    name: str
    millimetres: float
    uncertainty_mm: float
    determined: float


def measure(model: HeadModel, neutral: Float32, uncertainty: Float32, determined: Float32) -> tuple[Measurement, ...]:
    """Measure a head without its expression.

    Args:
        model: The model that the head is of.
        neutral: (V, 3) float32 mm.
        uncertainty: (V,) float32 mm.
        determined: (V,) float32, 0 to 1.
    """
    points = model.landmarks(neutral).astype(np.float64)
    corners, weights = model.landmark_vertices, model.landmark_weights
    sigma = (uncertainty[corners] * weights).sum(1)
    seen = (determined[corners] * weights).sum(1)
    return tuple(
        Measurement(
            name,
            float(np.linalg.norm(points[a] - points[b])),
            float(np.hypot(sigma[a], sigma[b])),
            float(min(seen[a], seen[b])),
        )
        for name, (a, b) in PAIRS.items()
    )
