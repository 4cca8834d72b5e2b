"""Measure how far off fits are: ``python -m training.uncertainty PICTURES...``.

The pictures must be ones that the prior has not seen. Two sources: records of ``training.pictures``, for what a fit to
one good picture misses and how that depends on where the head is turned; and several portraits of each of some heads
(``maquette.benchmarks.portraits``), for what differs between pictures of one head, and for what small, blurred and
covered faces lose.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from maquette.benchmarks.portraits import draw_colours, draw_identity, draw_portrait
from maquette.errors import NoFaceFound
from maquette.geometry.transform import fit_similarity
from maquette.headmodel import HeadModel, load_head_model
from maquette.headmodel.model import pack
from maquette.settings import Settings
from maquette.types import Face, Float32, Float64, Photo, UInt8
from services.detector.cover import LEFT_LIDS, LIPS
from services.detector.detector import Detector
from services.reconstructor.engines.open.camera import facing, first_camera
from services.reconstructor.engines.open.engine import LEAST_VARIANCE, PRIOR_GAIN
from services.reconstructor.engines.open.evidence import LANDMARKS, gather
from services.reconstructor.engines.open.fit import Prior, Sight, solve
from services.reconstructor.engines.open.gaze import find_eyes
from services.reconstructor.engines.open.prior import LandmarkPrior, signature
from services.reconstructor.engines.open.uncertainty import DEFAULT_FILE, FORMAT, KINDS, Uncertainty, turn_of
from training.pictures.records import Records, join, load
from training.pictures.subject import draw_expression
from training.prior import usable

SEED = 478
VIEWS = 3
YAW_SD = 19.0

TURNS = (0.0, 12.0, 24.0, 36.0)
"""Degrees at which errors are gathered; a picture counts for the two next to it."""

SMALLER = (0.3, 0.2, 0.14, 0.1)
"""Scales at which a portrait is looked at again."""

BLURRED = (0.01, 0.015, 0.02, 0.03)
"""Standard deviations of the blur laid over it, in parts of the face."""

PATCHES: dict[str, tuple[tuple[int, ...], float]] = {
    "eye": (LEFT_LIDS, 1.2),
    "mouth": (LIPS, 0.8),
    "brow": ((276, 283, 282, 295, 285, 300, 293, 334, 296, 336, 298, 333), 0.75),
    "jaw": ((397, 365, 379), 1.0),
}
"""Landmarks that a patch is laid over, and its radius in parts of their spread."""

HELD_OUT = 6
"""One picture in so many is kept out of the variances that the printed ratios are about."""


class Ruler:
    """Squared errors of vertices after a similarity of the face."""

    def __init__(self, model: HeadModel) -> None:
        self._model, self._face = model, model.region("face")

    def __call__(self, guess: Float64, truth: Float64) -> Float32:
        """(V,) mm², mean over the axes, of two identities (K,)."""
        a, b = (self._model.vertices(np.asarray(c, np.float32)) for c in (guess, truth))
        scale, turn, shift = fit_similarity(a[self._face], b[self._face])
        return np.asarray(((scale * a @ turn.T + shift - b) ** 2).mean(1), np.float32)


@dataclass
class Tally:
    """Squared errors of the same heads under some conditions, by the condition's name."""

    sums: dict[str, Float64] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    measures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, squares: Float32, measure: float = 0.0) -> None:
        """Count one picture."""
        self.sums[name] = self.sums.get(name, 0) + squares.astype(np.float64)
        self.counts[name] = self.counts.get(name, 0) + 1
        self.measures.setdefault(name, []).append(measure)

    def mean(self, name: str) -> Float64:
        """(V,) mm²."""
        return self.sums[name] / self.counts[name]


class Fitter:
    """Fits single photos as the engine does, but needs no file of this script's."""

    def __init__(self, model: HeadModel) -> None:
        self.model = model
        self._evidence, self._eyes = gather(model), find_eyes(model)
        self._prior = LandmarkPrior.load(model)
        variance = np.clip(self._prior.variance.astype(np.float64), LEAST_VARIANCE, 1)
        self._precision = PRIOR_GAIN / variance

    def __call__(self, photo: Photo, refined: Float32, plain: Float32) -> Float64:
        """(K,) identity found from (478, 3) landmarks in a photo."""
        landmarks = refined.astype(np.float64)
        camera = first_camera(landmarks[:LANDMARKS], self._evidence.points, photo)
        seen = (np.asarray(facing(x.astype(np.float64), camera), np.float32) for x in (refined, plain))
        guess, _ = self._prior.predict(*seen)
        prior = Prior(guess.astype(np.float64), self._precision)
        return solve(self._evidence, self._eyes, [Sight(landmarks, camera)], prior).identity


