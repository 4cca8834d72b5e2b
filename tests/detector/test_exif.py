import math

import numpy as np
import pytest
from PIL.TiffImagePlugin import IFDRational

from services.detector.exif import focal_pixels

DIAGONAL_35MM = math.hypot(36, 24)
EQUIVALENT, FOCAL, X_RESOLUTION, UNIT, WIDTH, HEIGHT = 0xA405, 0x920A, 0xA20E, 0xA210, 0xA002, 0xA003


def test_the_equivalent_focal_length_goes_by_the_diagonal() -> None:
    # On a picture of the shape of 35 mm film, 50 mm is 50/36 of the width.
    assert focal_pixels({EQUIVALENT: 50}, 3600, 2400) == pytest.approx(5000)
    assert focal_pixels({EQUIVALENT: 26}, 3024, 4032) == pytest.approx(26 / DIAGONAL_35MM * 5040)


def test_it_does_not_matter_which_way_up_the_picture_is() -> None:
    tags = {EQUIVALENT: 50, WIDTH: 4000, HEIGHT: 3000}
    assert focal_pixels(tags, 4000, 3000) == focal_pixels(tags, 3000, 4000)


def test_the_focal_plane_resolution_serves_where_there_is_no_equivalent() -> None:
    # 22.5 mm wide sensor, 4500 pixels: 200 pixels a millimetre.
    tags = {FOCAL: IFDRational(50, 1), X_RESOLUTION: IFDRational(200 * 254, 10), UNIT: 2}
    assert focal_pixels(tags, 4500, 3000) == pytest.approx(10_000)
    assert focal_pixels({**tags, UNIT: 3, X_RESOLUTION: 2000}, 4500, 3000) == pytest.approx(10_000)
    assert focal_pixels({**tags, UNIT: 4, X_RESOLUTION: 200}, 4500, 3000) == pytest.approx(10_000)
    assert focal_pixels({FOCAL: 50, X_RESOLUTION: 200 * 25.4}, 4500, 3000) == pytest.approx(10_000)


def test_scaling_after_the_shot_is_allowed_for() -> None:
    tags = {FOCAL: 50, X_RESOLUTION: 200, UNIT: 4, WIDTH: 4500, HEIGHT: 3000}
    assert focal_pixels(tags, 900, 600) == pytest.approx(2000)
    assert focal_pixels(tags, 600, 900) == pytest.approx(2000)
    assert focal_pixels({EQUIVALENT: 50, WIDTH: 4500, HEIGHT: 3000}, 900, 600) == pytest.approx(1250)


def test_a_picture_cropped_to_another_shape_has_none() -> None:
    assert focal_pixels({EQUIVALENT: 50, WIDTH: 4500, HEIGHT: 3000}, 3000, 3000) is None


@pytest.mark.parametrize(
    "value",
    [0, -50, math.nan, math.inf, IFDRational(0, 0), IFDRational(50, 0), "fifty", b"\0\1", (50, 1), None, [], 1e9, 0.5],
)
def test_senseless_values_count_as_missing(value: object) -> None:
    assert focal_pixels({EQUIVALENT: value}, 4500, 3000) is None
    assert focal_pixels({FOCAL: value, X_RESOLUTION: 200, UNIT: 4}, 4500, 3000) is None
    sound = {FOCAL: 50, X_RESOLUTION: 200, UNIT: 4}
    assert focal_pixels({**sound, EQUIVALENT: value}, 4500, 3000) == pytest.approx(10_000)
    if value not in (0.5,):
        assert focal_pixels({FOCAL: 50, X_RESOLUTION: value, UNIT: 4}, 4500, 3000) is None


@pytest.mark.parametrize("unit", [1, 6, 77])
def test_an_unknown_unit_gives_none(unit: int) -> None:
    assert focal_pixels({FOCAL: 50, X_RESOLUTION: 200, UNIT: unit}, 4500, 3000) is None


def test_no_tags_give_none() -> None:
    assert focal_pixels({}, 100, 100) is None
    assert focal_pixels({WIDTH: np.nan, HEIGHT: 0}, 1, 1) is None
