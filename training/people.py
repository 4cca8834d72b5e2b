"""Learn what tells people apart: ``python -m training.people -n HEADS``."""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from rich.progress import track

from maquette.benchmarks.portraits import draw_colours, draw_identity, draw_portrait
from maquette.errors import NoFaceFound
from maquette.headmodel import HeadModel, load_head_model
from maquette.headmodel.model import DEFAULT_FILE as MODEL_FILE
from maquette.headmodel.model import pack
from maquette.settings import Settings
from maquette.types import Float64
from services.detector.detector import Detector
from services.reconstructor.engines.open.camera import facing, first_camera
from services.reconstructor.engines.open.evidence import LANDMARKS, gather
from services.reconstructor.engines.open.people import DEFAULT_FILE, FORMAT, PeopleCheck
from services.reconstructor.engines.open.prior import align
from training.pictures.subject import draw_expression

SEED = 78
VIEWS = 3
YAW_SD = 19.0

COMPONENTS = 60
"""Principal components of aligned landmarks that are looked at."""

DIRECTIONS = 30
SHRINKAGE = 0.1
"""Share of an even scatter in the scatter within a person: the smallest directions of the sample's are too small."""

WIDENED = 2.0
"""How many times the variance within a person that rendered heads show is assumed of photos."""

TESTED = 6
"""One head in so many is kept out of the test's learning."""


def look(model: HeadModel, heads: int, settings: Settings) -> tuple[Float64, NDArray[np.int64]]:
    """Make pictures of random heads and find their landmarks.

    Each head keeps its colours over its pictures; expression, camera and light change.

    Returns:
        (N, 1404) aligned landmarks in mm, and (N,) the head that each is of.
    """
    detector, points = Detector(settings), gather(model).points
    reference = points - points.mean(0)
    shapes, owner = [], []
    for head in track(range(heads), description="Heads"):
        rng = np.random.default_rng([SEED, head])
        identity, colours = draw_identity(model, rng), draw_colours(model, rng)
        for _ in range(VIEWS):
            expression = draw_expression(rng)
            portrait = draw_portrait(
                model, identity, rng, f"head {head}", expression=expression, colours=colours, yaw_sd=YAW_SD
            )
            try:
                landmarks = detector.detect(portrait.photo)[0].landmarks.astype(np.float64)
            except NoFaceFound:
                continue
            camera = first_camera(landmarks[:LANDMARKS], points, portrait.photo)
            shapes.append(align(facing(landmarks, camera), reference)[0])
            owner.append(head)
    return np.array(shapes), np.array(owner)


def learn(shapes: Float64, owner: NDArray[np.int64], reference: Float64) -> PeopleCheck:
    """Split the scatter of landmarks into that of people and that of pictures of one person.

    Args:
        shapes: (N, 1404) mm, aligned landmarks.
        owner: (N,) whose they are.
        reference: (468, 3) mm, what they were aligned to.
    """
    mean = shapes.mean(0)
    values, vectors = np.linalg.eigh((shapes - mean).T @ (shapes - mean) / len(shapes))
    whiten = vectors[:, ::-1][:, :COMPONENTS] / np.sqrt(values[::-1][:COMPONENTS])
    z = (shapes - mean) @ whiten
    groups = [z[owner == o] for o in np.unique(owner)]
    left = np.concatenate([g - g.mean(0) for g in groups])
    within = left.T @ left / (len(z) - len(groups))
    within = (1 - SHRINKAGE) * within + SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    between = np.cov(np.array([g.mean(0) for g in groups]).T) - within * np.mean([1 / len(g) for g in groups])
    variance, axes = scipy.linalg.eigh(between, WIDENED * within)
    variance, axes = variance[::-1][:DIRECTIONS], axes[:, ::-1][:, :DIRECTIONS]
    directions = (whiten @ axes).T
    # Signs by the largest entry, so that a rerun gives the same file.
    directions *= np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])[:, None]
    return PeopleCheck(reference, mean, directions, np.maximum(variance, 1e-3))


def report(shapes: Float64, owner: NDArray[np.int64], reference: Float64) -> str:
    """How well heads that were kept out are told apart."""
    out = owner % TESTED == 0
    check = learn(shapes[~out], owner[~out], reference)
    groups = [(shapes[owner == o] - check.mean) @ check.directions.T for o in np.unique(owner[out])]
    same = [check.odds(g).max() for g in groups if len(g) > 1]
    mixed = [check.odds(np.concatenate([a, b[:1]]))[-1] for a, b in pairwise(groups)]
    return (
        f"log odds of one person's photos: median {np.median(same):.1f}, 99 % below {np.percentile(same, 99):.1f}; "
        f"of another's among them: median {np.median(mixed):.1f}, 95 % above {np.percentile(mixed, 5):.1f}"
    )


def train(model: HeadModel, shapes: Float64, owner: NDArray[np.int64], output: Path) -> None:
    """Learn from all heads and write the file."""
    points = gather(model).points
    reference = points - points.mean(0)
    print(report(shapes, owner, reference))
    check = learn(shapes, owner, reference)
    arrays = {
        "reference": check.reference.astype(np.float32),
        "mean": check.mean.astype(np.float32),
        "directions_modes": check.directions.astype(np.float32),
        "between": check.between.astype(np.float32),
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    pack(output, {"format": FORMAT, "pictures": len(shapes)}, arrays)
    print(f"{output}: {output.stat().st_size / 1e6:.2f} MB; variance between people {check.between[:8].round(2)}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--heads", type=int, default=400)
    parser.add_argument("--model", type=Path, default=MODEL_FILE, help="head model, if not the shipped one")
    parser.add_argument("-o", "--output", type=Path, default=DEFAULT_FILE)
    args = parser.parse_args()
    model = load_head_model(args.model)
    train(model, *look(model, args.heads, Settings()), args.output)


if __name__ == "__main__":
    main()