def from_records(fitter: Fitter, records: Records) -> tuple[NDArray[np.float16], NDArray[np.float16], Float64]:
    """Fit pictures whose landmarks are known.

    Returns:
        (N, V) mm², errors of the fits and of the mean head; and (N,) degrees that the heads are turned.
    """
    ruler = Ruler(fitter.model)
    side = round(2 * float(records.centre.mean()))
    blank = Photo(np.zeros((side, side, 3), np.uint8), None, "", "")
    nothing = np.zeros(records.identity.shape[1])
    errors, base, turns = [], [], []
    for k in track(range(len(records)), description="Fits"):
        guess = fitter(blank, records.refined[k], records.plain[k])
        truth = records.identity[k].astype(np.float64)
        errors.append(ruler(guess, truth).astype(np.float16))
        base.append(ruler(nothing, truth).astype(np.float16))
        turns.append(turn_of(records.rotation[k].astype(np.float64)))
    return np.array(errors), np.array(base), np.array(turns)


def by_turn(squares: NDArray[np.float16], turns: Float64, mirror: NDArray[np.int32]) -> Float64:
    """(T, V) mm², mean errors of heads turned to their left by ``TURNS``; those turned right count mirrored."""
    place = np.interp(np.abs(turns), TURNS, np.arange(len(TURNS)))
    out = np.zeros((len(TURNS), squares.shape[1]))
    total = np.zeros(len(TURNS))
    for row, turn, at in zip(squares, turns, place, strict=True):
        own = row.astype(np.float64)
        for k in {int(at), min(int(at) + 1, len(TURNS) - 1)}:
            weight = 1 - abs(at - k)
            out[k] += weight * (own[mirror] if turn < 0 else own)
            total[k] += weight
    out /= np.maximum(total, 1e-9)[:, None]
    # A head that looks straight ahead has no near and no far side.
    out[0] = (out[0] + out[0][mirror]) / 2
    return out


def from_portraits(fitter: Fitter, heads: int, spoilt: int, settings: Settings) -> tuple[Tally, Float64]:
    """Look at heads several times, and at the first ``spoilt`` of them again through worse pictures.

    Returns:
        Errors by condition: ``single`` and, for the spoilt, ``good``, ``small K``, ``blurred K`` and the ``KINDS``; and
        (V,) mm², the variance between pictures of one head.
    """
    model, ruler, detector = fitter.model, Ruler(fitter.model), Detector(settings)
    tally, differing, freedom = Tally(), np.zeros(len(model.mean)), 0

    def seen(photo: Photo) -> tuple[Float64, Face] | None:
        try:
            face = detector.detect(photo)[0]
        except NoFaceFound:
            return None
        return fitter(photo, face.landmarks, face.plain_landmarks), face

    for head in track(range(heads), description="Heads"):
        rng = np.random.default_rng([SEED, head])
        identity, colours = draw_identity(model, rng), draw_colours(model, rng)
        truth = identity.astype(np.float64)
        guesses = []
        for k in range(VIEWS):
            photo = draw_portrait(
                model, identity, rng, "x", expression=draw_expression(rng), colours=colours, yaw_sd=YAW_SD
            ).photo
            if (found := seen(photo)) is None:
                continue
            guesses.append(found[0])
            tally.add("single", ruler(found[0], truth))
            if k == 0 and head < spoilt:
                tally.add("good", ruler(found[0], truth))
                tally.add("nothing", ruler(0 * truth, truth))
                for name, worse in spoil(photo.pixels, found[1]).items():
                    if (again := seen(Photo(worse(), None, "", ""))) is not None:
                        blur = again[1].quality.measures["blur"]
                        measure = blur if name.startswith("blurred") else again[1].size
                        tally.add(name, ruler(again[0], truth), measure)
        if len(guesses) > 1:
            mean = np.mean(guesses, 0)
            differing += np.sum([ruler(g, mean) for g in guesses], 0)
            freedom += len(guesses) - 1
    return tally, differing / freedom


def spoil(pixels: UInt8, face: Face) -> Mapping[str, Callable[[], UInt8]]:
    """What makes a picture worse, by name."""

    def smaller(scale: float) -> UInt8:
        return np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)

    def blurred(sigma: float) -> UInt8:
        return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma * face.size), np.uint8)

    def covered(landmarks: tuple[int, ...], radius: float) -> UInt8:
        points = face.landmarks[list(landmarks), :2]
        x, y = np.rint(points.mean(0)).astype(int)
        out = pixels.copy()
        cv2.circle(out, (int(x), int(y)), round(radius * float(np.ptp(points, 0).max())), (62, 48, 40), -1)
        return out

    return (
        {f"small {k}": partial(smaller, s) for k, s in enumerate(SMALLER)}
        | {f"blurred {k}": partial(blurred, s) for k, s in enumerate(BLURRED)}
        | {name: partial(covered, *at) for name, at in PATCHES.items()}
    )


