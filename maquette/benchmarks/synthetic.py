"""Heads that the fit has not seen, in pictures made here: ``maquette bench synthetic``."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from maquette import pipeline
from maquette.benchmarks.portraits import draw_identity, draw_portrait
from maquette.cli.console import show_json, show_table
from maquette.errors import InputError
from maquette.geometry.transform import fit_similarity
from maquette.headmodel import HeadModel, load_head_model
from maquette.rooms import PhotoView, ReconstructOptions
from maquette.settings import Settings
from maquette.types import Bool, Float32, Float64

COUNT = 40
SEED = 20

WANTED_ERROR_MM, WANTED_GAIN_PERCENT, WANTED_REPEATABILITY = 2.2, 12.0, 0.5


REGIONS = ("face", "scalp", "bust")
"""Where errors are compared with the uncertainty given."""


@dataclass(frozen=True)
class Pair:
    """One head and what was made of two pictures of it.

    Attributes:
        truth: (V, 3) float32 mm, neutral.
        guesses: (V, 3) float32 mm each, neutral; one per picture in which a face was found.
        sigmas: (V,) float32 mm each, the uncertainty that came with them.
    """

    truth: Float32
    guesses: tuple[Float32, ...]
    sigmas: tuple[Float32, ...]


def run(count: int = COUNT, json: bool = False, rooms: pipeline.Rooms | None = None) -> dict[str, Any]:
    """Reconstruct two pictures of each of some random heads; print and return the scores.

    Args:
        count: Number of heads, at least two.
        json: Print one JSON object rather than a table.
        rooms: Where the work is done; in this process when None.

    Returns:
        ``face_error_mm``: mean distance of the face's vertices after a similarity; ``mean_head_error_mm``: the same of
        the model's mean head; ``gain_percent``; ``repeatability_mm``: distance of the two predictions of one head;
        ``between_predictions_mm`` and ``between_heads_mm``: of predictions of different heads, and of those heads;
        ``repeatability_ratio``: repeatability over the difference of the heads; ``within_two_sigma``: share of the
        face's coordinates whose error is at most twice the uncertainty given; ``error_by_sigma_face``, ``…_scalp`` and
        ``…_bust``: root mean square error of a region's coordinates by that of the uncertainty given, the face laid on
        the true one; ``failed``: pictures without a result.
    """
    settings = Settings()
    pairs, failed = _pairs(count, rooms or pipeline.local_rooms(settings))
    result = summary(load_head_model(), pairs) | {"heads": count, "failed": failed}
    if json:
        show_json(result)
    else:
        _print(result)
    return result


def summary(model: HeadModel, pairs: list[Pair]) -> dict[str, Any]:
    """The scores of some heads."""
    face = model.region("face")
    errors = [distance(g, p.truth, face) for p in pairs for g in p.guesses]
    base = [distance(model.mean, p.truth, face) for p in pairs for _ in p.guesses]
    same = [distance(*p.guesses, face) for p in pairs if len(p.guesses) == 2]
    # Of different pictures, so that both differences have the camera and the light in them.
    others = [distance(a.guesses[0], b.guesses[-1], face) for a, b in pairwise(pairs) if a.guesses and b.guesses]
    heads = [distance(a.truth, b.truth, face) for a, b in pairwise(pairs)]
    inside = [
        (np.abs(_laid(g, p.truth, face) - p.truth[face]) <= 2 * s[face][:, None]).mean()
        for p in pairs
        for g, s in zip(p.guesses, p.sigmas, strict=True)
    ]
    squares = np.array([_squares(g, p.truth, face) for p in pairs for g in p.guesses])
    variances = np.array([s.astype(np.float64) ** 2 for p in pairs for s in p.sigmas])
    error, mean_head, repeatability = (float(np.mean(x)) for x in (errors, base, same))
    between = float(np.mean(heads))
    return {
        "face_error_mm": round(error, 4),
        "mean_head_error_mm": round(mean_head, 4),
        "gain_percent": round(100 * (1 - error / mean_head), 2),
        "repeatability_mm": round(repeatability, 4),
        "between_predictions_mm": round(float(np.mean(others)), 4),
        "between_heads_mm": round(between, 4),
        "repeatability_ratio": round(repeatability / between, 4),
        "within_two_sigma": round(float(np.mean(inside)), 4),
        **{
            f"error_by_sigma_{name}": round(_ratio(squares[:, model.region(name)], variances[:, model.region(name)]), 4)
            for name in REGIONS
        },
    }


def distance(a: Float32, b: Float32, face: Bool) -> float:
    """Mean distance in mm of the face's vertices of (V, 3) meshes, the first laid on the second by a similarity."""
    return float(np.linalg.norm(_laid(a, b, face) - b[face], axis=1).mean())


def _squares(a: Float32, b: Float32, face: Bool) -> Float64:
    """(V,) mm², mean over the axes, of the vertices' errors when the faces are laid on each other."""
    scale, turn, shift = fit_similarity(a[face], b[face])
    return np.asarray(((scale * a @ turn.T + shift - b) ** 2).mean(1), np.float64)


def _ratio(squares: Float64, variances: Float64) -> float:
    given = float(variances.mean())
    return float(np.sqrt(squares.mean() / given)) if given > 0 else float("inf")


def _laid(a: Float32, b: Float32, face: Bool) -> Float64:
    scale, turn, shift = fit_similarity(a[face], b[face])
    return scale * a[face] @ turn.T + shift


def _pairs(count: int, rooms: pipeline.Rooms) -> tuple[list[Pair], int]:
    model, options = load_head_model(), ReconstructOptions()
    pairs, failed = [], 0
    for number in track(range(count), description="Heads", console=Console(stderr=True), transient=True):
        rng = np.random.default_rng([SEED, number])
        identity = draw_identity(model, rng)
        guesses, sigmas = [], []
        for k in range(2):
            photo = draw_portrait(model, identity, rng, f"head {number}, picture {k}").photo
            try:
                face = rooms.detector.detect(photo)[0]
                head = rooms.reconstructor.coarse([PhotoView(photo, face, rooms.detector.mask(photo, face))], options)
            except InputError:
                failed += 1
                continue
            guesses.append(head.neutral)
            sigmas.append(head.fit.uncertainty)
        pairs.append(Pair(model.vertices(identity), tuple(guesses), tuple(sigmas)))
    return pairs, failed


def _print(result: dict[str, Any]) -> None:
    def row(name: str, key: str, wanted: str = "") -> list[str]:
        return [name, f"{result[key]:.3f}", wanted]

    show_table(
        ["figure", "value", "wanted"],
        [
            row("face error, mm", "face_error_mm", f"at most {WANTED_ERROR_MM}"),
            row("mean head's error, mm", "mean_head_error_mm"),
            row("better than the mean head, %", "gain_percent", f"at least {WANTED_GAIN_PERCENT:.0f}"),
            row("two pictures of one head, mm", "repeatability_mm"),
            row("predictions of two heads, mm", "between_predictions_mm"),
            row("two heads, mm", "between_heads_mm"),
            row("one head's pictures / two heads", "repeatability_ratio", f"less than {WANTED_REPEATABILITY}"),
            row("errors within two sigma", "within_two_sigma", "about 0.95"),
            *(row(f"error by sigma, {name}", f"error_by_sigma_{name}", "about 1") for name in REGIONS),
        ],
        right=("value",),
    )
