import io

import numpy as np
import pytest
from PIL import Image

from maquette.errors import MeshInvalid
from services.meshproc.images import (
    DISPLACEMENT_RANGE_MM,
    PngOnce,
    displacement_levels,
    encode_jpeg,
    encode_png,
    encode_tiff,
)

RNG = np.random.default_rng(0)


def opened(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3), (7, 5, 4)])
def test_png_keeps_every_value_and_the_order_of_colours(shape):
    pixels = RNG.integers(0, 256, shape).astype(np.uint8)
    assert (opened(encode_png(pixels)) == pixels).all()


def test_png_of_sixteen_bits_keeps_every_value():
    pixels = RNG.integers(0, 65536, (9, 6)).astype(np.uint16)
    assert (opened(encode_png(pixels)) == pixels).all()


def test_jpeg_is_close_in_colour():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, :32] = (200, 40, 90)
    assert np.abs(opened(encode_jpeg(pixels)).astype(int) - pixels).mean() < 2


def test_tiff_keeps_single_precision():
    values = RNG.normal(size=(8, 8)).astype(np.float32)
    read = opened(encode_tiff(values))
    assert read.dtype == np.float32 and (read == values).all()


def test_displacement_levels_mean_millimetres():
    reach = DISPLACEMENT_RANGE_MM
    levels = displacement_levels(np.array([[0.0, reach, -reach, 0.3, 2 * reach]], np.float32))
    assert levels[0, 0] == 32768
    decoded = -reach + 2 * reach * levels[0] / 65535
    assert np.abs(decoded - [0, reach, -reach, 0.3, reach]).max() < 2e-4


@pytest.mark.parametrize("pixels", [np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8), np.zeros((4, 4))])
def test_what_is_no_picture_is_refused(pixels):
    with pytest.raises(MeshInvalid, match="expected pixels"):
        encode_png(pixels)


def test_a_picture_that_comes_again_is_encoded_once_and_another_is_not_mistaken_for_it():
    once = PngOnce()
    pictures = [np.full((4, 4), value, np.uint8) for value in range(50)]
    first = [once(p) for p in pictures]
    assert all(once(p) is data for p, data in zip(pictures, first, strict=True))
    assert [once(np.full((4, 4), value, np.uint8)) for value in range(50)] == first == [encode_png(p) for p in pictures]