def arrays_of(
    model: HeadModel, single: Float64, population: Float64, tally: Tally, differing: Float64
) -> dict[str, np.ndarray]:
    """What the file holds; variances as standard deviations."""
    face = model.region("face")
    good, nothing = tally.mean("good")[face].mean(), tally.mean("nothing")[face].mean()

    def table(stem: str, count: int, best: float) -> tuple[Float64, Float64]:
        """Measures, rising, and losses: none at the best of them, never less where the picture is worse."""
        names = [f"{stem} {k}" for k in range(count)]
        measures = np.array([np.median(tally.measures[n]) for n in names])
        losses = np.array([(tally.mean(n)[face].mean() - good) / (nothing - good) for n in names])
        losses = np.maximum.accumulate(np.maximum(losses, 0))
        measures, losses = np.append(measures, best), np.append(losses, 0.0)
        order = np.argsort(measures)
        return measures[order], losses[order]

    def added(kind: str) -> Float64:
        more = tally.mean(kind) - tally.mean("good")
        return np.maximum((more + more[model.mirror]) / 2 if kind == "mouth" else more, 0)

    sizes, size_loss = table("small", len(SMALLER), 160.0)
    blurs, blur_loss = table("blurred", len(BLURRED), 0.6)
    fields = {
        "population": population,
        "single": single,
        "differing": np.minimum((differing + differing[model.mirror]) / 2, 0.9 * single.min(0)),
        "cover": np.array([added(kind) for kind in KINDS]),
    }
    tables = {
        "turns": np.array(TURNS),
        "sizes": np.log(sizes),
        "size_loss": size_loss,
        "blurs": blurs,
        "blur_loss": blur_loss,
    }
    return (
        {k: np.sqrt(v).astype(np.float16) for k, v in fields.items()}
        | {k: v.astype(np.float32) for k, v in tables.items()}
        | {"signature": signature(model).astype(np.float16)}
    )


def calibration(model: HeadModel, squares: NDArray[np.float16], predicted: Float64) -> str:
    """Root mean square error by what was predicted of it; 1 is right."""
    ratios = []
    for name in ("face", "scalp", "bust"):
        inside = model.region(name)
        true = squares[:, inside].astype(np.float64).mean()
        ratios.append(f"{name} {np.sqrt(true / predicted[inside].mean()):.3f}")
    return ", ".join(ratios)


def report(model: HeadModel, found: Uncertainty) -> str:
    """What the file says of a good photo from the front, and of how photos lose."""
    lines = []
    for name in ("face", "nose", "chin", "ear_left", "scalp", "neck", "bust"):
        inside = model.region(name)
        variance, without = found.single[0][inside].mean(), found.population[inside].mean()
        again = variance - found.differing[inside].mean() / 2
        lines.append(
            f"{name:9} {np.sqrt(variance):5.2f} mm, of two photos {np.sqrt(again):5.2f}, without a photo "
            f"{np.sqrt(without):5.2f}; determined {1 - variance / without:.2f}"
        )
    near, far = model.region("cheek_right"), model.region("cheek_left")
    sides = [
        f"{t:.0f}° {np.sqrt(s[far].mean() / s[near].mean()):.3f}" for t, s in zip(TURNS, found.single, strict=True)
    ]
    lines.append(f"far cheek by near cheek: {', '.join(sides)}")
    for what, measures, losses in (
        ("pixels", np.exp(found.sizes), found.size_loss),
        ("blur", found.blurs, found.blur_loss),
    ):
        lines.append(f"lost by {what}: " + ", ".join(f"{m:.3g} {x:.2f}" for m, x in zip(measures, losses, strict=True)))
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "pictures", type=Path, nargs="+", help="files from training.pictures that the prior has not seen"
    )
    parser.add_argument("-n", "--heads", type=int, default=240, help="heads to take portraits of")
    parser.add_argument(
        "--spoilt", type=int, default=110, help="of which so many are also looked at through worse pictures"
    )
    parser.add_argument("--every", type=int, default=1, help="use one record in so many")
    parser.add_argument("-o", "--output", type=Path, default=DEFAULT_FILE)
    args = parser.parse_args()
    model = load_head_model()
    fitter = Fitter(model)
    records = join([load(p, model.sha256) for p in args.pictures])
    errors, base, turns = from_records(fitter, records[np.flatnonzero(usable(records))[:: args.every]])
    out = np.arange(len(errors)) % HELD_OUT == 0
    place = np.interp(np.abs(turns[out]), TURNS, np.arange(len(TURNS)))
    learnt = by_turn(errors[~out], turns[~out], model.mirror)
    expected = np.mean([learnt[round(at)] for at in place], 0)
    print(
        f"{len(errors)} pictures; error by prediction, pictures kept out: {calibration(model, errors[out], expected)}"
    )
    tally, differing = from_portraits(fitter, args.heads, args.spoilt, Settings())
    population = base.mean(0, dtype=np.float64)
    population = (population + population[model.mirror]) / 2
    single = by_turn(errors, turns, model.mirror)
    print(f"portraits: {calibration(model, tally.mean('single')[None].astype(np.float16), single[1])}")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    meta = {"format": FORMAT, "pictures": len(errors), "heads": args.heads}
    pack(args.output, meta, arrays_of(model, single, population, tally, differing))
    print(report(model, Uncertainty.load(model, args.output)))
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
