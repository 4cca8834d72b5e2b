"""Camera, expression, gaze and uncertainty from landmarks whose truth is known."""

from dataclasses import dataclass

import numpy as np
import pytest

from maquette.errors import FaceUnusable
from maquette.geometry.transform import fit_similarity, rotation_x, rotation_y
from maquette.headmodel import ARKIT_NAMES, HeadModel, load_head_model
from maquette.types import Camera, Float32, Float64, Photo
from services.reconstructor.engines.open.camera import DISTANCE_MM, facing, first_camera
from services.reconstructor.engines.open.evidence import FITTED_EXPRESSIONS, LANDMARKS, Evidence, gather
from services.reconstructor.engines.open.fit import Prior, Sight, expression_of, held, solve
from services.reconstructor.engines.open.gaze import SEEN_LOW, Eyes, find_eyes, find_gaze, look_weights, turn_eyes

TO_CAMERA = np.diag([1.0, -1.0, -1.0])


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


@pytest.fixture(scope="module")
def evidence(model: HeadModel) -> Evidence:
    return gather(model)


@pytest.fixture(scope="module")
def eyes(model: HeadModel) -> Eyes:
    return find_eyes(model)


@dataclass(frozen=True)
class Seen:
    """What a perfect landmark network would see."""

    landmarks: Float64
    camera: Camera
    photo: Photo
    vertices: Float32


def see(
    model: HeadModel,
    *,
    identity: Float32 | None = None,
    expression: dict[str, float] | None = None,
    gaze: tuple[float, float] = (0.0, 0.0),
    yaw: float = 0.0,
    pitch: float = 0.0,
    at: tuple[float, float] = (0.0, 0.0),
    distance: float = 1600.0,
    focal: float = 2400.0,
    exif: bool = True,
) -> Seen:
    """Project the landmarks of a head; ``at`` shifts it in mm, ``exif`` says whether the focal length is known."""
    angles = np.array([gaze, gaze])
    weights = np.array([(expression or {}).get(n, 0.0) for n in ARKIT_NAMES] + look_weights(angles), np.float32)
    joints = find_eyes(model).at(np.zeros(len(model.identity_modes)) if identity is None else identity.astype(float))
    vertices = turn_eyes(model, model.vertices(identity, weights), model.vertices(identity), joints, angles)
    rotation = TO_CAMERA @ rotation_x(-pitch) @ rotation_y(yaw)
    camera = Camera(focal, np.array([400.0, 300.0]), rotation, np.array([*at, distance]), 800, 600)
    points = model.landmarks(vertices, calibrated=True).astype(np.float64)
    # Networks give depths along the ray through the face, on the scale of its pixels.
    depth = np.linalg.norm(camera.to_camera(points), axis=1)
    landmarks = np.concatenate([camera.project(points), (depth - depth.mean())[:, None] * focal / depth.mean()], 1)
    photo = Photo(np.zeros((600, 800, 3), np.uint8), focal if exif else None, "seen.png", "")
    return Seen(landmarks, camera, photo, vertices)


def fit_one(evidence: Evidence, eyes: Eyes, seen: Seen, prior: Prior | None = None) -> tuple[Float64, Sight]:
    sight = Sight(seen.landmarks, first_camera(seen.landmarks[:LANDMARKS], evidence.points, seen.photo))
    solution = solve(evidence, eyes, [sight], prior or held(np.zeros(evidence.modes)))
    return solution.identity, solution.sights[0]


def turned_apart(a: Float64, b: Float64) -> float:
    """Degrees between two rotations."""
    return float(np.degrees(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1))))


def test_the_first_camera_is_near_the_truth(model: HeadModel, evidence: Evidence) -> None:
    seen = see(model, yaw=20, pitch=8)
    camera = first_camera(seen.landmarks[:LANDMARKS], evidence.points, seen.photo)
    assert turned_apart(camera.rotation, seen.camera.rotation) < 4
    assert camera.project(evidence.points) == pytest.approx(seen.landmarks[:LANDMARKS, :2], abs=12)


