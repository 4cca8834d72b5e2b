import numpy as np
import pytest

from maquette.headmodel import load_head_model
from maquette.measurements import PAIRS, measure


def ones(count: int) -> np.ndarray:
    return np.ones(count, np.float32)


def test_the_mean_head_has_human_measures() -> None:
    model = load_head_model()
    found = {m.name: m for m in measure(model, model.mean, ones(len(model.mean)), ones(len(model.mean)))}
    assert set(found) == set(PAIRS)
    # Ranges of adults in anthropometric surveys (e.g. Farkas 1994), widely drawn.
    expected = {
        "interpupillary_distance": (54, 74),
        "inner_eye_distance": (25, 40),
        "outer_eye_distance": (80, 105),
        "face_width": (115, 155),
        "jaw_width": (80, 125),
        "face_height": (95, 135),
        "nose_length": (40, 65),
        "nose_width": (25, 48),
        "mouth_width": (40, 65),
    }
    for name, (low, high) in expected.items():
        assert low < found[name].millimetres < high, name


def test_lengths_follow_the_size_of_the_head() -> None:
    model = load_head_model()
    n = len(model.mean)
    small = measure(model, model.mean, ones(n), ones(n))
    large = measure(model, (model.mean * 1.5).astype(np.float32), ones(n), ones(n))
    for a, b in zip(small, large, strict=True):
        assert b.millimetres == pytest.approx(1.5 * a.millimetres, rel=1e-4)


def test_uncertainty_and_evidence_come_from_the_ends() -> None:
    model = load_head_model()
    n = len(model.mean)
    sides = (model.mean[:, 0] > 0).astype(np.float32)
    mouth = next(m for m in measure(model, model.mean, 2 * ones(n), sides) if m.name == "mouth_width")
    assert mouth.uncertainty_mm == pytest.approx(2 * np.sqrt(2), rel=1e-5)
    assert mouth.determined == 0
