"""Training pictures show what they claim to show."""

from pathlib import Path

import numpy as np
import pytest

from maquette.geometry.raster import Scene
from maquette.headmodel import ARKIT_NAMES, HeadModel, load_head_model
from maquette.settings import Settings
from training.embedding import near_side, trace
from training.pictures import records
from training.pictures.backdrop import draw_backdrop
from training.pictures.canvas import Canvas
from training.pictures.coat import draw_coat
from training.pictures.evidence import Witness
from training.pictures.lens import develop, to_linear
from training.pictures.light import Lamp, Light, harmonics, lamp_harmonics
from training.pictures.props import draw_fur, draw_glasses
from training.pictures.records import Records
from training.pictures.shot import Stage, project, render
from training.pictures.studio import Studio
from training.pictures.subject import draw_expression, draw_subject, pose_vertices
from training.pictures.view import FARTHEST, NEAREST, draw_camera


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


@pytest.fixture(scope="module")
def studio(model: HeadModel) -> Studio:
    return Studio(model, size=160)


@pytest.fixture(scope="module")
def canvas(studio: Studio) -> Canvas:
    return studio.canvas


def test_a_number_always_gives_the_same_picture(studio: Studio) -> None:
    first, again, other = studio.take(3, 1), studio.take(3, 1), studio.take(3, 2)
    assert first.pixels.tobytes() == again.pixels.tobytes()
    assert np.array_equal(first.subject.identity, again.subject.identity)
    assert first.pixels.tobytes() != other.pixels.tobytes()


def test_networks_see_the_face_where_it_is(model: HeadModel, settings: Settings) -> None:
    studio, witness = Studio(model), Witness(settings)
    errors = []
    for number in range(6):
        picture = studio.take(21, number)
        truth = project(picture.camera, model.landmarks(picture.subject.vertices))
        seen = witness(picture.pixels, truth)
        assert seen is not None
        mm = np.linalg.norm(seen.refined[:, :2] - truth, axis=1)
        errors.append(np.median(mm) * picture.camera.translation[2] / picture.camera.focal)
    assert max(errors) < 8
    assert np.mean(errors) < 4.5


def test_networks_see_no_face_in_a_backdrop(studio: Studio, settings: Settings) -> None:
    picture = studio.take(21, 0)
    truth = project(picture.camera, studio.model.landmarks(picture.subject.vertices))
    wall = np.full_like(picture.pixels, 128)
    assert Witness(settings)(wall, truth) is None


def test_the_eyes_turn_with_the_gaze(model: HeadModel) -> None:
    rest = model.mean, np.zeros(len(ARKIT_NAMES), np.float32)
    ahead = model.landmarks(pose_vertices(model, *rest, np.zeros((2, 2), np.float32)))
    left = model.landmarks(pose_vertices(model, *rest, np.array([[20, 0], [20, 0]], np.float32)))
    up = model.landmarks(pose_vertices(model, *rest, np.array([[0, 15], [0, 15]], np.float32)))
    for iris in (468, 473):
        assert left[iris, 0] - ahead[iris, 0] > 2
        assert up[iris, 1] - ahead[iris, 1] > 1.5
    np.testing.assert_array_equal(left[:468], ahead[:468])


def test_expressions_are_weights_and_mostly_symmetric() -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([draw_expression(rng) for _ in range(400)])
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    left = drawn[:, ARKIT_NAMES.index("mouthSmileLeft")]
    right = drawn[:, ARKIT_NAMES.index("mouthSmileRight")]
    assert np.corrcoef(left, right)[0, 1] > 0.9
    assert (drawn.sum(1) == 0).mean() > 0.05
    assert drawn[:, ARKIT_NAMES.index("tongueOut")].max() == 0


def test_cameras_stand_within_their_range_and_see_the_face(model: HeadModel) -> None:
    rng = np.random.default_rng(1)
    centre = np.array([0.0, 0.0, 60.0])
    marks = model.landmarks(model.mean).astype(np.float64)
    for _ in range(100):
        camera = draw_camera(rng, centre, 384)
        assert np.allclose(camera.rotation @ camera.rotation.T, np.eye(3))
        assert np.linalg.det(camera.rotation) == pytest.approx(1)
        depth = camera.to_camera(marks)[:, 2]
        assert NEAREST - 150 < depth.min() < depth.max() < FARTHEST + 150
        pixels = camera.project(marks)
        assert pixels.min() > -20
        assert pixels.max() < 404


