"""The first guess at a head's identity, straight from its landmarks.

The landmark networks' errors are correlated over the whole face, so a least-squares fit that takes them for independent
noise is led astray. A ridge regression trained on pictures of known heads (``training.prior``) has learnt those errors:
it gives the identity's mean, and says how far off it was on heads that it had not seen.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maquette.errors import ModelFileInvalid
from maquette.geometry.transform import fit_similarity
from maquette.headmodel import HeadModel
from maquette.headmodel.model import unpack
from maquette.types import Float32, Float64

FORMAT = "maquette-landmark-prior/1"
DEFAULT_FILE = Path(__file__).parent / "data" / "prior.npz"
POINTS = 468
"""Landmarks of the face mesh; the irises after them say nothing about the identity."""

_TURNED = 30
"""Principal components whose meaning is let vary with the head's pose."""

_SAME_MM = 0.3
"""Identity modes that differ by less, per standard deviation, are the same ones, stored or laid out otherwise."""

_KINDS = ("plain", "refined")


@dataclass(frozen=True)
class Ridge:
    """A linear map from features of aligned landmarks to identity coefficients.

    Attributes:
        reference: (468, 3) float64 mm, the landmarks of the mean head, about their centre.
        mean: (1404,) float64, mean aligned landmarks.
        basis: (C, 1404) float64, principal components of aligned landmarks.
        deviation: (C,) float64, their standard deviations.
        weights: (features, K) float64.
    """

    reference: Float64
    mean: Float64
    basis: Float64
    deviation: Float64
    weights: Float64

    def predict(self, landmarks: Float64) -> Float64:
        """(K,) identity coefficients of (468 or more, 3) landmarks in pixels."""
        shape, turn = align(landmarks, self.reference)
        return np.asarray(self.features(shape[None], turn[None])[0] @ self.weights, np.float64)

    def features(self, shapes: Float64, turns: Float64) -> Float64:
        """(N, features) of N aligned shapes (N, 1404) and pose terms (N, 9).

        Whitened components, the pose, and the first components' products with the pose: what a landmark looks like
        depends on where the head is turned.
        """
        z = np.clip((shapes - self.mean) @ self.basis.T / self.deviation, -4, 4)
        p = np.clip(turns, -0.6, 0.6)
        pose = np.concatenate([p, p[:, [2, 5, 6, 7]] ** 2, p[:, [2]] * p[:, [5]]], 1)
        sway = np.concatenate([2 * p[:, [2]], 2 * p[:, [5]], 4 * p[:, [2]] ** 2], 1)
        products = (z[:, None, :_TURNED] * sway[:, :, None]).reshape(len(z), -1)
        return np.concatenate([z, 3 * pose, products, np.ones((len(z), 1))], 1)


def align(landmarks: Float64, reference: Float64) -> tuple[Float64, Float64]:
    """Landmarks moved onto the mean head's by a similarity.

    Args:
        landmarks: (468 or more, 3) pixels, y down, z away from the camera.
        reference: (468, 3) mm.

    Returns:
        (1404,) mm, and (9,) the similarity's rotation less the identity.
    """
    upright = landmarks[:POINTS].astype(np.float64) * [1, -1, -1]
    scale, turn, shift = fit_similarity(upright, reference)
    return (scale * upright @ turn.T + shift).ravel(), (turn - np.eye(3)).ravel()


def signature(model: HeadModel) -> Float32:
    """(K, N, 3) float32 mm: how the identity modes move every 256th vertex.

    A prior answers in the coefficients of the modes it was trained with; this tells whether a model's are the same.
    """
    return np.asarray(model.identity_modes[:, ::256], np.float32)


@dataclass(frozen=True)
class LandmarkPrior:
    """Ridges on plain and on refined landmarks, whose mean is the guess.

    Attributes:
        plain: Ridge on the face mesh's landmarks.
        refined: Ridge on those with lips, eyes and brows from the attention network.
        variance: (K,) float32, squared error of the guess on heads not seen in training.
    """

    plain: Ridge
    refined: Ridge
    variance: Float32

    @classmethod
    def load(cls, model: HeadModel, path: Path = DEFAULT_FILE) -> "LandmarkPrior":
        """Read a prior.

        Args:
            model: Head model that it must have been trained with.
            path: File written by ``training.prior``.

        Raises:
            ModelFileInvalid: The file is missing, damaged, of another format or made for another head model.
        """
        _, arrays, _ = unpack(path, FORMAT)
        try:
            plain, refined = (_ridge(arrays, kind) for kind in _KINDS)
            variance = arrays["variance"].astype(np.float32)
            trained = arrays["signature"].astype(np.float32)
        except (KeyError, ValueError) as error:
            raise ModelFileInvalid(f"{path}: {error}") from error
        modes = len(model.identity_modes)
        found = {plain.weights.shape[1], refined.weights.shape[1], *variance.shape, len(trained)}
        if found != {modes}:
            raise ModelFileInvalid(f"{path}: has {sorted(found)} identity modes, the head model {modes}")
        own = signature(model)
        if trained.shape != own.shape or (off := float(np.abs(trained - own).max())) > _SAME_MM:
            how = f"shape {trained.shape}, expected {own.shape}" if trained.shape != own.shape else f"{off:.2f} mm off"
            raise ModelFileInvalid(
                f"{path}: made for a head model with other identity modes ({how}); train it again as "
                "training/README.md says"
            )
        return cls(plain, refined, variance)

    def predict(self, refined: Float32, plain: Float32) -> tuple[Float32, Float32]:
        """Guess an identity.

        Args:
            refined: (478, 3) ``Face.landmarks``, pixels.
            plain: (478, 3) ``Face.plain_landmarks``, pixels.

        Returns:
            (K,) float32 identity coefficients in standard deviations, and (K,) float32 variance of their errors.
        """
        both = self.plain.predict(plain.astype(np.float64)) + self.refined.predict(refined.astype(np.float64))
        return np.asarray(both / 2, np.float32), self.variance


def ridge_arrays(ridge: Ridge, kind: str) -> dict[str, np.ndarray]:
    """Arrays of a ridge as ``maquette.headmodel.model.pack`` takes them; components are stored as bytes."""
    return {
        f"{kind}_reference": ridge.reference.astype(np.float32),
        f"{kind}_mean": ridge.mean.astype(np.float32),
        f"{kind}_basis_modes": ridge.basis.astype(np.float32),
        f"{kind}_deviation": ridge.deviation.astype(np.float32),
        f"{kind}_weights": ridge.weights.astype(np.float32),
    }


def _ridge(arrays: dict[str, Any], kind: str) -> Ridge:
    reference, mean, basis, deviation, weights = (
        np.asarray(arrays[f"{kind}_{name}"], np.float64)
        for name in ("reference", "mean", "basis_modes", "deviation", "weights")
    )
    components = len(basis)
    shapes = [(POINTS, 3), (3 * POINTS,), (components, 3 * POINTS), (components,)]
    for value, shape in zip((reference, mean, basis, deviation), shapes, strict=True):
        if value.shape != shape:
            raise ValueError(f"the {kind} ridge has an array of shape {value.shape}, expected {shape}")
    features = components + 14 + 3 * _TURNED + 1
    if len(weights) != features:
        raise ValueError(f"the {kind} ridge has weights for {len(weights)} features, expected {features}")
    return Ridge(reference, mean, basis, deviation, weights)
