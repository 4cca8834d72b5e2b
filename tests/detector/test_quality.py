from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from maquette.settings import Settings
from maquette.types import Face, Photo, Quality, Verdict
from services.detector.cover import LEFT_LIDS, LIPS, RIGHT_LIDS
from services.detector.detector import Detector
from services.detector.obstacle import PARTS
from services.detector.photo import load_photo
from services.detector.quality import LIMITS

Judge = Callable[[np.ndarray], Quality]


@pytest.fixture(scope="module")
def quality(detector: Detector, as_photo: Callable[[np.ndarray], Photo]) -> Judge:
    return lambda pixels: detector.detect(as_photo(pixels))[0].quality


def enlarged(pixels: np.ndarray, scale: float) -> np.ndarray:
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=method)


def test_a_plain_portrait_is_good(face: Face) -> None:
    assert face.quality.verdict is Verdict.GOOD
    assert face.quality.reasons == ()
    assert {m for m, *_ in LIMITS.values()} <= set(face.quality.measures)
    assert all(np.isfinite(v) for v in face.quality.measures.values())


@pytest.mark.parametrize(
    ("scale", "verdict"), [(0.9, Verdict.FAIR), (0.6, Verdict.POOR), (0.28, Verdict.UNUSABLE)], ids=str
)
def test_few_pixels(quality: Judge, astronaut: Photo, scale: float, verdict: Verdict) -> None:
    small = enlarged(astronaut.pixels[:300, 80:380], scale)
    found = quality(small)
    assert "too_small" in found.reasons
    assert found.verdict is verdict


@pytest.mark.parametrize(
    ("sigma", "verdict"), [(0.003, Verdict.GOOD), (0.017, Verdict.FAIR), (0.03, Verdict.POOR)], ids=str
)
def test_blur(quality: Judge, astronaut: Photo, face: Face, sigma: float, verdict: Verdict) -> None:
    found = quality(cv2.GaussianBlur(astronaut.pixels, (0, 0), sigma * face.size))
    assert found.verdict is verdict
    assert ("blurred" in found.reasons) is (verdict is not Verdict.GOOD)
    assert "covered" not in found.reasons


def test_too_much_and_too_little_light(quality: Judge, astronaut: Photo) -> None:
    bright = quality(np.clip(astronaut.pixels * 1.9 + 20, 0, 255))
    assert "over_exposed" in bright.reasons
    dark = quality(astronaut.pixels * 0.13)
    assert "under_exposed" in dark.reasons
    assert dark.verdict is Verdict.POOR


def test_a_face_that_leaves_the_photo(quality: Judge, astronaut: Photo) -> None:
    found = quality(astronaut.pixels[:, :232])
    assert "cut_off" in found.reasons
    assert found.verdict is not Verdict.GOOD


def quad(face: Face, parts: tuple[int, ...], width: float, height: float) -> np.ndarray:
    """Corners of a rectangle over landmarks, its size in parts of the face's."""
    points = face.landmarks[:, :2].astype(float)
    across = points[263] - points[33]
    across /= np.linalg.norm(across)
    down = np.array([-across[1], across[0]])
    centre = points[list(parts)].mean(0)
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    outline = [centre + face.size / 2 * (a * width * across + b * height * down) for a, b in corners]
    return np.round(outline).astype(np.int32)


