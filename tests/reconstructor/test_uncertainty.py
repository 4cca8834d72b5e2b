"""How uncertainty follows what photos show."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from maquette.benchmarks.portraits import draw_colours, draw_identity, draw_portrait
from maquette.errors import ModelFileInvalid
from maquette.geometry.surface import vertex_normals
from maquette.geometry.transform import fit_similarity, rotation_y
from maquette.headmodel import HeadModel, load_head_model
from maquette.headmodel.model import pack, unpack
from maquette.rooms import PhotoView, ReconstructOptions
from maquette.settings import Settings
from maquette.types import Camera, Face, Float32, Photo, Quality, Verdict
from services.detector.detector import Detector
from services.reconstructor.engines.open.engine import OpenEngine
from services.reconstructor.engines.open.uncertainty import DEFAULT_FILE, FORMAT, Glimpse, Uncertainty, glimpse, turn_of

Look = Callable[[Photo], PhotoView]
GOOD = Glimpse("a", 0, 250, 0.5)


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


@pytest.fixture(scope="module")
def uncertainty(model: HeadModel) -> Uncertainty:
    return Uncertainty.load(model)


@pytest.fixture(scope="module")
def engine() -> OpenEngine:
    return OpenEngine()


@pytest.fixture(scope="module")
def look(settings: Settings) -> Look:
    detector = Detector(settings)

    def at(photo: Photo) -> PhotoView:
        face = detector.detect(photo)[0]
        return PhotoView(photo, face, detector.mask(photo, face))

    return at


def rms(model: HeadModel, sigma: Float32, region: str) -> float:
    return float(np.sqrt((sigma[model.region(region)].astype(np.float64) ** 2).mean()))


def test_the_photo_says_something_of_the_face_and_next_to_nothing_of_the_bust(
    model: HeadModel, uncertainty: Uncertainty
) -> None:
    sigma, determined = uncertainty.of([GOOD])
    assert sigma.shape == determined.shape == (len(model.mean),)
    assert determined.min() >= 0 and determined.max() <= 1
    face, scalp, bust = (float(determined[model.region(r)].mean()) for r in ("face", "scalp", "bust"))
    assert face > scalp + 0.05
    assert bust < 0.15
    assert rms(model, sigma, "bust") > 3 * rms(model, sigma, "face")


def test_smaller_and_more_blurred_faces_are_less_certain(model: HeadModel, uncertainty: Uncertainty) -> None:
    def face(**change: float) -> float:
        return rms(model, uncertainty.of([replace(GOOD, **change)])[0], "face")

    by_size = [face(size=s) for s in (250, 108, 70, 45, 30, 20)]
    by_blur = [face(blur=b) for b in (0.5, 0.65, 0.72, 0.8)]
    for values in (by_size, by_blur):
        assert (np.diff(values) > 0).all()
        assert values[-1] > 1.05 * values[0]
    tiny = uncertainty.of([replace(GOOD, size=5, blur=1)])[1]
    assert tiny[model.region("face")].mean() < 0.05


def test_a_turned_head_is_the_mirror_image_of_one_turned_the_other_way(
    model: HeadModel, uncertainty: Uncertainty
) -> None:
    straight, left, right = (uncertainty.of([replace(GOOD, yaw=y)])[0] for y in (0.0, 30.0, -30.0))
    assert straight == pytest.approx(straight[model.mirror], rel=1e-3)
    assert left == pytest.approx(right[model.mirror], rel=1e-6)
    assert np.abs(left - straight).max() > 0.01


@pytest.mark.parametrize("yaw", [-35.0, 35.0])
def test_the_far_side_is_less_determined_than_the_near_side(
    model: HeadModel, uncertainty: Uncertainty, yaw: float
) -> None:
    normals = vertex_normals(model.mean, model.triangles)

    def determined(*yaws: float) -> dict[str, float]:
        seen = [glimpse(*sight(model, y), model.mean, normals) for y in yaws]
        found = uncertainty.of(seen)[1]
        return {r: float(found[model.region(r)].mean()) for r in model.region_names}

    far, near = ("left", "right") if yaw > 0 else ("right", "left")
    one, both = determined(yaw), determined(yaw, -yaw)
    for stem in ("cheek", "ear"):
        assert one[f"{stem}_{far}"] < 0.9 * one[f"{stem}_{near}"]
        assert both[f"{stem}_{far}"] > one[f"{stem}_{far}"]
    assert determined(0.0)["cheek_left"] == pytest.approx(determined(0.0)["cheek_right"], rel=0.02)


def sight(model: HeadModel, yaw: float) -> tuple[Photo, Face, Camera]:
    """A photo of the mean head turned to its left."""
    rotation = np.diag([1.0, -1.0, -1.0]) @ rotation_y(yaw)
    camera = Camera(1500.0, np.full(2, 256.0), rotation, np.array([0.0, 0.0, 1500.0]), 512, 512)
    points = model.landmarks(model.mean)
    box = np.array([130, 130, 380, 380], np.float32)
    face = Face(box, points, points, points, yaw, 0, 0, 1, 250, Quality(Verdict.GOOD, (), {"blur": 0.5}))
    return Photo(np.zeros((1, 1, 3), np.uint8), None, "x", f"{yaw}"), face, camera


def test_what_is_covered_is_less_certain_on_its_own_side(model: HeadModel, uncertainty: Uncertainty) -> None:
    plain, plain_determined = uncertainty.of([GOOD])
    for part, here, there in (
        ("right_eye", "eye_region_right", "eye_region_left"),
        ("left_eye", "eye_region_left", "eye_region_right"),
        ("mouth", "chin", "forehead"),
        ("left_jaw", "jaw", "forehead"),
    ):
        sigma, determined = uncertainty.of([replace(GOOD, covered=(part,))])
        assert (sigma >= plain - 1e-5).all()
        gained = {r: rms(model, sigma, r) ** 2 - rms(model, plain, r) ** 2 for r in (here, there)}
        assert gained[here] > gained[there] >= 0
        assert determined[model.region(here)].mean() < plain_determined[model.region(here)].mean()


def test_another_photo_adds_and_the_same_one_does_not(model: HeadModel, uncertainty: Uncertainty) -> None:
    one, two = [GOOD], [GOOD, replace(GOOD, photo="b", yaw=15)]
    first, both = uncertainty.of(one), uncertainty.of(two)
    again, three = uncertainty.of([*one, *one]), uncertainty.of([*two, replace(GOOD, photo="c", yaw=-15)])
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert rms(model, three[0], "face") < rms(model, both[0], "face") < rms(model, first[0], "face")
    # Photos of one head share most of their errors.
    assert rms(model, both[0], "face") > 0.8 * rms(model, first[0], "face")


def test_a_head_turned_to_its_left_has_a_positive_turn(model: HeadModel) -> None:
    rng = np.random.default_rng(0)
    portrait = draw_portrait(model, draw_identity(model, rng), rng, "x")
    nose = model.mean[model.region("nose")].astype(np.float64)
    ahead = portrait.camera.project(nose.mean(0)[None] + [0, 0, 20]) - portrait.camera.project(nose.mean(0)[None])
    assert np.sign(turn_of(portrait.camera.rotation)) == np.sign(ahead[0, 0])


def test_the_engine_sees_size_copies_and_companions(engine: OpenEngine, look: Look) -> None:
    model, rng = engine.model, np.random.default_rng(61)
    identity, colours = draw_identity(model, rng), draw_colours(model, rng)
    first, second = (draw_portrait(model, identity, rng, n, colours=colours).photo for n in ("first", "second"))
    small = Photo(cv2.resize(first.pixels, None, fx=0.2, fy=0.2, interpolation=cv2.INTER_AREA), None, "small", "")

    def face(*photos: Photo) -> float:
        return rms(model, engine.coarse([look(p) for p in photos], ReconstructOptions()).fit.uncertainty, "face")

    alone = face(first)
    assert face(small) > alone
    assert face(first, replace(first, name="copy")) == pytest.approx(alone, rel=1e-6)
    assert face(first, second) < alone


def test_true_errors_are_as_large_as_predicted(engine: OpenEngine, look: Look) -> None:
    model, inside = engine.model, engine.model.region("face")
    squares, variances = [], []
    for number in range(14):
        rng = np.random.default_rng([62, number])
        identity = draw_identity(model, rng)
        head = engine.coarse([look(draw_portrait(model, identity, rng, "x").photo)], ReconstructOptions())
        truth = model.vertices(identity)
        scale, turn, shift = fit_similarity(head.neutral[inside], truth[inside])
        squares.append(((scale * head.neutral @ turn.T + shift - truth) ** 2).mean(1))
        variances.append(head.fit.uncertainty.astype(np.float64) ** 2)
    for region, tolerance in (("face", 0.25), ("scalp", 0.25), ("bust", 0.35)):
        chosen = model.region(region)
        ratio = np.sqrt(np.mean(squares, 0)[chosen].mean() / np.mean(variances, 0)[chosen].mean())
        assert ratio == pytest.approx(1, abs=tolerance), region


def test_a_file_of_another_head_model_is_refused(model: HeadModel, tmp_path: Path) -> None:
    _, arrays, _ = unpack(DEFAULT_FILE, FORMAT)
    path = tmp_path / "uncertainty.npz"
    pack(path, {"format": FORMAT}, arrays | {"signature": (arrays["signature"] + 1).astype(np.float16)})
    with pytest.raises(ModelFileInvalid, match="other identity modes"):
        Uncertainty.load(model, path)
    pack(path, {"format": FORMAT}, arrays | {"sizes": arrays["sizes"][:-1]})
    with pytest.raises(ModelFileInvalid, match="expected"):
        Uncertainty.load(model, path)