def test_lamp_harmonics_follow_the_clamped_cosine() -> None:
    rng = np.random.default_rng(2)
    normals = rng.normal(0, 1, (4000, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    way = np.array([0.6, -0.48, -0.64])
    exact = np.clip(normals @ way, 0, None)
    approximate = (harmonics(normals) @ lamp_harmonics(way, np.ones(3)))[:, 0]
    assert np.abs(approximate - exact).max() < 0.1
    assert np.sqrt(((approximate - exact) ** 2).mean()) < 0.04


def test_light_from_one_side_shades_the_other(studio: Studio, canvas: Canvas, model: HeadModel) -> None:
    rng = np.random.default_rng(3)
    subject = draw_subject(model, rng, still=True)
    camera = draw_camera(rng, np.array([0.0, 0.0, 60.0]), 96)
    camera = type(camera)(camera.focal, np.full(2, 48.0), np.diag([1.0, -1.0, -1.0]), np.array([0, 0, 1200.0]), 96, 96)
    camera = type(camera)(96 / 280 * 1200, camera.centre, camera.rotation, camera.translation, 96, 96)
    stage = Stage(model, canvas, subject.vertices, camera, draw_coat(model, canvas, rng))
    lamp = Lamp(np.array([-1.0, 0.0, -0.2]) / np.hypot(1, 0.2), np.ones(3), 0.02)
    light = Light(np.zeros((9, 3)), (lamp,), np.full(3, 0.05))
    radiance, face = render(stage, camera, light, np.zeros((96, 96, 3), np.float32), rng)
    assert face[48, 30]
    assert face[48, 66]
    lit, shaded = radiance[40:60, 24:36].mean(), radiance[40:60, 60:72].mean()
    assert lit > 4 * shaded


def test_glasses_stand_clear_of_the_face(model: HeadModel) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        subject = draw_subject(model, rng)
        frame, glass = draw_glasses(model, subject, rng)
        eyes = model.landmarks(subject.vertices)[[468, 473]]
        assert glass.picture[..., 1].max() < 1
        assert glass.vertices[:, 2].max() > eyes[:, 2].max() + 5
        for eye in eyes:
            way = np.array([0, 0, 1], np.float32)
            hit = Scene(glass.vertices, glass.triangles).cast(eye[None], way[None])
            assert hit.covered.all(), "an eye is not behind a lens"
        assert frame.triangles.max() < len(frame.vertices)


def test_a_beard_grows_outwards_where_it_should(model: HeadModel, canvas: Canvas) -> None:
    rng = np.random.default_rng(4)
    subject = draw_subject(model, rng, still=True)
    fur = draw_fur(model, subject, canvas.masks["beard"], np.array([0.05, 0.03, 0.02]), 6.0, 0.8, rng)
    skin = subject.vertices[model.part("skin")]
    chin = model.landmarks(subject.vertices)[152]
    nearest = np.linalg.norm(skin[:, None] - fur.vertices[None, ::40], axis=2).min(0)
    assert nearest.max() < 7
    assert fur.vertices[:, 1].max() < model.landmarks(subject.vertices)[10, 1]
    assert fur.vertices[:, 1].min() < chin[1]


def test_developing_keeps_what_matters() -> None:
    rng = np.random.default_rng(5)
    backdrop = draw_backdrop(rng, 64)
    assert np.isfinite(backdrop).all()
    face = np.zeros((64, 64), bool)
    face[16:48, 16:48] = True
    scene = np.where(face[..., None], np.float32(0.3), np.float32(0.05)) * np.ones((64, 64, 3), np.float32)
    for seed in range(8):
        for exposure in (0.01, 30.0):
            out = develop(scene * np.float32(exposure), face, np.random.default_rng(seed)).astype(float)
            assert out.shape == (64, 64, 3)
            assert out[24:40, 24:40].mean() > out[2:10, 2:10].mean() + 15


def test_linear_light_follows_the_srgb_curve() -> None:
    values = to_linear(np.array([0, 10, 128, 255], np.uint8))
    np.testing.assert_allclose(values, [0, 0.003035, 0.215861, 1], atol=1e-5)
    np.testing.assert_allclose(to_linear(np.array([0.0, 10, 128, 255], np.float32)), values, atol=1e-6)


def test_tracing_back_a_projected_point_finds_it(model: HeadModel) -> None:
    rng = np.random.default_rng(6)
    subject = draw_subject(model, rng, still=True)
    camera = draw_camera(rng, np.array([0.0, 0.0, 60.0]), 384)
    marks = np.array([4, 50, 280, 152, 9])
    pixels = camera.project(model.landmarks(subject.vertices).astype(np.float64))[marks]
    points, cosines = trace(model, subject.vertices, camera, pixels)
    facing = cosines > 0.35
    assert facing.sum() >= 3
    off = np.linalg.norm(points - model.landmarks(model.mean)[marks], axis=1)
    assert off[facing].max() < 0.7


def test_the_far_side_of_a_turned_face_is_left_out(model: HeadModel) -> None:
    near = near_side(model, 25.0)
    assert near[234] != near[454]
    assert near[4]
    assert near_side(model, 25.0)[454] == near_side(model, -25.0)[234]


def _records(count: int) -> Records:
    rng = np.random.default_rng(7)

    def values(*shape: int) -> np.ndarray:
        return rng.normal(0, 1, (count, *shape)).astype(np.float32)

    return Records(
        values(478, 3), values(478, 3), values(478, 2), values(9), values(52), values(3, 3), values(3), values(),
        values(2), values(), np.zeros((count, 2), np.int64),
    )  # fmt: skip


def test_records_survive_their_file_and_know_their_model(tmp_path: Path) -> None:
    path = tmp_path / "pictures.npz"
    everything = records.join([_records(3), _records(2)])
    records.save(path, everything, "abc")
    again = records.load(path, "abc")
    assert len(again) == 5
    np.testing.assert_array_equal(again.refined, everything.refined)
    np.testing.assert_array_equal(again[np.array([4])].truth, everything.truth[4:])
    with pytest.raises(ValueError, match="expected"):
        records.load(path, "xyz")
