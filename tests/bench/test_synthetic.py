"""Heads with known shape in pictures made by the benchmark."""

import json

import numpy as np
import pytest

from maquette.benchmarks.portraits import SIZE, draw_identity, draw_portrait
from maquette.benchmarks.synthetic import Pair, distance, run, summary
from maquette.headmodel import HeadModel, load_head_model


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


def test_the_same_stream_makes_the_same_picture(model: HeadModel) -> None:
    first, second, other = (
        draw_portrait(model, draw_identity(model, rng), rng, "x").photo.pixels
        for rng in (np.random.default_rng(s) for s in (1, 1, 2))
    )
    assert first.tobytes() == second.tobytes() != other.tobytes()
    assert first.shape == (SIZE, SIZE, 3)


def test_a_portrait_shows_the_head_where_its_camera_says(model: HeadModel) -> None:
    rng = np.random.default_rng(3)
    noise = 2.0
    portrait = draw_portrait(model, draw_identity(model, rng) * 0, rng, "x")
    points = portrait.camera.project(model.vertices(None, portrait.expression).astype(np.float64))
    pupils = model.landmarks(model.vertices(None, portrait.expression))[[468, 473]].astype(np.float64)
    inside = ((points > 0) & (points < SIZE)).all(1)
    assert inside.mean() > 0.8
    for x, y in portrait.camera.project(pupils):
        around = portrait.photo.pixels[int(y) - 12 : int(y) + 12, int(x) - 12 : int(x) + 12].astype(float)
        assert np.ptp(around.mean(2)) > 20 * noise


def test_distance_ignores_place_direction_and_size(model: HeadModel) -> None:
    face = model.region("face")
    moved = (1.2 * model.mean[:, [1, 2, 0]] + 7).astype(np.float32)
    assert distance(moved, model.mean, face) < 1e-3
    assert distance(model.vertices(np.array([2.0, -2.0, 2.0])), model.mean, face) > 0.5


def test_the_summary_measures_gain_repeatability_and_certainty(model: HeadModel) -> None:
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(4):
        code = rng.normal(0, 0.9, len(model.identity_modes))
        truth = model.vertices(code)
        guesses = tuple(model.vertices(code * k) for k in (0.5, 0.6))
        sure = np.full(len(truth), 100.0, np.float32)
        pairs.append(Pair(truth, guesses, (sure, 0 * sure)))
    found = summary(model, pairs)
    # A head a half and four tenths of the way off.
    assert found["gain_percent"] == pytest.approx(55, abs=3)
    assert found["repeatability_mm"] < 0.2 * found["between_heads_mm"]
    assert found["within_two_sigma"] == pytest.approx(0.5, abs=0.02)


def test_the_benchmark_finds_the_fit_good_enough(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(6, json=True)  # few heads: the whole benchmark asks for more
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(result))
    assert result["failed"] == 0
    assert result["face_error_mm"] < 2.7
    assert result["gain_percent"] > 8
    assert result["repeatability_ratio"] < 0.5
    assert 0.85 < result["within_two_sigma"] < 0.995


def test_errors_as_large_as_their_sigma_give_a_ratio_of_one(model: HeadModel) -> None:
    rng = np.random.default_rng(1)
    truth = model.vertices(rng.normal(0, 0.9, len(model.identity_modes)))
    sigma = np.full(len(truth), 0.5, np.float32)
    sigma[model.region("bust")] = 2.0
    noisy = [(truth + sigma[:, None] * rng.normal(size=truth.shape)).astype(np.float32) for _ in range(2)]
    found = summary(model, [Pair(truth, (noisy[0], noisy[1]), (sigma, sigma)), Pair(truth, (noisy[0],), (sigma,))])
    assert [found[f"error_by_sigma_{r}"] for r in ("face", "scalp", "bust")] == pytest.approx([1, 1, 1], abs=0.03)
