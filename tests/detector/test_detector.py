import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from maquette.errors import NetworkFilesMissing, NoFaceFound
from maquette.settings import Settings
from maquette.types import Face, Photo
from services.detector.detector import Detector

AsPhoto = Callable[[np.ndarray], Photo]
Turned = Callable[[float], tuple[Photo, np.ndarray]]


def error_of(found: Face, expected: np.ndarray) -> float:
    """Mean distance of the landmarks in parts of the face's size."""
    return float(np.linalg.norm(found.landmarks[:, :2] - expected[:, :2], axis=1).mean()) / found.size


def test_the_sample_has_one_face(face: Face) -> None:
    assert face.landmarks.shape == face.plain_landmarks.shape == face.canonical.shape == (478, 3)
    assert {a.dtype for a in (face.box, face.landmarks, face.plain_landmarks, face.canonical)} == {np.dtype("f4")}
    np.testing.assert_allclose((face.box[:2] + face.box[2:]) / 2, (224, 120), atol=8)
    assert face.size == pytest.approx(108, rel=0.08)
    assert face.score > 0.99
    assert abs(face.yaw) < 6
    assert abs(face.pitch) < 12
    assert abs(face.roll) < 6
    pupils = np.linalg.norm(face.canonical[468] - face.canonical[473])
    assert 55 < pupils < 70