def test_landmarks_all_in_one_place_are_no_face(evidence: Evidence) -> None:
    photo = Photo(np.zeros((600, 800, 3), np.uint8), None, "odd.png", "")
    with pytest.raises(FaceUnusable, match=r"odd\.png"):
        first_camera(np.full((LANDMARKS, 3), 7.0), evidence.points, photo)


def test_a_face_beside_the_optical_axis_is_not_taken_for_a_turned_one(
    model: HeadModel, evidence: Evidence, eyes: Eyes
) -> None:
    seen = see(model, at=(260.0, -90.0), distance=900.0, focal=700.0)
    first = first_camera(seen.landmarks[:LANDMARKS], evidence.points, seen.photo)
    _, sight = fit_one(evidence, eyes, seen)
    assert turned_apart(first.rotation, seen.camera.rotation) < 6
    assert turned_apart(sight.camera.rotation, seen.camera.rotation) < 1
    assert sight.camera.translation == pytest.approx(seen.camera.translation, rel=0.03, abs=5)


def test_facing_undoes_what_a_place_beside_the_axis_does(model: HeadModel) -> None:
    beside = see(model, at=(260.0, 0.0), distance=900.0, focal=700.0)
    straight = facing(beside.landmarks, beside.camera)[:LANDMARKS, :2]
    # The same head on the axis, seen from the same side: turned by the angle of the ray and as far away.
    angle = np.degrees(np.arctan2(260.0, 900.0))
    middle = see(model, yaw=angle, distance=float(np.hypot(260.0, 900.0)), focal=700.0)
    wanted = middle.landmarks[:LANDMARKS, :2] - 400
    raw = beside.landmarks[:LANDMARKS, :2]

    def off(points: Float64) -> float:
        flat = [np.concatenate([p, np.zeros((len(p), 1))], 1) for p in (points, wanted)]
        s, r, t = fit_similarity(*flat)
        return float(np.linalg.norm(s * flat[0] @ r.T + t - flat[1], axis=1).mean())

    assert off(straight) < 0.35
    assert off(raw) > 2 * off(straight)


def test_focal_length_comes_from_exif_and_else_puts_the_camera_at_its_usual_distance(
    model: HeadModel, evidence: Evidence, eyes: Eyes
) -> None:
    known = fit_one(evidence, eyes, see(model, distance=500.0, focal=800.0))[1].camera
    unknown = fit_one(evidence, eyes, see(model, distance=500.0, focal=800.0, exif=False))[1].camera
    assert (known.focal, known.translation[2]) == (800.0, pytest.approx(500.0, rel=0.03))
    assert unknown.translation[2] == pytest.approx(DISTANCE_MM, rel=0.12)
    assert unknown.centre == pytest.approx([400, 300])


def test_a_small_face_in_a_large_photo_gets_no_absurdly_wide_lens(model: HeadModel, evidence: Evidence) -> None:
    seen = see(model, distance=9000.0, exif=False)
    camera = first_camera(seen.landmarks[:LANDMARKS], evidence.points, seen.photo)
    assert camera.focal >= 0.7 * 800


def test_perfect_landmarks_give_the_expression(model: HeadModel, evidence: Evidence, eyes: Eyes) -> None:
    wanted = {"jawOpen": 0.5, "mouthSmileLeft": 0.6, "mouthSmileRight": 0.6, "eyeBlinkLeft": 0.7, "eyeBlinkRight": 0.7}
    _, sight = fit_one(evidence, eyes, see(model, expression=wanted, yaw=10))
    found = dict(zip(ARKIT_NAMES, expression_of(sight), strict=True))
    for name, value in wanted.items():
        # What is weakly seen stays nearer to rest.
        assert 0.55 * value < found[name] < value + 0.1, name
    others = [w for n, w in found.items() if n not in wanted]
    assert max(others) < 0.3
    assert sight.misfit_mm < 1.5


def test_perfect_landmarks_bring_the_shape_nearer(model: HeadModel, evidence: Evidence, eyes: Eyes) -> None:
    face = model.region("face")
    free = Prior(np.zeros(evidence.modes), np.ones(evidence.modes))
    before: list[float] = []
    after: list[float] = []
    for seed in range(6):
        code = np.random.default_rng(seed).normal(0, 0.9, evidence.modes).astype(np.float32)
        identity, _ = fit_one(evidence, eyes, see(model, identity=code, yaw=15), free)
        truth = model.vertices(code)[face]
        for guess, errors in ((model.mean[face], before), (model.vertices(identity)[face], after)):
            s, r, t = fit_similarity(guess, truth)
            errors.append(float(np.linalg.norm(s * guess @ r.T + t - truth, axis=1).mean()))
    assert np.mean(after) < 0.75 * np.mean(before)


