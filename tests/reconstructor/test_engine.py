"""The open engine's door: heads, refusals, cautions and several photos."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from maquette.benchmarks.portraits import Portrait, draw_colours, draw_identity, draw_portrait
from maquette.errors import FaceUnusable, ModelFileInvalid, OptionInvalid, PeopleMixed
from maquette.geometry.transform import fit_similarity
from maquette.headmodel import ARKIT_NAMES
from maquette.rooms import PhotoView, ReconstructOptions, ReconstructorRoom
from maquette.settings import Settings
from maquette.types import Float32, Head, Photo, Quality, Verdict
from services.detector.detector import Detector
from services.detector.photo import load_photo
from services.reconstructor.engines.open.engine import OpenEngine
from services.reconstructor.engines.open.people import MIXED, PeopleCheck, Person

OPTIONS = ReconstructOptions()
View = Callable[[Photo], PhotoView]


@pytest.fixture(scope="module")
def engine() -> OpenEngine:
    return OpenEngine()


@pytest.fixture(scope="module")
def view(settings: Settings) -> View:
    """Photo to the view of its first face."""
    detector = Detector(settings)

    def look(photo: Photo) -> PhotoView:
        face = detector.detect(photo)[0]
        return PhotoView(photo, face, detector.mask(photo, face))

    return look


def portraits(engine: OpenEngine, seed: int, count: int) -> tuple[Float32, list[Portrait]]:
    """Identity of a random head and some pictures of it."""
    rng = np.random.default_rng(seed)
    identity, colours = draw_identity(engine.model, rng), draw_colours(engine.model, rng)
    return identity, [draw_portrait(engine.model, identity, rng, f"{seed}-{k}", colours=colours) for k in range(count)]


@pytest.fixture(scope="module")
def one(engine: OpenEngine, view: View) -> PhotoView:
    return view(portraits(engine, 4, 1)[1][0].photo)


@pytest.fixture(scope="module")
def head(engine: OpenEngine, one: PhotoView) -> Head:
    return engine.coarse([one], OPTIONS)


def face_error(engine: OpenEngine, guess: Float32, truth: Float32) -> float:
    face = engine.model.region("face")
    s, r, t = fit_similarity(guess[face], truth[face])
    return float(np.linalg.norm(s * guess[face] @ r.T + t - truth[face], axis=1).mean())


def shared_view(shared: Path, settings: Settings, view: View, name: str) -> PhotoView:
    return view(load_photo(shared / "bench" / "images" / name, settings=settings))


def test_the_engine_is_a_reconstructor_room(engine: OpenEngine) -> None:
    room: ReconstructorRoom = engine
    assert room is engine


def test_a_coarse_head_is_shape_alone(engine: OpenEngine, head: Head) -> None:
    v = len(engine.model.mean)
    assert (head.textures, head.hair) == (None, ())
    assert head.engine.startswith("open ")
    assert head.model == f"{engine.model.name} {engine.model.version}"
    assert "Apache-2.0" in head.licence and "commercial" in head.licence
    assert head.neutral.shape == head.posed.shape == (v, 3)
    assert head.neutral.dtype == head.posed.dtype == np.float32
    assert head.fit.uncertainty.shape == head.fit.determined.shape == (v,)
    assert head.fit.identity.dtype == np.float32
    (fitted,) = head.fit.views
    assert fitted.residual_px.shape == (478, 2)
    assert fitted.expression.shape == (52,)
    assert fitted.expression.min() >= 0 and fitted.expression.max() <= 1
    assert all(np.isfinite(a).all() for a in (head.neutral, head.posed, head.fit.uncertainty, fitted.residual_px))


def test_the_same_photo_gives_the_same_bytes(engine: OpenEngine, one: PhotoView, head: Head) -> None:
    again = OpenEngine().coarse([one], OPTIONS)
    for a, b in (
        (head.neutral, again.neutral),
        (head.posed, again.posed),
        (head.fit.identity, again.fit.identity),
        (head.fit.uncertainty, again.fit.uncertainty),
        (head.fit.views[0].residual_px, again.fit.views[0].residual_px),
    ):
        assert a.tobytes() == b.tobytes()
    assert head.fit.warnings == again.fit.warnings


def test_heads_come_nearer_to_the_truth_than_the_mean_head(engine: OpenEngine, view: View) -> None:
    fitted, mean = [], []
    for seed in range(30, 36):
        identity, (picture,) = portraits(engine, seed, 1)
        truth = engine.model.vertices(identity)
        fitted.append(face_error(engine, engine.coarse([view(picture.photo)], OPTIONS).neutral, truth))
        mean.append(face_error(engine, engine.model.mean, truth))
    assert np.mean(fitted) < 0.92 * np.mean(mean)


def test_residuals_lead_from_the_head_to_the_landmarks(engine: OpenEngine, one: PhotoView, head: Head) -> None:
    fitted = head.fit.views[0]
    points = engine.model.landmarks(head.posed, calibrated=True).astype(np.float64)
    seen = fitted.camera.project(points) + fitted.residual_px
    assert seen == pytest.approx(one.face.landmarks[:, :2], abs=0.01)
    assert np.linalg.norm(fitted.residual_px, axis=1).mean() < 0.04 * one.face.size


def test_the_expression_is_in_the_posed_head_alone(engine: OpenEngine, view: View) -> None:
    rng = np.random.default_rng(8)
    wide = np.zeros(52, np.float32)
    wide[ARKIT_NAMES.index("jawOpen")] = 0.7
    picture = draw_portrait(engine.model, draw_identity(engine.model, rng), rng, "wide.png", expression=wide)
    made = engine.coarse([view(picture.photo)], OPTIONS)
    chin = engine.model.region("chin")
    assert made.fit.views[0].expression[ARKIT_NAMES.index("jawOpen")] > 0.3
    assert (made.neutral[chin, 1] - made.posed[chin, 1]).mean() > 6
    assert "mouth_open" in {c.code for c in made.fit.warnings}


def test_a_known_focal_length_is_kept(engine: OpenEngine, one: PhotoView) -> None:
    made = engine.coarse([replace(one, photo=replace(one.photo, focal_px=900.0))], OPTIONS)
    assert made.fit.views[0].camera.focal == 900.0
    assert made.fit.views[0].camera.translation[2] < 900


def test_no_photo_is_an_option_error(engine: OpenEngine) -> None:
    with pytest.raises(OptionInvalid, match="at least one photo"):
        engine.coarse([], OPTIONS)


def test_a_face_turned_too_far_is_refused_by_name(engine: OpenEngine, one: PhotoView) -> None:
    turned = replace(one, face=replace(one.face, yaw=-62.0))
    with pytest.raises(FaceUnusable, match=r"at most 50°, found 62°") as caught:
        engine.coarse([one, turned], OPTIONS)
    assert caught.value.detail["photo"] == one.photo.name


def test_an_unusable_verdict_is_refused_with_its_reasons(engine: OpenEngine, one: PhotoView) -> None:
    bad = replace(one, face=replace(one.face, quality=Quality(Verdict.UNUSABLE, ("blurred", "too_small"))))
    with pytest.raises(FaceUnusable, match="blurred, too_small"):
        engine.coarse([bad], OPTIONS)


def test_landmarks_of_no_face_are_refused(engine: OpenEngine, one: PhotoView) -> None:
    scattered = np.random.default_rng(0).permutation(one.face.landmarks)
    with pytest.raises(FaceUnusable, match="hardly a face"):
        engine.coarse([replace(one, face=replace(one.face, landmarks=scattered))], OPTIONS)


def test_several_photos_give_one_head_with_a_view_each(engine: OpenEngine, view: View) -> None:
    identity, pictures = portraits(engine, 41, 3)
    views = [view(p.photo) for p in pictures]
    together = engine.coarse(views, OPTIONS)
    other_way = engine.coarse(views[::-1], OPTIONS)
    alone = [engine.coarse([v], OPTIONS) for v in views]
    truth = engine.model.vertices(identity)
    errors = [face_error(engine, h.neutral, truth) for h in alone]
    assert len(together.fit.views) == 3
    assert together.neutral == pytest.approx(other_way.neutral, abs=1e-3)
    assert face_error(engine, together.neutral, truth) < np.mean(errors)
    assert together.fit.uncertainty.mean() < alone[0].fit.uncertainty.mean()
    for made, single in zip(together.fit.views, alone, strict=True):
        # Cameras are fitted again to the joint head, near where they were.
        assert made.camera.translation == pytest.approx(single.fit.views[0].camera.translation, rel=0.1, abs=15)


def test_photos_of_one_scanned_person_belong_together(
    engine: OpenEngine, view: View, shared: Path, settings: Settings
) -> None:
    for names in (
        ("lps_y00.jpg", "lps_y20.jpg", "lps_y40.jpg"),
        ("james_y00.jpg", "james_photoL.jpg", "james_photoR.jpg"),
    ):
        views = [shared_view(shared, settings, view, n) for n in names]
        assert len(engine.coarse(views, OPTIONS).fit.views) == 3


@pytest.mark.parametrize("odd", [0, 1, 2])
def test_another_person_among_the_photos_is_named(
    engine: OpenEngine, view: View, shared: Path, settings: Settings, odd: int
) -> None:
    names = ["lps_y00.jpg", "lps_y20.jpg"]
    names.insert(odd, "james_y00.jpg")
    views = [shared_view(shared, settings, view, n) for n in names]
    with pytest.raises(PeopleMixed, match=r"^james_y00\.jpg: ") as caught:
        engine.coarse(views, OPTIONS)
    assert caught.value.detail["photo"] == "james_y00.jpg"


def check_of(*between: float) -> PeopleCheck:
    return PeopleCheck(np.eye(len(between)), np.array(between))


def unknown(photos: int) -> np.ndarray:
    return np.full((photos, 4), np.nan)


def test_odds_single_out_the_one_that_differs() -> None:
    check = check_of(9.0, 4.0)
    same = check.odds(np.array([[3.0, -2.0], [3.5, -1.5], [2.8, -2.4]]), unknown(3))
    mixed = check.odds(np.array([[3.0, -2.0], [3.5, -1.5], [-5.0, 3.0]]), unknown(3))
    assert (same < 0).all()
    assert mixed.argmax() == 2 and mixed[2] > 5


def test_a_common_offset_does_not_change_the_odds() -> None:
    check = check_of(9.0, 4.0)
    people, tones = np.array([[3.0, -2.0], [0.0, 1.0]]), np.array([[-1.0, -0.5, -2.0, 0.4], [-0.2, -0.9, 0.5, np.nan]])
    moved = check.odds(people + [40.0, -7.0], tones + 0.3)
    assert check.odds(people, tones) == pytest.approx(moved)


def test_other_tones_raise_the_odds_but_never_decide_alone() -> None:
    check, people = check_of(9.0, 4.0), np.zeros((2, 2))
    alike = check.odds(people, np.zeros((2, 4)))
    apart = check.odds(people, np.array([[0.0, 0, 0, 0], [9.0, 9, 9, 9]]))
    assert (alike < check.odds(people, unknown(2))).all()
    assert (apart > alike + 2).all()
    assert (apart < MIXED).all()


def person(name: str, *codes: float, photo: str | None = None) -> Person:
    return Person(photo or name, name, np.array(codes), np.full(4, np.nan))


def test_a_doubtful_photo_is_named_in_a_caution() -> None:
    check = check_of(9.0, 4.0)
    sure = [person("a.jpg", 0.0, 0.0), person("b.jpg", 0.4, -0.3)]
    assert check.require_one_person(sure) is None
    caution = check.require_one_person([*sure, person("c.jpg", 4.3, 0.5)])
    assert caution is not None and caution.code == "people_maybe_mixed"
    assert caution.message.startswith("c.jpg: ") and "a.jpg, b.jpg" in caution.message
    with pytest.raises(PeopleMixed, match=r"^c\.jpg: "):
        check.require_one_person([*sure, person("c.jpg", 9.0, 0.5)])


def test_of_two_photos_the_second_is_the_odd_one() -> None:
    with pytest.raises(PeopleMixed, match=r"^b\.jpg: "):
        check_of(9.0, 4.0).require_one_person([person("a.jpg", 0.0, 0.0), person("b.jpg", 9.0, 5.0)])


def test_the_same_photo_again_does_not_vouch_for_itself() -> None:
    check = check_of(9.0, 4.0)
    first, other = person("a.jpg", 0.0, 0.0), person("b.jpg", 9.0, 5.0)
    again = [person(f"copy {k}.jpg", 0.0, 0.0, photo="a.jpg") for k in range(3)]
    with pytest.raises(PeopleMixed, match=r"^b\.jpg: .* that of a\.jpg$"):
        check.require_one_person([first, *again, other])
    assert check.require_one_person([first, *again]) is None


@pytest.mark.parametrize(
    "names",
    [
        ("exp_5.jpg", "exp_2.jpg"),
        ("AFLW2000_image02202.jpg", "exp_5.jpg"),
        ("exp_0.jpg", "examples_IMG_0392_inputs.jpg"),
    ],
)
def test_two_people_never_pass_in_silence(
    engine: OpenEngine, view: View, shared: Path, settings: Settings, names: tuple[str, ...]
) -> None:
    views = [view(load_photo(shared / "photos" / n, settings=settings)) for n in names]
    try:
        said = {c.code: c.message for c in engine.coarse(views, OPTIONS).fit.warnings}
    except PeopleMixed as error:
        assert error.detail["photo"] == names[1]
    else:
        assert said["people_maybe_mixed"].startswith(f"{names[1]}: ")


def test_pictures_of_one_random_head_are_not_refused(engine: OpenEngine, view: View) -> None:
    for seed in (51, 52, 53):
        _, pictures = portraits(engine, seed, 3)
        warnings = engine.coarse([view(p.photo) for p in pictures], OPTIONS).fit.warnings
        assert "people_maybe_mixed" not in {c.code for c in warnings}


def test_the_mouth_is_said_to_be_open_alone_and_in_a_set_alike(
    engine: OpenEngine, view: View, shared: Path, settings: Settings
) -> None:
    smile, still = (view(load_photo(shared / "photos" / n, settings=settings)) for n in ("exp_5.jpg", "exp_2.jpg"))
    for views in ([smile], [smile, still], [still, smile]):
        assert "mouth_open" not in {c.code for c in engine.coarse(views, OPTIONS).fit.warnings}
    wide = view(load_photo(shared / "photos" / "examples_image02673.png", settings=settings))
    assert "mouth_open" in codes(engine, wide)


def test_what_covers_a_face_is_named(engine: OpenEngine, one: PhotoView) -> None:
    quality = Quality(Verdict.FAIR, ("covered",), {"cover_left_brow": 1.2, "cover_right_jaw": 1.1, "cover_mouth": 0.4})
    seen = replace(one, face=replace(one.face, quality=quality))
    (caution,) = (c for c in engine.coarse([seen], OPTIONS).fit.warnings if c.code == "covered")
    assert "left brow and right jaw;" in caution.message


def test_a_damaged_people_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "people.npz"
    path.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(ModelFileInvalid, match=r"people\.npz"):
        OpenEngine(people_file=path)


def codes(engine: OpenEngine, seen: PhotoView) -> set[str]:
    return {c.code for c in engine.coarse([seen], OPTIONS).fit.warnings}


def test_a_plain_portrait_needs_no_caution(engine: OpenEngine, head: Head) -> None:
    assert head.fit.warnings == ()


def test_side_light_is_said(engine: OpenEngine, one: PhotoView) -> None:
    nose = float(one.face.landmarks[1, 0])
    dark = one.photo.pixels.astype(np.float64)
    dark[:, int(nose) :] *= 0.45
    assert "strong_light" in codes(engine, replace(one, photo=replace(one.photo, pixels=dark.astype(np.uint8))))


def test_glasses_are_suspected(engine: OpenEngine, one: PhotoView) -> None:
    pixels = one.photo.pixels.copy()
    right, left = (one.face.landmarks[i, :2].astype(int) for i in (33, 263))
    middle = one.face.landmarks[168, :2].astype(int)
    cv2.line(pixels, tuple(right), tuple(middle), (20, 20, 20), 5)
    cv2.line(pixels, tuple(middle), tuple(left), (20, 20, 20), 5)
    assert "glasses" in codes(engine, replace(one, photo=replace(one.photo, pixels=pixels)))


def test_a_bearded_chin_is_suspected(engine: OpenEngine, one: PhotoView) -> None:
    pixels = one.photo.pixels.copy()
    jaw = one.face.landmarks[[132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361], :2]
    low = np.concatenate([jaw, one.face.landmarks[[425, 287, 17, 57, 205], :2]])
    inside = cv2.fillPoly(np.zeros(pixels.shape[:2], np.uint8), [low.astype(np.int32)], 1).astype(bool)
    stubble = np.random.default_rng(1).uniform(0.15, 1.0, inside.sum())
    pixels[inside] = (pixels[inside] * stubble[:, None]).astype(np.uint8)
    assert "beard" in codes(engine, replace(one, photo=replace(one.photo, pixels=pixels)))


def test_the_detectors_reasons_are_put_in_words(engine: OpenEngine, one: PhotoView) -> None:
    quality = Quality(Verdict.POOR, ("blurred", "covered"))
    made = engine.coarse([replace(one, face=replace(one.face, quality=quality))], OPTIONS)
    said = {c.code: c.message for c in made.fit.warnings}
    assert said["blurred"].startswith(f"{one.photo.name}: ")
    assert "covered" in said["covered"]


def test_a_turned_and_small_face_is_said(engine: OpenEngine, one: PhotoView) -> None:
    assert {"turned_away", "too_small"} <= codes(engine, replace(one, face=replace(one.face, yaw=38.0, size=90.0)))


def test_a_complete_head_has_textures_and_hair(engine: OpenEngine, one: PhotoView, head: Head) -> None:
    made = engine.complete([one], head, ReconstructOptions(detail=False, hair="short01"))
    assert made.textures is not None
    assert made.textures.photo.shape == (1024, 1024, 3)
    assert "short01" in {h.name for h in made.hair}
    assert made.fit is head.fit


def test_views_of_another_head_are_refused(engine: OpenEngine, one: PhotoView, head: Head) -> None:
    with pytest.raises(OptionInvalid, match="expected the 1 views"):
        engine.complete([one, one], head, OPTIONS)
