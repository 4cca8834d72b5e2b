"""Teeth between the lips are told from an open mouth."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from maquette.headmodel import ARKIT_NAMES, HeadModel, load_head_model
from maquette.rooms import PhotoView
from maquette.types import Camera, Face, Mask, Photo, Quality, Verdict
from services.reconstructor.engines.open.sampling import MOUTH
from services.reconstructor.engines.open.teeth import teeth_shown

SIZE = 400
SKIN, LIPS = (205, 160, 135), (180, 100, 95)
WHITE, DARK, TONGUE = (215, 205, 185), (40, 20, 20), (170, 85, 85)
OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


def _view(model: HeadModel, jaw: float, inside: tuple[int, int, int], gain: float = 1.0) -> PhotoView:
    """A flat drawing of an open mouth."""
    weights = np.zeros(len(ARKIT_NAMES), np.float32)
    weights[ARKIT_NAMES.index("jawOpen")] = jaw
    camera = Camera(1500.0, np.full(2, SIZE / 2), np.diag([1.0, -1.0, -1.0]), np.array([0, 0, 1200.0]), SIZE, SIZE)
    points = camera.project(model.landmarks(model.vertices(None, weights)).astype(np.float64))
    image: NDArray[np.uint8] = np.full((SIZE, SIZE, 3), SKIN, np.uint8)
    for ring, colour in ((OUTER, LIPS), (MOUTH, inside)):
        cv2.fillPoly(image, [np.rint(points[list(ring)]).astype(np.int32)], colour)
    image = np.clip(image * gain, 0, 255).astype(np.uint8)
    landmarks = np.pad(points, ((0, 0), (0, 1))).astype(np.float32)
    box = np.concatenate([points.min(0), points.max(0)]).astype(np.float32)
    face = Face(box, landmarks, landmarks, landmarks, 0, 0, 0, 1, 200.0, Quality(Verdict.GOOD))
    mask = Mask(np.ones((8, 8), np.float32), np.array([[8 / SIZE, 0, 0], [0, 8 / SIZE, 0]]))
    return PhotoView(Photo(image, None, "drawn", "0" * 64), face, mask)


@pytest.mark.parametrize("gain", [0.4, 1.0])
def test_white_between_the_lips_is_teeth(gain: float, model: HeadModel) -> None:
    assert teeth_shown(_view(model, 0.3, WHITE, gain)) == 1


@pytest.mark.parametrize("inside", [DARK, TONGUE])
def test_a_dark_mouth_or_a_tongue_is_not(inside: tuple[int, int, int], model: HeadModel) -> None:
    assert teeth_shown(_view(model, 0.6, inside)) == 0


def test_closed_lips_show_none(model: HeadModel) -> None:
    assert teeth_shown(_view(model, 0.0, LIPS)) == 0
