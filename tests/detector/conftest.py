"""The detector and the photo that the room's tests look at."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from maquette.settings import Settings
from maquette.types import Face, Photo
from services.detector.detector import Detector
from services.detector.photo import load_photo


@pytest.fixture(scope="session")
def detector(settings: Settings) -> Detector:
    return Detector(settings)


@pytest.fixture(scope="session")
def astronaut(sample: Path, settings: Settings) -> Photo:
    return load_photo(sample, settings=settings)


@pytest.fixture(scope="session")
def face(detector: Detector, astronaut: Photo) -> Face:
    (only,) = detector.detect(astronaut)
    return only


@pytest.fixture(scope="session")
def as_photo() -> Callable[[np.ndarray], Photo]:
    return lambda pixels: Photo(np.ascontiguousarray(pixels, np.uint8), None, "test", "")


@pytest.fixture(scope="session")
def turned(astronaut: Photo, face: Face) -> Callable[[float], tuple[Photo, np.ndarray]]:
    """The sample turned clockwise about its face, and where the face's landmarks then are, (478, 2)."""

    def turn(degrees: float) -> tuple[Photo, np.ndarray]:
        x, y = (face.box[:2] + face.box[2:]) / 2
        matrix = cv2.getRotationMatrix2D((float(x) - 0.5, float(y) - 0.5), -degrees, 1)
        matrix[:, 2] += np.array([256, 256]) - [x, y]
        pixels = cv2.warpAffine(astronaut.pixels, matrix, (512, 512), flags=cv2.INTER_CUBIC)
        edges = matrix.copy()
        edges[:, 2] += 0.5 - edges[:, :2] @ [0.5, 0.5]
        return Photo(pixels, None, f"turned by {degrees}", ""), face.landmarks[:, :2] @ edges[:, :2].T + edges[:, 2]

    return turn