def test_coefficients_stay_within_their_limits(model: HeadModel, evidence: Evidence, eyes: Eyes) -> None:
    code = np.full(evidence.modes, 4.0, np.float32)
    seen = see(model, identity=code, expression={"jawOpen": 1.6, "mouthFunnel": 1.5})
    identity, sight = fit_one(evidence, eyes, seen, Prior(np.zeros(evidence.modes), np.full(evidence.modes, 0.01)))
    assert np.abs(identity).max() <= 3.5
    assert sight.expression.min() >= -0.15 and sight.expression.max() <= 1.2
    assert expression_of(sight).min() >= 0 and expression_of(sight).max() <= 1


def test_wild_landmarks_move_the_head_little(model: HeadModel, evidence: Evidence, eyes: Eyes) -> None:
    seen = see(model)
    wild = seen.landmarks.copy()
    wild[::20, :2] += 60
    calm = fit_one(evidence, eyes, seen)[1].camera
    moved = fit_one(evidence, eyes, Seen(wild, seen.camera, seen.photo, seen.vertices))[1].camera
    assert turned_apart(calm.rotation, moved.rotation) < 1.0
    # A plain mean would have been drawn along by a twentieth of the shift.
    points = evidence.points
    assert np.linalg.norm(calm.project(points) - moved.project(points), axis=1).mean() < 1.5


def test_landmarks_behind_the_cheek_are_hardly_believed(model: HeadModel, evidence: Evidence, eyes: Eyes) -> None:
    seen = see(model, yaw=40)
    cosine = (evidence.normals @ seen.camera.rotation.T)[:, 2]
    spoiled = seen.landmarks.copy()
    spoiled[:LANDMARKS][cosine > 0.1, :2] += [12, 0]
    calm = fit_one(evidence, eyes, seen)[1].camera
    moved = fit_one(evidence, eyes, Seen(spoiled, seen.camera, seen.photo, seen.vertices))[1].camera
    assert (cosine > 0.1).sum() > 10
    assert turned_apart(calm.rotation, moved.rotation) < 0.5


@pytest.mark.parametrize("gaze", [(0.0, 0.0), (15.0, 0.0), (-15.0, 0.0), (0.0, 12.0), (8.0, -10.0)])
@pytest.mark.parametrize("yaw", [0.0, 25.0])
def test_gaze_is_found_from_the_irises(
    model: HeadModel, evidence: Evidence, eyes: Eyes, gaze: tuple[float, float], yaw: float
) -> None:
    # The networks would see these irises lower.
    _, sight = fit_one(evidence, eyes, see(model, gaze=(gaze[0], gaze[1] - SEEN_LOW), yaw=yaw))
    assert sight.gaze == pytest.approx(np.array([gaze, gaze]), abs=2.0)


def test_shut_eyes_have_no_gaze(eyes: Eyes, model: HeadModel) -> None:
    seen = see(model, gaze=(15.0, 0.0))
    misfit = np.zeros((LANDMARKS, 2))
    zero = np.zeros(len(model.identity_modes))
    open_, shut = (
        find_gaze(eyes, zero, np.array([b, b]), seen.camera, seen.landmarks[:, :2], misfit) for b in (0.0, 0.9)
    )
    assert open_[:, 0] == pytest.approx([15, 15], abs=2)
    assert not shut.any()


def test_looking_left_turns_the_left_eye_out_and_the_right_eye_in() -> None:
    on = {n for n, w in zip(ARKIT_NAMES, look_weights(np.array([[20.0, 10.0], [20.0, 10.0]])), strict=True) if w > 0}
    assert on == {"eyeLookOutLeft", "eyeLookInRight", "eyeLookUpLeft", "eyeLookUpRight"}


