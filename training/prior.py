"""Train the prior: ``python -m training.prior PICTURES... -o services/reconstructor/engines/open/data/prior.npz``."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maquette.geometry.transform import fit_similarity
from maquette.headmodel import HeadModel, load_head_model
from maquette.headmodel.model import DEFAULT_FILE as MODEL_FILE
from maquette.headmodel.model import pack
from maquette.types import Float32, Float64
from services.detector.topology import MIRROR
from services.reconstructor.engines.open.prior import (
    DEFAULT_FILE,
    FORMAT,
    POINTS,
    Ridge,
    align,
    ridge_arrays,
    signature,
)
from training.pictures.records import Records, join, load

COMPONENTS = 160
STRENGTH = 300.0
"""Ridge penalty per feature."""

HELD_OUT = 6
"""One picture in so many, with its mirror image, is kept out of the fit that the errors come from."""

MOST_OFF = 8.0
"""Landmarks farther off than this, mm rms, are a failed detection."""


@dataclass(frozen=True)
class Samples:
    """Aligned landmarks with their answers; the second half is the mirror image of the first.

    Attributes:
        shapes: (2N, 1404) float64 mm.
        turns: (2N, 9) float64.
        reference: (468, 3) float64 mm.
    """

    shapes: Float64
    turns: Float64
    reference: Float64


def mirror_codes(model: HeadModel) -> Float64:
    """(K, K) float64: ``code @ matrix`` is the identity of the mirrored head, as nearly as the modes can."""
    skin = model.part("skin")
    flipped = (model.identity_modes[:, model.mirror] * np.array([-1, 1, 1], np.float32))[:, skin]
    own = model.identity_modes[:, skin].reshape(len(flipped), -1).astype(np.float64)
    turned = flipped.reshape(len(flipped), -1).astype(np.float64)
    # Normal equations: the modes are far from parallel, and a thousand times fewer than the coordinates.
    return np.asarray(np.linalg.solve(own @ own.T, own @ turned.T).T, np.float64)


def usable(records: Records) -> NDArray[np.bool_]:
    """(N,) where the networks saw the face about where it is."""
    ok = np.zeros(len(records), bool)
    for k in range(len(records)):
        distance = float(records.translation[k, 2])
        seen, truth = records.refined[k, :POINTS, :2], records.truth[k, :POINTS]
        scale, turn, shift = fit_similarity(_flat(seen), _flat(truth))
        off = (scale * _flat(seen) @ turn.T + shift - _flat(truth)) * distance / float(records.focal[k])
        ok[k] = np.sqrt((off**2).sum(1).mean()) < MOST_OFF
    return ok


def _flat(points: Float32) -> Float64:
    return np.concatenate([points.astype(np.float64), np.zeros((len(points), 1))], 1)


def sample(model: HeadModel, landmarks: Float32) -> Samples:
    """Align (N, 478, 3) landmarks, and their mirror images."""
    points = model.landmarks(model.mean)[:POINTS].astype(np.float64)
    reference = points - points.mean(0)
    mirrored = landmarks[:, MIRROR] * np.array([-1, 1, 1], np.float32)
    pairs = [align(x, reference) for x in np.concatenate([landmarks, mirrored]).astype(np.float64)]
    return Samples(np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs]), reference)


def fit(samples: Samples, codes: Float64, chosen: NDArray[np.bool_]) -> Ridge:
    """Fit a ridge to the chosen samples."""
    shapes, turns = samples.shapes[chosen], samples.turns[chosen]
    mean = shapes.mean(0)
    values, vectors = np.linalg.eigh((shapes - mean).T @ (shapes - mean) / len(shapes))
    basis = vectors[:, ::-1][:, :COMPONENTS].T
    # Signs by the largest entry, so that a rerun gives the same file.
    basis = basis * np.sign(basis[np.arange(len(basis)), np.abs(basis).argmax(1)])[:, None]
    deviation = np.sqrt(values[::-1][:COMPONENTS])
    ridge = Ridge(samples.reference, mean, basis, deviation, np.zeros((0, 0)))
    features = ridge.features(shapes, turns)
    normal = features.T @ features + STRENGTH * np.eye(features.shape[1])
    weights = np.asarray(np.linalg.solve(normal, features.T @ codes[chosen]), np.float64)
    return Ridge(samples.reference, mean, basis, deviation, weights)


class FaceRuler:
    """Measures how far a face is from another."""

    def __init__(self, model: HeadModel) -> None:
        face = model.region("face")
        self._mean = model.mean[face].astype(np.float64)
        self._modes = model.identity_modes[:, face].reshape(len(model.identity_modes), -1).astype(np.float64)

    def __call__(self, guess: Float64, truth: Float64) -> float:
        """Mean distance in mm of the face's vertices after a similarity; codes (K,)."""
        a, b = (self._mean + (code @ self._modes).reshape(-1, 3) for code in (guess, truth))
        scale, turn, shift = fit_similarity(a, b)
        return float(np.linalg.norm(scale * a @ turn.T + shift - b, axis=1).mean())


