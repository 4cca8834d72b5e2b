"""Learn what tells people apart: ``python -m training.people PICTURES...``.

The pictures must be ones that the prior has not seen: what it guesses of those that it has is too good.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.linalg
from rich.progress import track

from maquette.benchmarks.portraits import draw_colours, draw_identity, draw_portrait
from maquette.errors import NoFaceFound
from maquette.headmodel import HeadModel, load_head_model
from maquette.headmodel.model import DEFAULT_FILE as MODEL_FILE
from maquette.headmodel.model import pack
from maquette.settings import Settings
from maquette.types import Float64, Photo
from services.detector.detector import Detector
from services.detector.photo import load_photo
from services.reconstructor.engines.open.camera import facing, first_camera
from services.reconstructor.engines.open.evidence import LANDMARKS, gather
from services.reconstructor.engines.open.patch import WIDE, FacePatch
from services.reconstructor.engines.open.people import DEFAULT_FILE, FORMAT, MAYBE, MIXED, PeopleCheck, Person, codes_of
from services.reconstructor.engines.open.prior import LandmarkPrior
from services.reconstructor.engines.open.tones import tones
from training.pictures.records import Records, join, load
from training.pictures.subject import IDENTITY_SD, draw_expression
from training.prior import usable

SEED = 78
VIEWS = 3
YAW_SD = 19.0

DIRECTIONS = 20
SHRINKAGE = 0.3
"""Share of an even scatter in the scatter within a person: the smallest directions of the sample's are too small."""

RIDGE = 10.0
"""Penalty of the map from identities to what is guessed of them, in pictures."""


class Eye:
    """Sees in landmarks what the check wants."""

    def __init__(self, model: HeadModel) -> None:
        self._prior, self._points = LandmarkPrior.load(model), gather(model).points

    def codes(self, refined: Float64, plain: Float64, photo: Photo) -> Float64:
        """(2K,) identities guessed from (478, 3) landmarks in a photo."""
        camera = first_camera(refined[:LANDMARKS], self._points, photo)
        return codes_of(self._prior, facing(refined, camera), facing(plain, camera))

    def person(self, photo: Photo, detector: Detector) -> Person:
        """What the most prominent face of a photo shows.

        Raises:
            NoFaceFound: There is none.
        """
        face = detector.detect(photo)[0]
        refined, plain = face.landmarks.astype(np.float64), face.plain_landmarks.astype(np.float64)
        seen = tones(FacePatch(photo.pixels, refined, WIDE))
        return Person(photo.sha256, photo.name, self.codes(refined, plain, photo), seen)


def learn(codes: Float64, identities: Float64) -> PeopleCheck:
    """Split what is guessed of heads into what their shape explains and the rest.

    Args:
        codes: (N, 2K), guessed.
        identities: (N, K), true.
    """
    mean = codes.mean(0)
    normal = identities.T @ identities + RIDGE * np.eye(identities.shape[1])
    answer = np.linalg.solve(normal, identities.T @ (codes - mean))
    rest = codes - mean - identities @ answer
    within = rest.T @ rest / (len(rest) - len(normal))
    within = (1 - SHRINKAGE) * within + SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    variance, axes = scipy.linalg.eigh(IDENTITY_SD**2 * answer.T @ answer, within)
    variance, directions = variance[::-1][:DIRECTIONS], axes[:, ::-1][:, :DIRECTIONS].T
    # Signs by the largest entry, so that a rerun gives the same file.
    directions = directions * np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])[:, None]
    return PeopleCheck(directions, np.maximum(variance, 1e-3))


def of_records(eye: Eye, records: Records) -> Float64:
    """(N, 2K) identities guessed from the landmarks of pictures."""
    side = round(2 * float(records.centre.mean()))
    blank = Photo(np.zeros((side, side, 3), np.uint8), None, "", "")
    pairs = zip(records.refined.astype(np.float64), records.plain.astype(np.float64), strict=True)
    return np.array([eye.codes(refined, plain, blank) for refined, plain in pairs])


