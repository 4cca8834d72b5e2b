"""The open engine: photos and faces to a head, without weights that a licence keeps from commercial use."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from maquette.errors import FaceUnusable, OptionInvalid
from maquette.geometry.surface import vertex_normals
from maquette.headmodel import HeadModel, load_head_model
from maquette.headmodel.hair import load_hair_library
from maquette.headmodel.model import DEFAULT_FILE as MODEL_FILE
from maquette.rooms import PhotoView, ReconstructOptions
from maquette.types import Caution, Fit, Float32, Head, Verdict, View
from services.reconstructor.engines.open.camera import facing, first_camera
from services.reconstructor.engines.open.cautions import cautions
from services.reconstructor.engines.open.evidence import LANDMARKS, gather
from services.reconstructor.engines.open.fit import Prior, Sight, Solution, expression_of, held, solve
from services.reconstructor.engines.open.gaze import find_eyes, turn_eyes
from services.reconstructor.engines.open.hair import choose_hair
from services.reconstructor.engines.open.hairline import look
from services.reconstructor.engines.open.patch import WIDE, FacePatch
from services.reconstructor.engines.open.people import DEFAULT_FILE as PEOPLE_FILE
from services.reconstructor.engines.open.people import PeopleCheck, Person, codes_of
from services.reconstructor.engines.open.prior import DEFAULT_FILE as PRIOR_FILE
from services.reconstructor.engines.open.prior import LandmarkPrior
from services.reconstructor.engines.open.teeth import teeth_shown
from services.reconstructor.engines.open.texture import build_textures
from services.reconstructor.engines.open.tones import tones
from services.reconstructor.engines.open.uncertainty import DEFAULT_FILE as UNCERTAINTY_FILE
from services.reconstructor.engines.open.uncertainty import Uncertainty, digest, glimpse

LICENCE = (
    "The head model, the landmark networks and this engine are Apache-2.0 and were made from sources that allow it "
    "(see NOTICE); results may be used for anything, commercial use included."
)

MOST_YAW = 50.0
ABSURD_MM = 8.0
"""Root mean square misfit, at the head's depth, of landmarks that no face has."""

PRIOR_GAIN = 1.5
LEAST_VARIANCE = 0.3


