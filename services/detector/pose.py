"""How a face is turned, from its landmarks."""

import math
from dataclasses import dataclass

import numpy as np

from maquette.geometry.transform import fit_similarity
from maquette.types import Float32, Float64
from services.detector.topology import TEMPLATE_INDEX, TEMPLATE_POINTS

_TO_RIGHT_HANDED = np.array([1.0, -1.0, -1.0])
"""Landmarks have y down and z away from the camera; the head frame has y up and z towards it."""

_YAW = ((0.0, 36.0, 44.0, 50.0, 54.0, 60.0), (0.0, 38.0, 50.0, 62.0, 75.0, 90.0))
"""Yaw as the landmarks give it, and as it is: they show strongly turned faces too frontal (measured on renders of two
scanned heads from 0 to 80°)."""


@dataclass(frozen=True)
class Pose:
    """A face's pose.

    Attributes:
        canonical: (478, 3) float32 mm, the landmarks turned into the head frame.
        yaw: Degrees, positive when the face turns to the subject's left.
        pitch: Degrees, positive when the face looks up.
        roll: Degrees, clockwise as seen in the picture.
        misfit: Root mean square distance of the skull-fixed landmarks from the template's, mm.
    """

    canonical: Float32
    yaw: float
    pitch: float
    roll: float
    misfit: float


def pose_of(landmarks: Float64) -> Pose:
    """Align landmarks to the template by its skull-fixed points.

    The rotation from the head frame to the picture is taken apart as R = Rz(-roll) · Ry(yaw) · Rx(-pitch), so that
    turning the picture changes the roll alone.

    Args:
        landmarks: (478, 3) float64, photo pixels, z on the same scale.
    """
    points = landmarks * _TO_RIGHT_HANDED
    scale, rotation, shift = fit_similarity(points[TEMPLATE_INDEX], TEMPLATE_POINTS)
    canonical = scale * points @ rotation.T + shift
    misfit = np.sqrt(((canonical[TEMPLATE_INDEX] - TEMPLATE_POINTS) ** 2).sum(1).mean())
    r = rotation.T
    yaw = math.asin(max(-1.0, min(1.0, -float(r[2, 0]))))
    pitch = -math.atan2(r[2, 1], r[2, 2])
    yaw = math.copysign(float(np.interp(abs(math.degrees(yaw)), *_YAW)), yaw)
    roll = -math.atan2(r[1, 0], r[0, 0])
    return Pose(np.asarray(canonical, np.float32), yaw, math.degrees(pitch), math.degrees(roll), float(misfit))
