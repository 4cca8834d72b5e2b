"""Who sits in front of the camera: a random head with an expression and a gaze."""

from dataclasses import dataclass

import numpy as np

from maquette.geometry.transform import rotation_x, rotation_y
from maquette.headmodel import ARKIT_NAMES, HeadModel
from maquette.types import Float32, Float64

IDENTITY_SD = 0.9
"""Standard deviation of the identity coefficients: a little less than the model's own, whose tails are odd faces."""

EYES = ("left", "right")


@dataclass(frozen=True)
class Subject:
    """A head.

    Attributes:
        identity: (K,) float32, standard deviations.
        expression: (52,) float32 ARKit weights.
        gaze: (2, 2) float32 degrees, per eye (left, right) yaw to the subject's left and pitch up.
        neutral: (V, 3) float32 mm, without the expression.
        vertices: (V, 3) float32 mm in the head frame.
    """

    identity: Float32
    expression: Float32
    gaze: Float32
    neutral: Float32
    vertices: Float32


def draw_subject(model: HeadModel, rng: np.random.Generator, *, open_jaw: bool = False, still: bool = False) -> Subject:
    """A random subject.

    Args:
        model: Head model.
        rng: Source of chance.
        open_jaw: Only the jaw opens, as the embedding of the lips needs.
        still: No expression at all.
    """
    identity = rng.normal(0, IDENTITY_SD, len(model.identity_modes)).astype(np.float32)
    if open_jaw or still:
        expression = np.zeros(len(ARKIT_NAMES), np.float32)
        if open_jaw:
            expression[ARKIT_NAMES.index("jawOpen")] = rng.uniform(0.3, 0.6)
    else:
        expression = draw_expression(rng)
    gaze = draw_gaze(rng, expression)
    neutral = model.vertices(identity)
    return Subject(identity, expression, gaze, neutral, pose_vertices(model, neutral, expression, gaze))


def draw_expression(rng: np.random.Generator) -> Float32:
    """(52,) ARKit weights: a still face, a smile, some muscles at once, or a talking mouth."""
    weights = dict.fromkeys(ARKIT_NAMES, 0.0)

    def both(stem: str, value: float, coupling: float = 0.12) -> None:
        for side in ("Left", "Right"):
            weights[stem + side] = float(np.clip(value * (1 + rng.normal(0, coupling)), 0, 1))

    kind = rng.random()
    if kind < 0.35:
        smile = rng.uniform(0.15, 0.95)
        both("mouthSmile", smile)
        both("cheekSquint", smile * rng.uniform(0, 0.7))
        both("eyeSquint", smile * rng.uniform(0, 0.5))
        both("mouthUpperUp", smile * rng.uniform(0, 0.45))
        both("mouthDimple", rng.uniform(0, 0.3))
        if rng.random() < 0.5:
            weights["jawOpen"] = rng.uniform(0, 0.25)
            both("mouthLowerDown", rng.uniform(0, 0.4))
    elif kind < 0.65:
        free = [n for n in ARKIT_NAMES if not n.startswith("eyeLook") and n not in ("tongueOut", "mouthClose")]
        for name in rng.choice(free, rng.integers(1, 5), replace=False):
            value = rng.uniform(0, 0.8)
            weights[name] = value
            twin = name.replace("Left", "~").replace("Right", "Left").replace("~", "Right")
            if (
                twin in weights
                and name not in ("jawLeft", "jawRight", "mouthLeft", "mouthRight")
                and rng.random() < 0.85
            ):
                weights[twin] = value
    elif kind < 0.8:
        weights["jawOpen"] = rng.uniform(0.05, 0.7)
        weights[str(rng.choice(["mouthFunnel", "mouthPucker", "mouthShrugUpper", "mouthRollLower"]))] = rng.uniform(
            0, 0.5
        )
        both("mouthStretch", rng.uniform(0, 0.4))
    if rng.random() < 0.5:
        both("eyeBlink", max(rng.normal(0.08, 0.1), 0), 0.05)
    if rng.random() < 0.03:
        both("eyeBlink", rng.uniform(0.5, 1.0), 0.02)
    if rng.random() < 0.15:
        weights["browInnerUp"] = max(weights["browInnerUp"], rng.uniform(0, 0.6))
    if rng.random() < 0.15:
        both("browDown", rng.uniform(0, 0.6))
    return np.array([weights[n] for n in ARKIT_NAMES], np.float32)


def draw_gaze(rng: np.random.Generator, expression: Float32) -> Float32:
    """(2, 2) degrees; both eyes look the same way, and the lids' weights in ``expression`` are set to follow."""
    yaw, pitch = np.clip(rng.normal(0, [9, 6]), [-28, -20], [28, 18])
    converge = abs(rng.normal(0, 1.5))
    for side, sign in zip(EYES, (1, -1), strict=True):
        outward = sign * yaw / 35
        lids = {"Up": pitch / 25, "Down": -pitch / 25, "Out": outward, "In": -outward}
        for way, value in lids.items():
            expression[ARKIT_NAMES.index(f"eyeLook{way}{side.title()}")] = np.clip(value, 0, 1)
    return np.array([[yaw - converge, pitch], [yaw + converge, pitch]], np.float32)


def pose_vertices(model: HeadModel, neutral: Float32, expression: Float32, gaze: Float32) -> Float32:
    """(V, 3) mm: neutral vertices with an expression, and each eyeball turned about its joint."""
    vertices = neutral + (model.vertices(None, expression) - model.mean)
    joints = model.joints(neutral)
    for side, (yaw, pitch) in zip(EYES, gaze, strict=True):
        ball = model.part(f"eye_{side}")
        turn: Float64 = rotation_y(float(yaw)) @ rotation_x(-float(pitch))
        centre = joints[model.joint_names.index(f"eye_{side}")]
        # From the resting ball: the eyeLook blendshapes have turned the posed one already.
        vertices[ball] = (neutral[ball] - centre) @ turn.T.astype(np.float32) + centre
    return vertices
