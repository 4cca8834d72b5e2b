"""Where the eyes look, from the irises."""

from dataclasses import dataclass

import numpy as np

from maquette.geometry.transform import rotation_x, rotation_y
from maquette.headmodel import ARKIT_NAMES, HeadModel
from maquette.types import Camera, Float32, Float64

SIDES = ("left", "right")
IRIS_CENTRES = (473, 468)
"""Landmarks in the middle of the irises, in the order of ``SIDES``."""

CORNERS = ((263, 362), (33, 133))
"""Landmarks in the corners of the eyes, in the order of ``SIDES``."""

SEEN_LOW = 3.0
"""Degrees by which the networks see irises too low, whose tops the upper lids cover; from rendered heads that look
straight ahead."""

FULL_DEGREES = {"Up": 25.0, "Down": 28.0, "In": 32.0, "Out": 32.0}
"""How far the head model's full ``eyeLook`` blendshapes turn an eyeball."""

_LIMITS = np.array([32.0, 24.0])
_CONVERGENCE = (-1.0, 9.0)
"""Degrees between the eyes: outwards hardly, inwards as for something 40 cm away."""

_SHUT = (0.5, 0.8)
"""``eyeBlink`` from which the irises are believed less, and not at all."""

_OUTWARD = (1.0, -1.0)
"""Sign of the yaw that turns each eye away from the nose."""


@dataclass(frozen=True, eq=False)
class Eyes:
    """The model's eyeballs.

    Attributes:
        joints: (2, 3) float64 mm, centres about which they turn, of the mean head; left first.
        modes: (K, 2, 3) float64 mm, what identity adds.
        radius: (2,) float64 mm from the joint to the middle of the iris.
        rest: (2, 2) float64 degrees, where an eye that looks straight ahead has its iris, yaw and pitch.
    """

    joints: Float64
    modes: Float64
    radius: Float64
    rest: Float64

    def at(self, identity: Float64) -> Float64:
        """(2, 3) mm, the joints of a head."""
        return np.asarray(self.joints + np.tensordot(identity, self.modes, 1), np.float64)


def find_eyes(model: HeadModel) -> Eyes:
    """Take the eyes from a model."""
    rows = model.joint_regressor[[model.joint_names.index(f"eye_{s}") for s in SIDES]].astype(np.float64)
    joints = rows @ model.mean
    irises = model.landmarks(model.mean)[list(IRIS_CENTRES)] - joints
    return Eyes(
        joints=joints,
        modes=np.einsum("jv,kvc->kjc", rows, model.identity_modes, optimize=True),
        radius=np.linalg.norm(irises, axis=1),
        rest=_angles(irises),
    )


def find_gaze(
    eyes: Eyes, identity: Float64, blink: Float64, camera: Camera, landmarks: Float64, misfit: Float64
) -> Float64:
    """Yaw and pitch of each eye.

    The ray through an iris meets the sphere that the iris lies on. What the fit left over at the eye's corners (the eye
    is not quite where the model has it) is taken off the iris first, so that it does not look like a glance.

    Args:
        eyes: The model's eyes.
        identity: (K,) of the head.
        blink: (2,) ``eyeBlink`` weights, left first.
        camera: The photo's camera.
        landmarks: (478, 2) pixels.
        misfit: (468, 2) pixels, landmarks minus the model's.

    Returns:
        (2, 2) degrees in the head frame, left eye first, yaw to the subject's left and pitch up.
    """
    joints = eyes.at(identity)
    origin = -camera.rotation.T @ camera.translation
    found = np.zeros((2, 2))
    seen = np.zeros(2)
    for k, (iris, corners) in enumerate(zip(IRIS_CENTRES, CORNERS, strict=True)):
        at = landmarks[iris] - misfit[list(corners)].mean(0)
        ray = camera.rotation.T @ np.append((at - camera.centre) / camera.focal, 1.0)
        ray /= np.linalg.norm(ray)
        away = joints[k] - origin
        along = float(ray @ away)
        beside = origin + along * ray - joints[k]
        reach = float(eyes.radius[k] ** 2 - beside @ beside)
        hit = beside - ray * np.sqrt(max(reach, 0.0))
        found[k] = np.clip(_angles(hit[None])[0] - eyes.rest[k] + [0, SEEN_LOW], -_LIMITS, _LIMITS)
        # An eye that is seen from the side shows its iris foreshortened.
        facing = max(float(-ray[2]), 0.05)
        seen[k] = facing**2 * (1 - np.interp(blink[k], _SHUT, (0, 1)))
    if seen.sum() < 1e-6:
        return np.zeros((2, 2))
    share = seen / seen.sum()
    middle = share @ found
    converge = float(np.clip(found[1, 0] - found[0, 0], *_CONVERGENCE)) * 2 * float(share.min())
    gaze = np.stack([middle + [-converge / 2, 0], middle + [converge / 2, 0]])
    return np.asarray(gaze * min(1.0, float(seen.max()) / 0.3), np.float64)


def look_weights(gaze: Float64) -> Float64:
    """(52,) ``eyeLook`` weights of a gaze; zero elsewhere."""
    weights = np.zeros(len(ARKIT_NAMES))
    for side, outward, (yaw, pitch) in zip(SIDES, _OUTWARD, gaze, strict=True):
        out = outward * yaw
        for way, degrees in (("Out", out), ("In", -out), ("Up", pitch), ("Down", -pitch)):
            weight = np.clip(degrees / FULL_DEGREES[way], 0, 1)
            weights[ARKIT_NAMES.index(f"eyeLook{way}{side.title()}")] = weight
    return weights


def turn_eyes(model: HeadModel, vertices: Float32, neutral: Float32, joints: Float64, gaze: Float64) -> Float32:
    """(V, 3) mm: vertices with the eyeballs turned about their joints rather than sheared by ``eyeLook``.

    Args:
        model: The head model.
        vertices: (V, 3) float32 mm, with the expression.
        neutral: (V, 3) float32 mm, without.
        joints: (2, 3) mm, left first.
        gaze: (2, 2) degrees.
    """
    out = vertices.copy()
    for side, centre, (yaw, pitch) in zip(SIDES, joints, gaze, strict=True):
        ball = model.part(f"eye_{side}")
        turn = rotation_y(float(yaw)) @ rotation_x(-float(pitch))
        out[ball] = (neutral[ball] - centre) @ turn.T + centre
    return out


def _angles(directions: Float64) -> Float64:
    """(N, 2) degrees of (N, 3) directions in the head frame: yaw to the subject's left, pitch up."""
    x, y, z = np.asarray(directions, np.float64).T
    return np.asarray(np.degrees(np.stack([np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))], 1)), np.float64)
