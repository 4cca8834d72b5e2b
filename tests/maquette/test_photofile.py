import dataclasses

import numpy as np
import pytest

from maquette.errors import MessageInvalid
from maquette.photofile import decode_mask, decode_photo, encode_mask, encode_photo
from maquette.result import Result
from maquette.types import Mask, Photo


@pytest.fixture(scope="module")
def photo(result: Result) -> Photo:
    return result.views[0].photo


@pytest.mark.parametrize("focal", [None, 1234.5678901234567, 1e-9])
def test_a_photo_comes_back_as_it_was_and_makes_the_same_bytes(photo: Photo, focal: float | None) -> None:
    asked = dataclasses.replace(photo, focal_px=focal, name="Ännchen “1”\n.jpg")
    data = encode_photo(asked)
    back = decode_photo(data)
    assert (back.focal_px, back.name, back.sha256) == (asked.focal_px, asked.name, asked.sha256)
    assert back.pixels.tobytes() == asked.pixels.tobytes()
    assert encode_photo(back) == data


def test_a_mask_comes_back_as_it_was_and_makes_the_same_bytes(result: Result) -> None:
    mask = result.views[0].mask
    data = encode_mask(mask)
    back = decode_mask(data)
    assert back.alpha.tobytes() == mask.alpha.tobytes()
    assert back.to_crop.tobytes() == mask.to_crop.tobytes()
    assert encode_mask(back) == data


def test_a_photo_of_another_shape_is_refused(photo: Photo) -> None:
    for pixels in (photo.pixels[..., 0], photo.pixels.astype(np.float32), photo.pixels[..., :2]):
        with pytest.raises(MessageInvalid, match="expected pixels of maquette-photo/1"):
            encode_photo(dataclasses.replace(photo, pixels=pixels))
    with pytest.raises(MessageInvalid, match="found 512 x 0"):
        decode_photo(encode_photo(dataclasses.replace(photo, pixels=photo.pixels[:0])))


def test_one_kind_of_file_is_not_taken_for_another(photo: Photo, result: Result) -> None:
    with pytest.raises(MessageInvalid, match="maquette-photo/1, found maquette-mask/1"):
        decode_photo(encode_mask(result.views[0].mask))
    with pytest.raises(MessageInvalid, match="maquette-mask/1, found maquette-photo/1"):
        decode_mask(encode_photo(photo))


def test_a_mask_that_is_not_square_is_refused() -> None:
    with pytest.raises(MessageInvalid, match=r"float32 \(N, N\)"):
        encode_mask(Mask(np.zeros((4, 5), np.float32), np.zeros((2, 3))))