def test_eyeballs_turn_and_nothing_else_moves(model: HeadModel, eyes: Eyes) -> None:
    zero = np.zeros(len(model.identity_modes))
    gaze = np.array([[20.0, 5.0], [20.0, 5.0]])
    looking = model.vertices(None, look_weights(gaze))
    turned = turn_eyes(model, looking, model.mean, eyes.at(zero), gaze)
    balls = model.part("eye_left", "eye_right")
    assert np.array_equal(turned[~balls], looking[~balls])
    iris = model.landmarks(turned)[473] - model.landmarks(model.mean)[473]
    assert iris[0] > 3 and iris[1] > 0.5
    left = model.part("eye_left")
    radii = [np.linalg.norm(v[left] - eyes.at(zero)[0], axis=1) for v in (model.mean, turned)]
    assert radii[0] == pytest.approx(radii[1], abs=1e-3)


def test_all_blendshapes_but_tongue_and_gaze_are_fitted() -> None:
    left_out = {n for k, n in enumerate(ARKIT_NAMES) if k not in FITTED_EXPRESSIONS}
    assert left_out == {n for n in ARKIT_NAMES if n.startswith("eyeLook")} | {"tongueOut"}


def test_several_photos_share_one_identity_and_keep_their_expressions(
    model: HeadModel, evidence: Evidence, eyes: Eyes
) -> None:
    code = np.random.default_rng(3).normal(0, 0.9, evidence.modes).astype(np.float32)
    views = [
        see(model, identity=code, yaw=-25, expression={"jawOpen": 0.5}),
        see(model, identity=code, yaw=25, expression={"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7}),
    ]
    sights = [Sight(v.landmarks, first_camera(v.landmarks[:LANDMARKS], evidence.points, v.photo)) for v in views]
    prior = Prior(np.zeros(evidence.modes), np.ones(evidence.modes))
    both = solve(evidence, eyes, sights, prior)
    one, _ = fit_one(evidence, eyes, views[0], prior)
    jaw, smile = (ARKIT_NAMES.index(n) for n in ("jawOpen", "mouthSmileLeft"))
    first, second = (expression_of(s) for s in both.sights)
    assert first[jaw] > second[jaw] + 0.25
    assert second[smile] > first[smile] + 0.25
    truth, face = model.vertices(code), model.region("face")

    def error(identity: Float64) -> float:
        guess = model.vertices(identity)[face]
        s, r, t = fit_similarity(guess, truth[face])
        return float(np.linalg.norm(s * guess @ r.T + t - truth[face], axis=1).mean())

    assert error(both.identity) < error(one)


def test_parted_lips_before_closed_teeth_do_not_drop_the_jaw(model: HeadModel, evidence: Evidence, eyes: Eyes) -> None:
    smile = {f"{name}{side}": v for name, v in (("mouthSmile", 0.7), ("mouthLowerDown", 0.6), ("mouthUpperUp", 0.4))
             for side in ("Left", "Right")}  # fmt: skip
    seen = see(model, expression=smile)
    jaws = []
    for toothy in (0.0, 1.0):
        sight = Sight(
            seen.landmarks, first_camera(seen.landmarks[:LANDMARKS], evidence.points, seen.photo), toothy=toothy
        )
        fitted = solve(evidence, eyes, [sight], held(np.zeros(evidence.modes))).sights[0]
        jaws.append(expression_of(fitted)[ARKIT_NAMES.index("jawOpen")])
    assert jaws[1] < 0.06
    assert jaws[1] <= jaws[0]


@pytest.mark.parametrize("opening", [0.15, 0.4, 0.8])
def test_the_mouth_opens_as_far_as_it_is_seen_to(
    opening: float, model: HeadModel, evidence: Evidence, eyes: Eyes
) -> None:
    seen = see(model, expression={"jawOpen": opening})
    _, sight = fit_one(evidence, eyes, seen)
    fitted = model.landmarks(model.vertices(None, np.asarray(expression_of(sight), np.float32)))
    true = model.landmarks(seen.vertices)
    gaps = [float(np.linalg.norm(p[13] - p[14])) for p in (fitted, true)]
    assert gaps[0] == pytest.approx(gaps[1], rel=0.05, abs=0.7)