EYES = (*RIGHT_LIDS, *LEFT_LIDS)
BLACK, BLUE, GREEN = (0, 0, 0), (150, 190, 215), (60, 140, 70)


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize(
    ("parts", "width", "height", "colour", "covered"),
    [
        (EYES, 0.9, 0.25, BLACK, ("right_eye", "left_eye")),
        (EYES, 0.9, 0.25, GREEN, ("right_eye", "left_eye")),
        (RIGHT_LIDS, 0.35, 0.28, BLACK, ("right_eye",)),
        (LEFT_LIDS, 0.35, 0.28, GREEN, ("left_eye",)),
        (LIPS, 0.6, 0.35, BLUE, ("mouth",)),
        (LIPS, 0.6, 0.35, BLACK, ("mouth",)),
    ],
)
def test_patches_over_eyes_and_mouth(
    quality: Judge,
    astronaut: Photo,
    face: Face,
    parts: tuple[int, ...],
    width: float,
    height: float,
    colour: tuple[int, int, int],
    covered: tuple[str, ...],
    grey: bool,
) -> None:
    pixels = astronaut.pixels.copy()
    cv2.fillPoly(pixels, [quad(face, parts, width, height)], colour)
    if grey:
        pixels = np.dstack([cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)] * 3)
    found = quality(pixels)
    assert "covered" in found.reasons
    assert found.verdict is Verdict.POOR
    parts_covered = [p for p in ("right_eye", "left_eye", "mouth") if found.measures[f"cover_{p}"] >= 1]
    assert parts_covered == list(covered)


@pytest.mark.parametrize("parts", [RIGHT_LIDS, LIPS], ids=["eye", "mouth"])
def test_a_hand_has_the_colour_of_skin_but_neither_eye_nor_lips(
    quality: Judge, astronaut: Photo, face: Face, parts: tuple[int, ...]
) -> None:
    x, y = face.landmarks[50, :2].astype(int)
    skin = np.median(astronaut.pixels[y - 4 : y + 4, x - 4 : x + 4], axis=(0, 1))
    height, width = astronaut.pixels.shape[:2]
    fingers = skin * (1 + 0.1 * np.sin(np.arange(width) / face.size * 40))[None, :, None] * np.ones((height, 1, 1))
    over = cv2.fillPoly(np.zeros((height, width), np.float32), [quad(face, parts, 0.6, 0.4)], 1)
    over = cv2.GaussianBlur(over, (0, 0), 0.01 * face.size)[..., None]
    assert "covered" in quality(astronaut.pixels * (1 - over) + fingers * over).reasons


def lenses(pixels: np.ndarray, face: Face, thickness: int) -> np.ndarray:
    out = pixels.copy()
    for lids in (RIGHT_LIDS, LEFT_LIDS):
        x, y = face.landmarks[list(lids), :2].mean(0).astype(int)
        axes = (int(0.17 * face.size), int(0.14 * face.size))
        cv2.ellipse(out, (x, y), axes, face.roll, 0, 360, (22, 18, 18), thickness, cv2.LINE_AA)
    return out


def test_sunglasses_cover_and_spectacles_do_not(quality: Judge, astronaut: Photo, face: Face) -> None:
    assert "covered" in quality(lenses(astronaut.pixels, face, -1)).reasons
    assert "covered" not in quality(lenses(astronaut.pixels, face, 2)).reasons


JAW = (
    93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 426, 393, 2, 167, 206,
)  # fmt: skip


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize("hair", [(20, 17, 16), (45, 32, 25), (150, 145, 140)], ids=["black", "brown", "grey"])
def test_a_beard_covers_nothing(
    quality: Judge, astronaut: Photo, face: Face, hair: tuple[int, int, int], grey: bool
) -> None:
    pixels = astronaut.pixels.astype(float)
    over = np.zeros(pixels.shape[:2], np.uint8)
    for outline, value in ((JAW, 255), (LIPS, 0)):
        cv2.fillPoly(over, [face.landmarks[list(outline), :2].astype(np.int32)], value)
    weight = cv2.GaussianBlur(over / 255, (0, 0), 0.012 * face.size)[..., None]
    strands = np.exp(0.4 * np.random.default_rng(0).normal(size=(*over.shape, 1)))
    bearded = np.clip(pixels * (1 - weight) + np.array(hair) * strands * weight, 0, 255).astype(np.uint8)
    if grey:
        bearded = np.dstack([cv2.cvtColor(bearded, cv2.COLOR_RGB2GRAY)] * 3)
    assert "covered" not in quality(bearded).reasons


