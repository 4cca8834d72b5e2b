"""Calibration finds a habit of the networks that all photos share."""

import numpy as np
import pytest

from maquette.geometry.transform import rotation_x, rotation_y
from maquette.headmodel import HeadModel, load_head_model
from maquette.types import Camera, Float64
from services.detector.topology import MESH_LANDMARKS
from services.reconstructor.engines.open.evidence import gather
from training.calibration import calibrate

NOSE_TIP = 4


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


def _photos(model: HeadModel, habit: Float64, count: int) -> list[tuple[Float64, Camera]]:
    rng = np.random.default_rng(0)
    points = np.concatenate([gather(model).points, model.landmarks(model.mean)[MESH_LANDMARKS:]]) + habit
    seen = []
    for _ in range(count):
        turn = np.diag([1.0, -1.0, -1.0]) @ rotation_x(rng.normal(0, 5)) @ rotation_y(rng.normal(0, 10))
        camera = Camera(1500.0, np.full(2, 256.0), turn, np.array([0, 0, 1000.0]), 512, 512)
        pixels = camera.project(points) + rng.normal(0, 0.5, (len(points), 2))
        seen.append((np.concatenate([pixels, np.zeros((len(points), 1))], 1), camera))
    return seen


def test_a_shared_habit_is_found_where_it_is(model: HeadModel) -> None:
    habit = np.zeros((len(model.landmark_vertices), 3))
    habit[NOSE_TIP] = [0, 3, 0]
    offset = calibrate(model, _photos(model, habit, 20))
    assert offset[NOSE_TIP, 1] > 2
    rest = np.delete(np.linalg.norm(offset, axis=1), NOSE_TIP)
    assert np.median(rest) < 0.3


def test_without_a_habit_nothing_is_found(model: HeadModel) -> None:
    offset = calibrate(model, _photos(model, np.zeros((len(model.landmark_vertices), 3)), 20))
    assert np.sqrt((offset**2).sum(1).mean()) < 0.3
    np.testing.assert_array_equal(offset[MESH_LANDMARKS:], 0)
