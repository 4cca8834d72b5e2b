"""The landmark prior says what landmarks tell about an identity."""

from pathlib import Path

import numpy as np
import pytest

from maquette.errors import ModelFileInvalid
from maquette.geometry.transform import rotation_x, rotation_y
from maquette.headmodel import HeadModel, load_head_model
from maquette.headmodel.model import pack
from services.detector.topology import MIRROR
from services.reconstructor.engines.open.prior import DEFAULT_FILE, FORMAT, LandmarkPrior, signature
from training.prior import FaceRuler, arrays_of, fit, mirror_codes, sample

_FLIP = np.array([1.0, -1.0, -1.0])


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


@pytest.fixture(scope="module")
def prior(model: HeadModel) -> LandmarkPrior:
    return LandmarkPrior.load(model)


def _seen(model: HeadModel, count: int, seed: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Codes and landmarks of turned heads, as a perfect or noisy network would see them: pixels, y down."""
    rng = np.random.default_rng(seed)
    codes = rng.normal(0, 1, (count, len(model.identity_modes)))
    corners, weights = model.landmark_vertices, model.landmark_weights
    mean = np.einsum("lkc,lk->lc", model.mean[corners], weights)
    modes = np.einsum("mlkc,lk->mlc", model.identity_modes[:, corners], weights)
    points = mean + np.tensordot(codes, modes, 1)
    points = points + rng.normal(0, noise, points.shape)
    for k in range(count):
        turn = rotation_x(rng.normal(0, 6)) @ rotation_y(rng.normal(0, 12))
        points[k] = (points[k] @ turn.T) * _FLIP * rng.uniform(1, 3) + rng.uniform(100, 400, 3) * [1, 1, 0]
    return codes, points.astype(np.float32)


def test_a_ridge_learns_identities_from_landmarks(model: HeadModel) -> None:
    codes, points = _seen(model, 500, 0, 0.5)
    samples = sample(model, points)
    both = np.concatenate([codes, codes @ mirror_codes(model)])
    held_out = np.arange(len(both)) % len(codes) % 5 == 0
    ridge = fit(samples, both, ~held_out)
    guess = ridge.features(samples.shapes[held_out], samples.turns[held_out]) @ ridge.weights
    r2 = 1 - ((guess - both[held_out]) ** 2).mean(0) / both[held_out].var(0)
    assert r2[:5].min() > 0.5
    mine, theirs = guess[:30], both[held_out][:30]
    ruler = FaceRuler(model)
    error = np.mean([ruler(g, c) for g, c in zip(mine, theirs, strict=True)])
    nothing = np.mean([ruler(0 * c, c) for c in theirs])
    assert error < 0.6 * nothing


def test_a_trained_prior_survives_its_file(model: HeadModel, tmp_path: Path) -> None:
    codes, points = _seen(model, 200, 1, 1.0)
    samples = sample(model, points)
    both = np.concatenate([codes, codes @ mirror_codes(model)])
    ridge = fit(samples, both, np.ones(len(both), bool))
    path = tmp_path / "prior.npz"
    variance = np.full(len(model.identity_modes), 0.5, np.float32)
    pack(path, {"format": FORMAT}, arrays_of(model, ridge, ridge, variance))
    loaded = LandmarkPrior.load(model, path)
    guess, spread = loaded.predict(points[0], points[0])
    exact = ridge.predict(points[0].astype(np.float64))
    assert np.abs(guess - exact).max() < 0.05
    np.testing.assert_array_equal(spread, variance)


def test_the_guess_is_of_the_right_shape_and_always_the_same(model: HeadModel, prior: LandmarkPrior) -> None:
    _, points = _seen(model, 1, 2, 1.0)
    guess, variance = prior.predict(points[0], points[0])
    assert guess.shape == variance.shape == (len(model.identity_modes),)
    assert guess.dtype == variance.dtype == np.float32
    assert (variance > 0).all()
    assert (variance < 2).all()
    again, _ = prior.predict(points[0], points[0])
    assert guess.tobytes() == again.tobytes()


def test_size_and_place_in_the_picture_do_not_matter(model: HeadModel, prior: LandmarkPrior) -> None:
    _, points = _seen(model, 1, 3, 1.0)
    moved = points[0] * np.float32(1.7) + np.array([300, -120, 0], np.float32)
    near, far = prior.predict(points[0], points[0])[0], prior.predict(moved, moved)[0]
    np.testing.assert_allclose(near, far, atol=2e-3)


def test_a_mirrored_face_gives_the_mirrored_head(model: HeadModel, prior: LandmarkPrior) -> None:
    _, points = _seen(model, 1, 4, 1.0)
    mirrored = points[0][MIRROR] * np.array([-1, 1, 1], np.float32)
    guess, twin = prior.predict(points[0], points[0])[0], prior.predict(mirrored, mirrored)[0]
    expected = guess @ mirror_codes(model)
    ruler = FaceRuler(model)
    assert ruler(twin, expected) < 0.25 * ruler(0 * guess, guess)


def test_the_shipped_prior_is_small(prior: LandmarkPrior) -> None:
    assert DEFAULT_FILE.stat().st_size < 5_000_000
    assert len(prior.variance) == prior.plain.weights.shape[1]


def test_a_missing_prior_is_named(model: HeadModel, tmp_path: Path) -> None:
    with pytest.raises(ModelFileInvalid, match=r"absent\.npz"):
        LandmarkPrior.load(model, tmp_path / "absent.npz")


def test_a_damaged_prior_is_named(model: HeadModel, tmp_path: Path) -> None:
    path = tmp_path / "prior.npz"
    path.write_bytes(DEFAULT_FILE.read_bytes()[:20_000])
    with pytest.raises(ModelFileInvalid, match="not a readable"):
        LandmarkPrior.load(model, path)


@pytest.mark.parametrize("fault", ["modes", "missing", "features"])
def test_a_prior_of_another_head_model_is_refused(model: HeadModel, tmp_path: Path, fault: str) -> None:
    codes, points = _seen(model, 200, 5, 1.0)
    samples = sample(model, points)
    both = np.concatenate([codes, codes @ mirror_codes(model)])
    ridge = fit(samples, both, np.ones(len(both), bool))
    arrays = arrays_of(model, ridge, ridge, np.ones(len(model.identity_modes), np.float32))
    if fault == "modes":
        arrays["signature"] = np.asarray(signature(model)[::-1], np.float16)
    elif fault == "missing":
        del arrays["plain_weights"]
    else:
        arrays["plain_weights"] = arrays["plain_weights"][:-1]
    path = tmp_path / "prior.npz"
    pack(path, {"format": FORMAT}, arrays)
    with pytest.raises(ModelFileInvalid, match=r"prior\.npz"):
        LandmarkPrior.load(model, path)
