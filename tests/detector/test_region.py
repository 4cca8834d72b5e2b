import math

import cv2
import numpy as np
import pytest

from services.detector.region import Pyramid, Region


def ramp(width: int, height: int) -> np.ndarray:
    """A picture whose first two channels are the coordinates of the pixels' centres."""
    y, x = np.mgrid[:height, :width] + 0.5
    return np.stack([x, y, np.zeros_like(x)], -1).round().astype(np.uint8)


@pytest.mark.parametrize("size", [24.0, 48.0, 100.0, 190.0])
@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2, -2.2])
def test_a_sample_shows_what_lies_there(size: float, angle: float) -> None:
    region = Region(120.3, 110.7, size, angle)
    side = 32
    drawn = region.sample(Pyramid(ramp(240, 230)), side).astype(float)
    centres = np.stack(np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5), -1)
    to_photo = region.to_photo(side)
    where = centres @ to_photo[:, :2].T + to_photo[:, 2]
    # Halvings blur the border by up to one of their pixels.
    inside = ((where > 12) & (where < [228, 218])).all(-1)
    assert inside.mean() > 0.5
    assert np.abs(drawn[..., :2] - where)[inside].max() < 1.3


def test_the_middle_of_a_region_is_the_middle_of_its_sample() -> None:
    to_photo = Region(50, 60, 20, 1.0).to_photo(64)
    np.testing.assert_allclose(to_photo @ [32, 32, 1], [50, 60])
    # Clockwise as seen: along its own x axis a region turned by a quarter runs down the photo.
    np.testing.assert_allclose(Region(50, 60, 64, math.pi / 2).to_photo(64)[:, :2] @ [1, 0], [0, 1], atol=1e-12)


def test_the_photo_is_continued_beyond_its_border() -> None:
    pixels = np.full((10, 10, 3), 200, np.uint8)
    assert (Region(0, 0, 40, 0.3).sample(Pyramid(pixels), 16) == 200).all()
    assert (Region(500, 500, 400, 0).sample(Pyramid(pixels), 16) == 200).all()


def test_a_fine_pattern_becomes_grey_not_a_coarse_pattern() -> None:
    y, x = np.mgrid[:512, :512]
    pattern = np.dstack([((x + y) % 2 * 255).astype(np.uint8)] * 3)
    drawn = Region(256, 256, 500, 0.2).sample(Pyramid(pattern), 64)
    assert np.abs(drawn.astype(int) - 127.5).max() < 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 77), (77, 1), (5, 3), (33, 65)])
def test_a_pyramid_of_any_photo_goes_down_to_one_pixel(shape: tuple[int, int]) -> None:
    photo = Pyramid(np.full((*shape, 3), 50, np.uint8))
    assert photo.level(9).shape == (1, 1, 3)
    assert (photo.level(9) == 50).all()
    for scale in (0.01, 0.3, 1.0, 2.5):
        small, scales = photo.shrunk(scale)
        assert (small == 50).all()
        np.testing.assert_allclose(scales * shape[::-1], small.shape[1::-1])


def test_a_level_is_the_mean_of_the_pixels_above() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    expected = pixels.reshape(16, 4, 24, 4, 3).mean((1, 3))
    assert np.abs(Pyramid(pixels).level(2) - expected).max() <= 1
    small, _ = Pyramid(pixels).shrunk(0.25)
    assert np.abs(small - cv2.resize(pixels, (24, 16), interpolation=cv2.INTER_AREA).astype(float)).max() <= 1
