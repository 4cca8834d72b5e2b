"""Learn what tells people apart: ``python -m training.people PICTURES... -o .../engines/open/data/people.npz``."""

import argparse
from pathlib import Path

import numpy as np
import scipy.linalg

from maquette.headmodel import HeadModel, load_head_model
from maquette.headmodel.model import DEFAULT_FILE as MODEL_FILE
from maquette.headmodel.model import pack
from maquette.types import Float64
from services.reconstructor.engines.open.people import DEFAULT_FILE, FORMAT, PeopleCheck
from training.pictures.records import Records, join, load
from training.prior import mirror_codes, sample, usable

COMPONENTS = 90
"""Principal components of aligned landmarks that are looked at."""

DIRECTIONS = 30
SHRINKAGE = 0.1
"""Share of an even scatter in the scatter within a person: the smallest directions of the sample's are too small."""

STRENGTH = 30.0
"""Ridge penalty of the regression on the identity."""

HELD_OUT = 6


def learn(shapes: Float64, codes: Float64, reference: Float64) -> PeopleCheck:
    """Split the scatter of landmarks into that of people and that of pictures of one person.

    Each picture shows another head, but of known shape: what a linear regression on the shape explains is between
    people, what it leaves is within one.

    Args:
        shapes: (N, 1404) mm, aligned landmarks.
        codes: (N, K) identity coefficients.
        reference: (468, 3) mm, what they were aligned to.
    """
    mean = shapes.mean(0)
    values, vectors = np.linalg.eigh((shapes - mean).T @ (shapes - mean) / len(shapes))
    whiten = vectors[:, ::-1][:, :COMPONENTS] / np.sqrt(values[::-1][:COMPONENTS])
    z = (shapes - mean) @ whiten
    weights = np.linalg.solve(codes.T @ codes + STRENGTH * np.eye(codes.shape[1]), codes.T @ z)
    left = z - codes @ weights
    within = left.T @ left / (len(z) - codes.shape[1])
    within = (1 - SHRINKAGE) * within + SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    between = weights.T @ np.cov(codes.T) @ weights
    variance, axes = scipy.linalg.eigh(between, within)
    variance, axes = variance[::-1][:DIRECTIONS], axes[:, ::-1][:, :DIRECTIONS]
    directions = (whiten @ axes).T
    # Signs by the largest entry, so that a rerun gives the same file.
    directions *= np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])[:, None]
    return PeopleCheck(reference, mean, directions, np.maximum(variance, 1e-3))


def train(model: HeadModel, records: Records, output: Path) -> None:
    """Learn, print how well held-out heads are told apart from their neighbours in the list, and write the file."""
    kept = records[np.flatnonzero(usable(records))]
    samples = sample(model, kept.refined)
    codes = kept.identity.astype(np.float64)
    codes = np.concatenate([codes, codes @ mirror_codes(model)])
    held_out = np.arange(len(codes)) % len(kept) % HELD_OUT == 0
    tested = learn(samples.shapes[~held_out], codes[~held_out], samples.reference)
    seen = (samples.shapes[held_out] - tested.mean) @ tested.directions.T
    odds = [tested.odds(np.stack(pair))[0] for pair in zip(seen[:-1], seen[1:], strict=True)]
    print(f"{len(kept)} pictures; log odds of two people {np.percentile(odds, [5, 50, 95]).round(2)}")
    check = learn(samples.shapes, codes, samples.reference)
    arrays = {
        "reference": check.reference.astype(np.float32),
        "mean": check.mean.astype(np.float32),
        "directions_modes": check.directions.astype(np.float32),
        "between": check.between.astype(np.float32),
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    pack(output, {"format": FORMAT, "pictures": len(kept)}, arrays)
    print(f"{output}: {output.stat().st_size / 1e6:.2f} MB; variance between people {check.between[:8].round(2)}")


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
