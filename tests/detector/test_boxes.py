import numpy as np
import pytest

from services.detector.boxes import OVERLAP, merged, overlaps


def shape(left: float, top: float, side: float) -> np.ndarray:
    """(8, 2): a square box and six points in its middle."""
    middle = [left + side / 2, top + side / 2]
    return np.array([[left, top], [left + side, top + side], *[middle] * 6])


def test_overlap_is_intersection_over_union() -> None:
    box = np.array([0.0, 0, 10, 10])
    others = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 4], [3, 3, 3, 3]])
    np.testing.assert_allclose(overlaps(box, others), [1, 1 / 3, 0, 0.04, 0])
    assert overlaps(box, np.zeros((0, 4))).shape == (0,)


def test_boxes_of_one_face_become_their_weighted_mean() -> None:
    shapes = np.stack([shape(0, 0, 10), shape(100, 0, 10), shape(2, 0, 10)])
    first, second = merged(shapes, np.array([0.6, 0.7, 0.9]))
    assert (first.score, second.score) == (0.9, 0.7)
    np.testing.assert_allclose(first.corners, [2 * 0.6, 0, 10 + 2 * 0.6, 10])
    np.testing.assert_allclose(second.corners, [100, 0, 110, 10])
    assert overlaps(first.corners, second.corners[None])[0] < OVERLAP
    assert merged(np.zeros((0, 8, 2)), np.zeros(0)) == []


@pytest.mark.parametrize("degrees", [0, 30, 90, -150])
def test_a_region_has_its_eyes_level(degrees: float) -> None:
    across = np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))])
    points = shape(40, 40, 20)
    points[2], points[3] = points[2] - 5 * across, points[3] + 5 * across
    (box,) = merged(points[None], np.array([0.8]))
    region = box.region()
    assert (region.x, region.y, region.size) == (50, 50, 30)
    assert np.rad2deg(region.angle) == pytest.approx(degrees)
