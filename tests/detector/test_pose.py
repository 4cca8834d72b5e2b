import numpy as np
import pytest

from maquette.geometry.transform import rotation_x, rotation_y, rotation_z
from services.detector.pose import pose_of
from services.detector.topology import TEMPLATE_INDEX, TEMPLATE_POINTS


def landmarks(yaw: float, pitch: float, roll: float, scale: float = 3.0) -> np.ndarray:
    """Landmarks in pixels of a template face that is turned."""
    points = np.zeros((478, 3))
    points[TEMPLATE_INDEX] = TEMPLATE_POINTS
    turned = points @ (rotation_z(-roll) @ rotation_y(yaw) @ rotation_x(-pitch)).T
    return scale * turned * [1, -1, -1] + [320, 240, 0]


@pytest.mark.parametrize("yaw", [-30.0, 0.0, 20.0])
@pytest.mark.parametrize("pitch", [-25.0, 0.0, 15.0])
@pytest.mark.parametrize("roll", [-170.0, -90.0, 0.0, 45.0, 130.0])
def test_angles_are_told_apart(yaw: float, pitch: float, roll: float) -> None:
    pose = pose_of(landmarks(yaw, pitch, roll))
    assert pose.yaw == pytest.approx(yaw, abs=2)
    assert pose.pitch == pytest.approx(pitch, abs=1e-6)
    assert pose.roll == pytest.approx(roll, abs=1e-6)
    assert pose.misfit == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(pose.canonical[TEMPLATE_INDEX], TEMPLATE_POINTS, atol=1e-4)


def test_signs_are_those_of_the_types() -> None:
    nose, bridge = 1, 168
    left = landmarks(20, 0, 0)
    # To the subject's left is to the right of the picture.
    assert left[nose, 0] > left[bridge, 0] + 5
    assert pose_of(left).yaw > 0
    up = landmarks(0, 20, 0)
    assert up[nose, 1] < landmarks(0, 0, 0)[nose, 1] - 5
    assert pose_of(up).pitch > 0
    # Clockwise in the picture lowers the subject's left eye, which is on the right.
    clockwise = landmarks(0, 0, 20)
    assert clockwise[263, 1] > clockwise[33, 1] + 5
    assert pose_of(clockwise).roll > 0


def test_size_and_place_do_not_matter() -> None:
    a, b = pose_of(landmarks(10, 5, 3)), pose_of(landmarks(10, 5, 3, scale=0.4) + np.array([-900, 80, 7]))
    np.testing.assert_allclose(a.canonical, b.canonical, atol=1e-3)
    assert a.yaw == pytest.approx(b.yaw)
