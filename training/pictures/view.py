"""Where the camera stands."""

from dataclasses import dataclass

import numpy as np

from maquette.geometry.transform import rotation_x, rotation_y, rotation_z
from maquette.types import Camera, Float64

NEAREST, FARTHEST = 450.0, 2500.0
"""Camera distances in mm, from an arm's length to a telephoto portrait."""

_TO_CAMERA = np.diag([1.0, -1.0, -1.0])
"""Head frame to camera frame for a face that looks into the camera."""


@dataclass(frozen=True)
class Angles:
    """Spread of the head's pose, degrees: standard deviations and limits.

    Attributes:
        yaw: Standard deviation of the turn about y.
        pitch: Of the turn about x.
        roll: Of the turn about z.
        most: Largest yaw.
    """

    yaw: float = 18.0
    pitch: float = 9.0
    roll: float = 6.0
    most: float = 48.0


def draw_camera(
    rng: np.random.Generator,
    centre: Float64,
    size: int,
    angles: Angles | None = None,
    *,
    uniform: bool = False,
) -> Camera:
    """A random camera that looks at a face.

    Args:
        rng: Source of chance.
        centre: (3,) mm, middle of the face in the head frame.
        size: Side of the square picture in pixels.
        angles: Spread of the pose.
        uniform: Yaw uniform within ``angles.most``.
    """
    spread = angles or Angles()
    yaw = rng.uniform(-spread.most, spread.most) if uniform else rng.normal(0, spread.yaw)
    yaw = float(np.clip(yaw, -spread.most, spread.most))
    pitch = float(np.clip(rng.normal(0, spread.pitch), -25, 25))
    roll = float(np.clip(rng.normal(0, spread.roll), -20, 20))
    distance = float(np.exp(rng.uniform(np.log(NEAREST), np.log(FARTHEST))))
    span = rng.uniform(250, 360)
    rotation = _TO_CAMERA @ rotation_z(roll) @ rotation_x(pitch) @ rotation_y(yaw)
    target = centre + rng.normal(0, 6, 3)
    # Faces are seldom on the optical axis; away from it they are seen, and stretched, from the side.
    off = np.tan(np.deg2rad(rng.normal(0, 5, 2)))
    translation = distance * np.array([off[0], off[1], 1.0]) - rotation @ target
    focal = size / span * distance
    return Camera(focal, np.full(2, size / 2) - focal * off, rotation, translation, size, size)