def test_light_from_one_side_covers_nothing(quality: Judge, astronaut: Photo, face: Face) -> None:
    x = (np.arange(astronaut.width) - face.landmarks[1, 0]) / face.size
    light = 0.08 + 0.92 / (1 + np.exp(-12 * x))
    pixels = 255 * ((astronaut.pixels / 255) ** 2.2 * light[None, :, None]) ** (1 / 2.2)
    assert "covered" not in quality(pixels).reasons


def test_photographs_without_a_fault_have_none(detector: Detector, shared: Path, settings: Settings) -> None:
    faults = {
        "AFLW2000_image00480.jpg": (),
        "AFLW2000_image02202.jpg": (),
        "examples_IMG_0392_inputs.jpg": (),
        "examples_image02673.png": ("mouth_open",),
        "exp_0.jpg": (),
        "exp_2.jpg": (),
        "exp_5.jpg": (),
    }
    for name, expected in faults.items():
        found = detector.detect(load_photo(shared / "photos" / name, settings=settings))
        assert found[0].quality.reasons == expected, name


@pytest.mark.parametrize(
    ("name", "part"), [("AFLW2000_image04085.jpg", "right_jaw"), ("AFLW2000_image00302.jpg", "left_brow")]
)
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_hand_at_the_jaw_and_a_lock_over_the_brow_cover_that_side(
    detector: Detector, shared: Path, settings: Settings, name: str, part: str, mirrored: bool
) -> None:
    photo = load_photo(shared / "photos" / name, settings=settings)
    if mirrored:
        photo = replace(photo, pixels=np.ascontiguousarray(photo.pixels[:, ::-1]))
        side, rest = part.split("_")
        part = f"{'left' if side == 'right' else 'right'}_{rest}"
    found = detector.detect(photo)[0].quality
    assert found.reasons == ("covered",)
    assert found.verdict is Verdict.FAIR
    assert [p for p in PARTS if found.measures[f"cover_{p}"] >= 1] == [part]


def lock_over(brow: tuple[int, ...], points: np.ndarray) -> np.ndarray:
    """Outline of hair that falls from the middle of the forehead over a brow and the lid's fold to the temple."""
    own, centre = points[list(brow)], points[list(brow)].mean(0)
    grown = centre + 1.5 * (own - centre)
    over = [*grown, points[10], points[127 if 70 in brow else 356]]
    lids = points[[33, 133, 159] if 70 in brow else [263, 362, 386]]
    return cv2.convexHull(np.round(np.concatenate([over, lids])).astype(np.int32))


@pytest.mark.parametrize("brow", [(70, 63, 105, 66, 107, 46, 53, 52, 65, 55), (300, 293, 334, 296, 336, 276, 283, 282)])
def test_a_dark_lock_over_one_brow_covers_it(
    quality: Judge, astronaut: Photo, face: Face, brow: tuple[int, ...]
) -> None:
    pixels = astronaut.pixels.copy()
    cv2.fillPoly(pixels, [lock_over(brow, face.landmarks[:, :2].astype(float))], (38, 28, 24))
    found = quality(pixels)
    part = "right_brow" if 70 in brow else "left_brow"
    assert found.measures[f"cover_{part}"] >= 1
    assert "covered" in found.reasons
    assert quality(astronaut.pixels).measures["cover_side"] < 0.75


@pytest.mark.parametrize("name", ["james_y40.jpg", "lps_y40.jpg"])
def test_a_face_turned_by_40_degrees_is_turned_but_usable(
    detector: Detector, shared: Path, settings: Settings, name: str
) -> None:
    (face,) = detector.detect(load_photo(shared / "bench" / "images" / name, settings=settings))
    assert face.yaw == pytest.approx(-40, abs=5)
    assert face.quality.reasons == ("turned_away",)
    assert face.quality.verdict is Verdict.FAIR
