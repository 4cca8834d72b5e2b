import numpy as np
import pytest

from maquette.networks import ATTENTION, ATTENTION_HEADS, ATTENTION_TRUNK, read_network
from maquette.settings import Settings
from maquette.types import Face, Photo
from services.detector.attention import AttentionMesh, _cut, _sampled
from services.detector.landmarks import frame
from services.detector.network import Network, unit_range
from services.detector.region import Pyramid
from services.detector.surgery import cut_attention
from services.detector.topology import ATTENTION_LIPS, LEFT_IRIS, RIGHT_IRIS


@pytest.fixture(scope="module")
def attention(settings: Settings) -> AttentionMesh:
    return AttentionMesh(
        Network(read_network(settings, ATTENTION_TRUNK)), Network(read_network(settings, ATTENTION_HEADS))
    )


@pytest.fixture(scope="module")
def crop(astronaut: Photo, face: Face) -> np.ndarray:
    return unit_range(frame(face.landmarks.astype(float)).sample(Pyramid(astronaut.pixels), 192))


def test_cutting_the_network_gives_the_installed_parts(settings: Settings) -> None:
    trunk, heads = cut_attention(read_network(settings, ATTENTION.name))
    assert trunk == read_network(settings, ATTENTION_TRUNK)
    assert heads == read_network(settings, ATTENTION_HEADS)


def test_a_cut_is_the_box_of_its_landmarks_half_as_large_again() -> None:
    box = np.array([[10.0, 20.0], [18.0, 20.0], [14.0, 18.0], [14.0, 24.0]])
    cut = _cut(box, box[:2])
    np.testing.assert_allclose(cut @ [8, 8, 1], [14, 21])
    np.testing.assert_allclose(cut @ [0, 0, 1], [14 - 1.5 * 4, 21 - 1.5 * 3])
    np.testing.assert_allclose(cut @ [16, 16, 1], [14 + 1.5 * 4, 21 + 1.5 * 3])


def test_a_cut_turns_with_its_landmarks() -> None:
    points = np.random.default_rng(0).uniform(10, 30, (12, 2))
    c, s = np.cos(0.7), np.sin(0.7)
    turn = np.array([[c, -s], [s, c]])
    straight, turned = _cut(points, points[:2]), _cut(points @ turn.T, points[:2] @ turn.T)
    np.testing.assert_allclose(turned, turn @ straight, atol=1e-9)


def test_sampling_is_bilinear_between_centres_and_zero_beyond_them() -> None:
    y, x = np.mgrid[:48, :48].astype(np.float32) + 0.5
    features = np.stack([x, y, np.ones_like(x)], -1)
    inside = _sampled(features, np.array([[1.5, 0.2, 5.3], [-0.1, 1.1, 9.8]]))
    u, v = np.meshgrid(np.arange(16) + 0.5, np.arange(16) + 0.5)
    np.testing.assert_allclose(inside[..., 0], 1.5 * u + 0.2 * v + 5.3, atol=1e-4)
    np.testing.assert_allclose(inside[..., 1], -0.1 * u + 1.1 * v + 9.8, atol=1e-4)
    half_out = _sampled(features, np.array([[1.0, 0, -8.0], [0, 1.0, 10.0]]))
    assert (half_out[:, :8] == 0).all()
    assert (half_out[:, 8:, 2] == 1).all()


def test_lips_and_irises_are_found(attention: AttentionMesh, crop: np.ndarray, face: Face) -> None:
    points, score = attention(crop)
    assert score > 0.99
    to_crop = frame(face.landmarks.astype(float)).to_photo(192)
    expected = (face.landmarks[:, :2] - to_crop[:, 2]) @ np.linalg.inv(to_crop[:, :2]).T
    lips = list(ATTENTION_LIPS)
    assert np.linalg.norm(points[lips, :2] - expected[lips], axis=1).mean() < 1.5
    # The pupil is the darkest spot of the eye.
    luma = crop.mean(-1)
    for iris in (RIGHT_IRIS, LEFT_IRIS):
        centre = points[iris[0], :2]
        rim = np.linalg.norm(points[list(iris[1:]), :2] - centre, axis=1)
        assert rim.max() < 1.3 * rim.min()
        x, y = np.floor(centre).astype(int)
        assert luma[y, x] < 0.6 * np.median(luma[y - 12 : y + 12, x - 12 : x + 12])