class OpenEngine:
    """The reconstructor room, by landmarks and a linear head model."""

    def __init__(
        self,
        model_file: Path = MODEL_FILE,
        prior_file: Path = PRIOR_FILE,
        people_file: Path = PEOPLE_FILE,
        uncertainty_file: Path = UNCERTAINTY_FILE,
    ) -> None:
        """Read the model and what was learned with it, and cut out what the fit needs.

        Args:
            model_file: Head model.
            prior_file: Prior of the identity, trained with that model.
            people_file: What tells people apart.
            uncertainty_file: How far off fits are.

        Raises:
            ModelFileInvalid: A file is missing, damaged, or they do not belong together.
        """
        self.model: HeadModel = load_head_model(model_file)
        self._prior = LandmarkPrior.load(self.model, prior_file)
        self._people = PeopleCheck.load(people_file)
        self._evidence = gather(self.model)
        self._eyes = find_eyes(self.model)
        self._uncertainty = Uncertainty.load(self.model, uncertainty_file)

    def coarse(self, views: Sequence[PhotoView], options: ReconstructOptions) -> Head:
        """Shape only.

        Args:
            views: Photos of one person; the first is the main one.
            options: Nothing in them changes the shape.

        Raises:
            OptionInvalid: There are no photos.
            FaceUnusable: A face cannot be reconstructed well enough.
            PeopleMixed: The photos do not show one person.
        """
        if not views:
            raise OptionInvalid("expected at least one photo, found none")
        for view in views:
            _require_usable(view)
        sights = [self._sight(v) for v in views]
        people = [self._person(v, s) for v, s in zip(views, sights, strict=True)] if len(views) > 1 else []
        doubt = self._people.require_one_person(people)
        solutions = [self._single(v, s) for v, s in zip(views, sights, strict=True)]
        for view, solution in zip(views, solutions, strict=True):
            _require_fit(view, solution.sights[0])
        return self._head(views, self._join(solutions), () if doubt is None else (doubt,))

    def complete(self, views: Sequence[PhotoView], coarse: Head, options: ReconstructOptions) -> Head:
        """Add textures, detail and hair.

        Args:
            views: Those that ``coarse`` was made from, in the same order.
            coarse: What ``coarse`` returned.
            options: What to make.

        Raises:
            OptionInvalid: The views are not those of the head, or there is no such hair style.
        """
        if len(views) != len(coarse.fit.views):
            raise OptionInvalid(f"expected the {len(coarse.fit.views)} views of the coarse head, found {len(views)}")
        fit = coarse.fit
        posed = [self._pose(coarse.neutral, fit.identity, v.expression, v.gaze) for v in fit.views]
        library = load_hair_library()
        looks = (
            ()
            if options.hair == "none"
            else tuple(look(v, f.camera, p, self.model) for v, f, p in zip(views, fit.views, posed, strict=True))
        )
        first = looks[0] if looks else None
        hair = choose_hair(views[0], fit, posed[0], self.model, library, options.hair, first)
        textures = build_textures(self.model, fit, views, posed, options, looks)
        return replace(coarse, textures=textures, hair=hair)

    def _sight(self, view: PhotoView) -> Sight:
        landmarks = view.face.landmarks.astype(np.float64)
        camera = first_camera(landmarks[:LANDMARKS], self._evidence.points, view.photo)
        return Sight(landmarks, camera, toothy=teeth_shown(view))

    def _person(self, view: PhotoView, sight: Sight) -> Person:
        """What a photo says of whom it shows."""
        plain = facing(view.face.plain_landmarks.astype(np.float64), sight.camera)
        codes = codes_of(self._prior, facing(sight.landmarks, sight.camera), plain)
        seen = tones(FacePatch(view.photo.pixels, sight.landmarks, WIDE))
        return Person(digest(view.photo), view.photo.name, codes, seen)

    def _single(self, view: PhotoView, sight: Sight) -> Solution:
        """Fit one photo, with what its landmarks say by experience as the prior."""
        seen = [
            np.asarray(facing(points.astype(np.float64), sight.camera), np.float32)
            for points in (view.face.landmarks, view.face.plain_landmarks)
        ]
        guess, variance = self._prior.predict(*seen)
        precision = PRIOR_GAIN / np.clip(variance.astype(np.float64), LEAST_VARIANCE, 1)
        return solve(self._evidence, self._eyes, [sight], Prior(guess.astype(np.float64), precision))

    def _join(self, solutions: Sequence[Solution]) -> Solution:
        """One identity for all photos: the mean of what each says; expressions and cameras are fitted to it again."""
        if len(solutions) == 1:
            return solutions[0]
        identity = np.mean([s.identity for s in solutions], axis=0)
        sights = [s.sights[0] for s in solutions]
        return solve(self._evidence, self._eyes, sights, held(identity))

    def _head(self, views: Sequence[PhotoView], solution: Solution, doubts: tuple[Caution, ...]) -> Head:
        identity = np.asarray(solution.identity, np.float32)
        neutral = self.model.vertices(identity)
        normals = vertex_normals(neutral, self.model.triangles)
        uncertainty, determined = self._uncertainty.of(
            [glimpse(v.photo, v.face, s.camera, neutral, normals) for v, s in zip(views, solution.sights, strict=True)]
        )
        fit = Fit(
            identity,
            tuple(self._view(neutral, identity, s) for s in solution.sights),
            uncertainty,
            determined,
            (*doubts, *(c for v, s in zip(views, solution.sights, strict=True) for c in cautions(v, s))),
        )
        return Head(
            engine=f"open {version('maquette')}",
            model=f"{self.model.name} {self.model.version}",
            licence=LICENCE,
            fit=fit,
            neutral=neutral,
            posed=self._pose(neutral, identity, fit.views[0].expression, fit.views[0].gaze),
            textures=None,
        )

    def _view(self, neutral: Float32, identity: Float32, sight: Sight) -> View:
        expression, gaze = np.asarray(expression_of(sight), np.float32), np.asarray(sight.gaze, np.float32)
        posed = self._pose(neutral, identity, expression, gaze)
        points = self.model.landmarks(posed, calibrated=True).astype(np.float64)
        left = sight.landmarks[:, :2] - sight.camera.project(points)
        return View(sight.camera, expression, gaze, np.asarray(left, np.float32))

    def _pose(self, neutral: Float32, identity: Float32, expression: Float32, gaze: Float32) -> Float32:
        """(V, 3) float32 mm, a head with a photo's expression and gaze."""
        moved = neutral + (self.model.vertices(None, expression) - self.model.mean)
        joints = self._eyes.at(identity.astype(np.float64))
        return turn_eyes(self.model, moved, neutral, joints, gaze.astype(np.float64))


def _require_usable(view: PhotoView) -> None:
    face, name = view.face, view.photo.name
    if abs(face.yaw) > MOST_YAW:
        raise FaceUnusable(
            f"{name}: expected a face turned by at most {MOST_YAW:.0f}°, found {abs(face.yaw):.0f}°",
            photo=name,
            yaw=round(face.yaw, 1),
        )
    if face.quality.verdict is Verdict.UNUSABLE:
        reasons = ", ".join(face.quality.reasons)
        raise FaceUnusable(
            f"{name}: expected a usable face, found one that is not ({reasons})",
            photo=name,
            reasons=list(face.quality.reasons),
        )


def _require_fit(view: PhotoView, sight: Sight) -> None:
    if not sight.misfit_mm <= ABSURD_MM:
        raise FaceUnusable(
            f"{view.photo.name}: expected landmarks within {ABSURD_MM:.0f} mm of a face's, found "
            f"{sight.misfit_mm:.1f} mm off; what was detected is hardly a face",
            photo=view.photo.name,
            misfit_mm=round(sight.misfit_mm, 2),
        )