def train(model: HeadModel, records: Records, output: Path) -> None:
    """Train both ridges, print how good they are on held-out heads, and write the prior."""
    kept = records[np.flatnonzero(usable(records))]
    print(f"{len(kept)} of {len(records)} pictures used")
    codes = kept.identity.astype(np.float64)
    codes = np.concatenate([codes, codes @ mirror_codes(model)])
    held_out = np.arange(len(codes)) % len(kept) % HELD_OUT == 0
    everything = np.ones(len(codes), bool)
    ridges, guesses = {}, []
    for kind, landmarks in (("plain", kept.plain), ("refined", kept.refined)):
        samples = sample(model, landmarks)
        tested = fit(samples, codes, ~held_out)
        guess = tested.features(samples.shapes[held_out], samples.turns[held_out]) @ tested.weights
        guesses.append(guess)
        ridges[kind] = fit(samples, codes, everything)
        print(f"{kind:8}", report(model, guess, codes[held_out]))
    guess = np.mean(guesses, 0)
    print("mean    ", report(model, guess, codes[held_out]))
    ruler = FaceRuler(model)
    nothing = [ruler(np.zeros_like(c), c) for c in codes[held_out]]
    print(f"mean head: {np.mean(nothing):.3f} mm")
    variance = ((guess - codes[held_out]) ** 2).mean(0).astype(np.float32)
    arrays = arrays_of(model, ridges["plain"], ridges["refined"], variance)
    meta = {"format": FORMAT, "pictures": len(kept)}
    output.parent.mkdir(parents=True, exist_ok=True)
    pack(output, meta, arrays)
    print(f"{output}: {output.stat().st_size / 1e6:.2f} MB")


def arrays_of(model: HeadModel, plain: Ridge, refined: Ridge, variance: Float32) -> dict[str, np.ndarray]:
    """What the prior's file holds."""
    own: dict[str, np.ndarray] = {"variance": variance, "signature": signature(model).astype(np.float16)}
    return own | ridge_arrays(plain, "plain") | ridge_arrays(refined, "refined")


def report(model: HeadModel, guess: Float64, codes: Float64) -> str:
    """R² by mode and the face's error in mm."""
    r2 = 1 - ((guess - codes) ** 2).mean(0) / codes.var(0)
    ruler = FaceRuler(model)
    error = np.mean([ruler(g, c) for g, c in zip(guess, codes, strict=True)])
    return f"R² of the first modes {np.array2string(r2[:12], precision=2)}, mean {r2.mean():.3f}; face {error:.3f} mm"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path, nargs="+", help="files from training.pictures")
    parser.add_argument("--model", type=Path, default=MODEL_FILE, help="head model, if not the shipped one")
    parser.add_argument("-o", "--output", type=Path, default=DEFAULT_FILE)
    args = parser.parse_args()
    model = load_head_model(args.model)
    train(model, join([load(p, model.sha256) for p in args.pictures]), args.output)


if __name__ == "__main__":
    main()