def of_portraits(eye: Eye, model: HeadModel, heads: int, settings: Settings) -> Iterator[list[Person]]:
    """Several pictures of each of some heads; colours stay, expression, camera and light change."""
    detector = Detector(settings)
    for head in track(range(heads), description="Heads"):
        rng = np.random.default_rng([SEED, head])
        identity, colours = draw_identity(model, rng), draw_colours(model, rng)
        seen = []
        for k in range(VIEWS):
            photo = draw_portrait(
                model, identity, rng, f"{head}-{k}", expression=draw_expression(rng), colours=colours, yaw_sd=YAW_SD
            ).photo
            try:
                seen.append(eye.person(replace(photo, sha256=f"{head}-{k}"), detector))
            except NoFaceFound:
                continue
        yield seen


def of_photos(eye: Eye, folder: Path, settings: Settings) -> Iterator[list[Person]]:
    """Photographs of people, in a folder for each person."""
    detector = Detector(settings)
    for own in track(sorted(p for p in folder.iterdir() if p.is_dir()), description="People"):
        seen = []
        for path in sorted(own.iterdir()):
            try:
                seen.append(eye.person(load_photo(path, settings=settings), detector))
            except NoFaceFound:
                continue
        yield seen


def rates(check: PeopleCheck, people: Sequence[list[Person]]) -> str:
    """What becomes of pairs of photos: of one person, and of two."""

    def odds(a: Person, b: Person) -> float:
        return float(check.odds(np.array([a.codes, b.codes]), np.array([a.tones, b.tones]))[1])

    flat = [(owner, person) for owner, seen in enumerate(people) for person in seen]
    found: dict[bool, list[float]] = {True: [], False: []}
    for k, (owner, person) in enumerate(flat):
        for other, second in flat[:k]:
            found[owner == other].append(odds(second, person))
    lines = []
    for same, name in ((True, "of one person"), (False, "of two people")):
        values = np.array(found[same])
        refused, told = (values > MIXED).mean(), ((values > MAYBE) & (values <= MIXED)).mean()
        lines.append(
            f"{len(values)} pairs {name}: {100 * refused:.1f} % refused, {100 * told:.1f} % cautioned, "
            f"{100 * (1 - refused - told):.1f} % accepted; median log odds {np.median(values):.1f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "pictures", type=Path, nargs="*", help="files from training.pictures; none to test what there is"
    )
    parser.add_argument("-n", "--heads", type=int, default=120, help="random heads to test on")
    parser.add_argument("--photos", type=Path, help="photographs to test on, in a folder for each person")
    parser.add_argument("--model", type=Path, default=MODEL_FILE, help="head model, if not the shipped one")
    parser.add_argument("-o", "--output", type=Path, default=DEFAULT_FILE)
    args = parser.parse_args()
    model, settings = load_head_model(args.model), Settings()
    eye = Eye(model)
    if args.pictures:
        records = join([load(p, model.sha256) for p in args.pictures])
        kept = records[np.flatnonzero(usable(records))]
        check = learn(of_records(eye, kept), kept.identity.astype(np.float64))
        arrays = {
            "directions": check.directions.astype(np.float32),
            "between": check.between.astype(np.float32),
        }
        args.output.parent.mkdir(parents=True, exist_ok=True)
        pack(args.output, {"format": FORMAT, "pictures": len(kept)}, arrays)
        print(f"{args.output}: {args.output.stat().st_size / 1e6:.2f} MB from {len(kept)} pictures")
    check = PeopleCheck.load(args.output)
    print(f"variance between people {check.between[:8].round(2)}")
    print("portraits:\n" + rates(check, list(of_portraits(eye, model, args.heads, settings))))
    if args.photos is not None:
        print("photographs:\n" + rates(check, list(of_photos(eye, args.photos, settings))))


if __name__ == "__main__":
    main()