def test_the_same_photo_gives_the_same_numbers(detector: Detector, settings: Settings, astronaut: Photo) -> None:
    (first,) = detector.detect(astronaut)
    (second,) = Detector(settings).detect(astronaut)
    for name in ("box", "landmarks", "plain_landmarks", "canonical"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert first.quality == second.quality


@pytest.mark.parametrize("degrees", range(0, 360, 15))
def test_a_face_is_found_whichever_way_up(detector: Detector, turned: Turned, face: Face, degrees: int) -> None:
    photo, expected = turned(degrees)
    (found,) = detector.detect(photo)
    assert error_of(found, expected) < 0.01
    assert (found.roll - face.roll - degrees + 180) % 360 - 180 == pytest.approx(0, abs=2)
    assert found.yaw == pytest.approx(face.yaw, abs=3)


def group(astronaut: Photo, face: Face, size: tuple[int, int], side: float, places: list[tuple[int, int]]) -> Photo:
    """A photo of several faces ``side`` pixels large."""
    scale = side / face.size
    cut = astronaut.pixels[int(face.box[1]) - 60 : int(face.box[3]) + 40, int(face.box[0]) - 45 : int(face.box[2]) + 45]
    small = cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(3).integers(60, 180, (size[1] // 60, size[0] // 60, 3), np.uint8)
    pixels = cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
    for k, (x, y) in enumerate(places):
        person = small if k % 2 else small[:, ::-1]
        pixels[y : y + len(small), x : x + small.shape[1]] = person
    return replace(astronaut, pixels=pixels)


@pytest.mark.parametrize(("size", "side"), [((4000, 3000), 50.0), ((1600, 1200), 60.0), ((4000, 3000), 300.0)], ids=str)
def test_small_faces_of_a_group_are_found(
    detector: Detector, astronaut: Photo, face: Face, size: tuple[int, int], side: float
) -> None:
    places = [(size[0] * i // 7, size[1] * j // 5) for i in (1, 3, 5) for j in (1, 2, 3)]
    found = detector.detect(group(astronaut, face, size, side, places))
    assert len(found) == len(places)
    assert all(f.size == pytest.approx(side, rel=0.12) for f in found)


def test_a_group_lying_on_its_side_is_found(detector: Detector, astronaut: Photo, face: Face) -> None:
    places = [(150, 100), (700, 200), (1200, 900), (400, 700)]
    photo = group(astronaut, face, (1600, 1200), 80, places)
    found = detector.detect(replace(photo, pixels=np.ascontiguousarray(np.rot90(photo.pixels))))
    assert len(found) == len(places)
    assert all(abs(f.roll + 90) < 12 for f in found)


def test_faces_come_by_size_and_centrality(detector: Detector, astronaut: Photo, face: Face) -> None:
    photo = group(astronaut, face, (1200, 900), 110, [(30, 30), (520, 380), (1000, 650)])
    found = detector.detect(photo)
    assert len(found) == 3
    middle = (found[0].box[:2] + found[0].box[2:]) / 2
    np.testing.assert_allclose(middle, (600, 460), atol=60)
    larger = enlarged_corner(photo, astronaut, face)
    assert detector.detect(larger)[0].size > 1.6 * detector.detect(larger)[1].size


def enlarged_corner(photo: Photo, astronaut: Photo, face: Face) -> Photo:
    """The group with a face twice as large in a corner."""
    cut = astronaut.pixels[int(face.box[1]) - 60 : int(face.box[3]) + 40, int(face.box[0]) - 45 : int(face.box[2]) + 45]
    big = cv2.resize(cut, None, fx=2.2, fy=2.2, interpolation=cv2.INTER_CUBIC)
    pixels = photo.pixels.copy()
    pixels[: len(big), -big.shape[1] :] = big
    return replace(photo, pixels=pixels)


LOOKS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "black and white": (lambda p: np.dstack([cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)] * 3), 0.01),
    "faded": (lambda p: 110 + (p - 128.0) * 0.25, 0.012),
    "harsh": (lambda p: np.clip(128 + (p - 128.0) * 2.5, 0, 255), 0.015),
    "posterised": (lambda p: p // 64 * 64 + 32, 0.02),
    "dark": (lambda p: p * 0.2, 0.015),
    "old print": (
        lambda p: np.clip(
            cv2.GaussianBlur(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY), (0, 0), 1.2)[..., None] * [1, 0.85, 0.65]
            + np.random.default_rng(0).normal(0, 12, p.shape),
            0,
            255,
        ),
        0.02,
    ),
    "brush strokes": (lambda p: cv2.stylization(p, sigma_s=40, sigma_r=0.45), 0.03),
    "stone": (lambda p: 90 + 0.5 * cv2.edgePreservingFilter(p, sigma_s=40, sigma_r=0.4).mean(-1, keepdims=True), 0.02),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_face_is_found_in_prints_paintings_and_stone(
    detector: Detector, astronaut: Photo, face: Face, as_photo: AsPhoto, look: str
) -> None:
    change, tolerance = LOOKS[look]
    pixels = np.broadcast_to(change(astronaut.pixels), astronaut.pixels.shape)
    (found,) = detector.detect(as_photo(pixels))
    assert error_of(found, face.landmarks) < tolerance


def shapes(seed: int) -> np.ndarray:
    """A landscape of random discs, ellipses and quadrilaterals."""
    rng = np.random.default_rng(seed)
    pixels = np.full((480, 640, 3), rng.integers(0, 256, 3), np.uint8)
    for _ in range(60):
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        x, y, r = (int(v) for v in rng.integers((0, 0, 4), (640, 480, 120)))
        if rng.random() < 0.6:
            cv2.ellipse(pixels, (x, y), (r, int(r * rng.uniform(0.4, 1)) + 1), rng.uniform(0, 180), 0, 360, colour, -1)
        else:
            cv2.fillPoly(pixels, [(rng.integers(-r, r, (4, 2)) + np.array([x, y])).astype(np.int32)], colour)
    return pixels


def noise(cell: int) -> np.ndarray:
    small = np.random.default_rng(cell).integers(0, 256, (480 // cell + 1, 640 // cell + 1, 3), np.uint8)
    return cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC)


def text() -> np.ndarray:
    pixels = np.full((480, 640, 3), 250, np.uint8)
    for line in range(20):
        words = "".join(chr(33 + (7 * line + 13 * k) % 90) for k in range(36))
        cv2.putText(pixels, words, (8, 20 + 24 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (20, 20, 20), 2)
    return pixels


NO_FACES: dict[str, Callable[[], np.ndarray]] = {
    "black": lambda: np.zeros((480, 640, 3), np.uint8),
    "white": lambda: np.full((480, 640, 3), 255, np.uint8),
    **{f"noise {c}": (lambda c=c: noise(c)) for c in (1, 8, 40)},
    **{f"shapes {s}": (lambda s=s: shapes(s)) for s in range(4)},
    "text": text,
    "chess board": lambda: np.dstack([np.kron(np.indices((8, 10)).sum(0) % 2, np.ones((60, 60))) * 255] * 3),
    "a cat": skimage.data.chelsea,
    "a cup of coffee": skimage.data.coffee,
    "bricks": lambda: np.dstack([skimage.data.brick()] * 3),
    "grass": lambda: np.dstack([skimage.data.grass()] * 3),
    "coins": lambda: np.dstack([skimage.data.coins()] * 3),
    "the moon": lambda: np.dstack([skimage.data.moon()] * 3),
}


@pytest.mark.parametrize("what", NO_FACES)
def test_what_is_no_face_is_not_found(detector: Detector, as_photo: AsPhoto, what: str) -> None:
    with pytest.raises(NoFaceFound, match="no face found in test"):
        detector.detect(as_photo(NO_FACES[what]()))


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (65_535, 2), (7, 5), (30, 4000)])
def test_photos_of_any_shape_are_looked_at(detector: Detector, as_photo: AsPhoto, shape: tuple[int, int]) -> None:
    start = time.perf_counter()
    with pytest.raises(NoFaceFound):
        detector.detect(as_photo(np.full((*shape, 3), 90, np.uint8)))
    assert time.perf_counter() - start < 10


def test_a_detector_without_networks_says_so(tmp_path: Path) -> None:
    with pytest.raises(NetworkFilesMissing, match="maquette setup"):
        Detector(Settings(home=tmp_path))


def test_real_photographs_have_one_face_each(detector: Detector, shared: Path, settings: Settings) -> None:
    from services.detector.photo import load_photo

    for path in sorted([*(shared / "photos").iterdir(), *(shared / "bench" / "images").glob("*.jpg")]):
        (found,) = detector.detect(load_photo(path, settings=settings))
        assert found.score > 0.99, path.name
