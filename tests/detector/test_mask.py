from dataclasses import replace

import numpy as np
import pytest

from maquette.types import Face, Photo
from services.detector.detector import Detector


def at(mask_alpha: np.ndarray, to_crop: np.ndarray, x: float, y: float) -> float:
    u, v = np.floor(to_crop @ [x, y, 1]).astype(int)
    return float(mask_alpha[v, u])


def test_the_person_is_in_and_the_background_out(detector: Detector, astronaut: Photo, face: Face) -> None:
    mask = detector.mask(astronaut, face)
    assert mask.alpha.dtype == np.float32
    assert mask.alpha.shape[0] == mask.alpha.shape[1]
    assert 0 <= mask.alpha.min() < mask.alpha.max() <= 1
    for landmark in (1, 9, 50, 280, 152):
        assert at(mask.alpha, mask.to_crop, *face.landmarks[landmark, :2]) > 0.9
    hair, wall_left, wall_right = (225, 30), (130, 60), (330, 100)
    assert at(mask.alpha, mask.to_crop, *hair) > 0.9
    assert at(mask.alpha, mask.to_crop, *wall_left) < 0.1
    assert at(mask.alpha, mask.to_crop, *wall_right) < 0.1


def test_the_face_is_in_the_middle_and_upright(detector: Detector, turned) -> None:
    photo, _ = turned(120)
    face = detector.detect(photo)[0]
    mask = detector.mask(photo, face)
    side = len(mask.alpha)
    forehead, chin = (mask.to_crop @ [*face.landmarks[k, :2], 1] for k in (10, 152))
    np.testing.assert_allclose((forehead + chin) / 2, side / 2, atol=0.06 * side)
    assert chin[1] - forehead[1] > 6 * abs(chin[0] - forehead[0])
    assert at(mask.alpha, mask.to_crop, *face.landmarks[1, :2]) > 0.9


def test_beyond_the_photo_there_is_nobody(detector: Detector, astronaut: Photo) -> None:
    photo = replace(astronaut, pixels=np.ascontiguousarray(astronaut.pixels[40:240, 150:300]))
    face = detector.detect(photo)[0]
    mask = detector.mask(photo, face)
    v, u = np.mgrid[: len(mask.alpha), : len(mask.alpha)] + 0.5
    back = np.linalg.inv(mask.to_crop[:, :2])
    xy = (np.stack([u, v], -1) - mask.to_crop[:, 2]) @ back.T
    outside = ((xy < -0.5) | (xy > [150.5, 200.5])).any(-1)
    assert outside.mean() > 0.2
    assert mask.alpha[outside].max() == 0
    assert mask.alpha[~outside].mean() == pytest.approx(0.7, abs=0.3)
