"""Identity, expressions and cameras from the landmarks of one or more photos of one person.

Gauss-Newton on the landmarks' distances in the picture, in millimetres at the head's depth. The landmarks' errors are
strongly correlated and far from independent noise; a noise of ``SIGMA_MM`` for each, which is more than their spread,
stands in for that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from maquette.geometry.transform import rotation_from_vector
from maquette.headmodel import ARKIT_NAMES
from maquette.types import Camera, Float64
from services.reconstructor.engines.open.evidence import FITTED_EXPRESSIONS, LANDMARKS, LIDS, MOUTH_GAPS, Evidence
from services.reconstructor.engines.open.gaze import SIDES, Eyes, find_gaze, look_weights

ITERATIONS = 7
SIGMA_MM = 8.0
_LID_SIGMA_MM = 2.5
"""Noise of the gap between the lids, which is seen much better than where the eye is."""

_LIP_SIGMA_MM = 3.5
"""The same of the gap between the lips."""

_SHUT_MM, _PARTED_MM = 1.5, 5.0
"""Gaps between the lips from which they count as parted at all, and wholly."""

_CAUCHY_MM = 12.0
_ROBUST_FROM, _GAZE_FROM = 2, 3
"""Iterations from which far-off landmarks count less, and from which lids follow the gaze."""

_SPREAD = 0.4
_SPREADS = {
    **dict.fromkeys(("jawOpen", "mouthSmile", "eyeBlink", "browInnerUp"), 0.8),
    **dict.fromkeys(("browDown", "mouthPucker", "mouthFunnel"), 0.6),
    **dict.fromkeys(
        (
            "jawForward", "jawLeft", "jawRight", "mouthLeft", "mouthRight", "mouthClose", "mouthShrug", "mouthRoll",
            "mouthPress", "mouthDimple", "mouthStretch", "noseSneer", "cheekPuff",
        ),
        0.3,
    ),
}  # fmt: skip
"""Spread of the blendshapes' weights by the beginning of their names; ``_SPREAD`` where none is given. What faces do
often may go far, so that it is not put down to a mixture of what they seldom do."""

_TOOTHY_SPREADS = {"jawOpen": 0.15, "mouthUpperUp": 0.8, "mouthLowerDown": 0.8}
"""Spreads when the opening of the mouth shows teeth that are closed."""

_ONE_SIDED_SD = 0.3
"""Spread of what a left blendshape has more than its right one: faces move both sides together more often than not."""

_IDENTITY_LIMIT = 3.5
_EXPRESSION_LIMITS = (-0.15, 1.2)
_ACTIVE_SET_ROUNDS = 4

_GRAZING, _HIDDEN = 0.15, -0.05
"""Cosines between a landmark's normal and the way to the camera; beyond them the network guesses."""
_GRAZING_WEIGHT, _HIDDEN_WEIGHT = 0.2, 0.05

_POSE = 6
_NAMES = [ARKIT_NAMES[i] for i in FITTED_EXPRESSIONS]
_PAIRS = [
    (k, _NAMES.index(name[:-4] + "Right"))
    for k, name in enumerate(_NAMES)
    if name.endswith("Left") and name not in ("jawLeft", "mouthLeft")
]
_LARGEST_ZOOM = 0.4
_GAP_TRUST = np.repeat([_LID_SIGMA_MM**-2, _LIP_SIGMA_MM**-2], [len(LIDS), len(MOUTH_GAPS)])
_BLINKS = [FITTED_EXPRESSIONS.index(ARKIT_NAMES.index(f"eyeBlink{s.title()}")) for s in SIDES]


@dataclass(frozen=True)
class Prior:
    """What is believed of the identity before the landmarks are fitted.

    Attributes:
        mean: (K,) float64, standard deviations.
        precision: (K,) float64, one over the variance.
    """

    mean: Float64
    precision: Float64


_HELD = 1e6


def held(identity: Float64) -> Prior:
    """A prior that keeps an identity as it is."""
    return Prior(identity, np.full(len(identity), _HELD))


@dataclass
class Sight:
    """One photo while it is fitted.

    Attributes:
        landmarks: (478, 3) float64 pixels.
        camera: The camera so far.
        expression: (E,) float64, the fitted blendshapes.
        gaze: (2, 2) float64 degrees.
        toothy: How surely the lips are parted before closed teeth, 0 to 1, see ``teeth_shown``.
        misfit: (468, 2) float64 pixels, landmarks minus the model's.
    """

    landmarks: Float64
    camera: Camera
    expression: Float64 = field(default_factory=lambda: np.zeros(len(FITTED_EXPRESSIONS)))
    gaze: Float64 = field(default_factory=lambda: np.zeros((2, 2)))
    toothy: float = 0.0
    misfit: Float64 = field(default_factory=lambda: np.zeros((LANDMARKS, 2)))

    @property
    def misfit_mm(self) -> float:
        """Root mean square distance of the landmarks from the model's, mm at the head."""
        depth = float(self.camera.translation[2])
        return float(np.sqrt((self.misfit**2).sum(1).mean())) * depth / self.camera.focal


@dataclass(frozen=True)
class Solution:
    """What was fitted.

    Attributes:
        identity: (K,) float64.
        sights: One per photo.
    """

    identity: Float64
    sights: tuple[Sight, ...]


def solve(evidence: Evidence, eyes: Eyes, sights: Sequence[Sight], prior: Prior) -> Solution:
    """Fit one identity, and an expression and a camera per photo.

    Args:
        evidence: The model at its landmarks.
        eyes: The model's eyes.
        sights: Landmarks and first cameras; changed in place.
        prior: Of the identity; also where the fit starts.
    """
    k, e = evidence.modes, len(FITTED_EXPRESSIONS)
    block = e + _POSE
    size = k + block * len(sights)
    identity = np.clip(prior.mean, -_IDENTITY_LIMIT, _IDENTITY_LIMIT)
    codes = np.concatenate([np.arange(k), *[k + v * block + np.arange(e) for v in range(len(sights))]])
    low, high = np.full(size, -np.inf), np.full(size, np.inf)
    low[:k], high[:k] = -_IDENTITY_LIMIT, _IDENTITY_LIMIT
    low[codes[k:]], high[codes[k:]] = _EXPRESSION_LIMITS
    precision = np.zeros((size, size))
    precision[:k, :k] = np.diag(prior.precision)
    for v, sight in enumerate(sights):
        here = slice(k + v * block, k + v * block + e)
        precision[here, here] = _expression_precision(sight.toothy)
    hessian = np.zeros((size, size))
    for iteration in range(ITERATIONS):
        hessian[:] = 0
        gradient = np.zeros(size)
        state = np.zeros(size)
        state[:k] = identity
        for v, sight in enumerate(sights):
            at = np.concatenate([np.arange(k), k + v * block + np.arange(block)])
            state[at[k:-_POSE]] = sight.expression
            h, g = _normal_equations(evidence, eyes, sight, identity, iteration)
            hessian[np.ix_(at, at)] += h
            gradient[at] += g
        centre = np.zeros(size)
        centre[:k] = prior.mean
        gradient -= precision @ (state - centre)
        damped = hessian + precision
        poses = np.setdiff1d(np.arange(size), codes)
        damped[poses, poses] += 1e-7 * np.trace(damped) / size
        step = _bounded_step(damped, gradient, low - state, high - state)
        identity = np.clip(identity + step[:k], low[:k], high[:k])
        for v, sight in enumerate(sights):
            _move(evidence, sight, step[k + v * block : k + (v + 1) * block])
    for sight in sights:
        _look(evidence, eyes, sight, identity)
    return Solution(identity, tuple(sights))


def landmarks_of(evidence: Evidence, identity: Float64, sight: Sight) -> Float64:
    """(468, 3) mm, the landmarks with expression, and lids that follow the gaze."""
    points = evidence.at(np.concatenate([identity, sight.expression]))
    weights = look_weights(sight.gaze)
    on = np.flatnonzero(weights)
    return points + np.tensordot(weights[on], evidence.looks[on], 1) if len(on) else points


def expression_of(sight: Sight) -> Float64:
    """(52,) ARKit weights, 0 to 1, of a fitted photo, with the eyes' direction."""
    weights = look_weights(sight.gaze)
    weights[list(FITTED_EXPRESSIONS)] = sight.expression
    return np.clip(weights, 0, 1)


def _expression_precision(toothy: float) -> Float64:
    """(E, E) inverse covariance of the fitted blendshapes' weights."""
    plain, toothed = (
        np.array([next((v for start, v in table.items() if name.startswith(start)), _SPREAD) for name in _NAMES])
        for table in (_SPREADS, _SPREADS | _TOOTHY_SPREADS)
    )
    spread = plain ** (1 - toothy) * toothed**toothy
    out = np.diag(1 / np.square(spread))
    for left, right in _PAIRS:
        out[[left, right], [left, right]] += 1 / _ONE_SIDED_SD**2
        out[[left, right], [right, left]] -= 1 / _ONE_SIDED_SD**2
    return out


def _normal_equations(
    evidence: Evidence, eyes: Eyes, sight: Sight, identity: Float64, iteration: int
) -> tuple[Float64, Float64]:
    """Gauss-Newton matrix and right-hand side of one photo over identity, expression, rotation, shift and depth."""
    if iteration >= _GAZE_FROM:
        _look(evidence, eyes, sight, identity)
    camera = sight.camera
    points = landmarks_of(evidence, identity, sight)
    middle = evidence.points.mean(0)
    arm = (points - middle) @ camera.rotation.T
    head = camera.rotation @ middle + camera.translation
    x = arm + head
    sight.misfit = sight.landmarks[:LANDMARKS, :2] - (camera.focal * x[:, :2] / x[:, 2:] + camera.centre)
    residual = sight.misfit * (head[2] / camera.focal)
    zero, one = np.zeros(len(x)), np.ones(len(x))
    turns = np.stack([
        np.stack([zero, -arm[:, 2], arm[:, 1]], 1),
        np.stack([arm[:, 2], zero, -arm[:, 0]], 1),
        np.stack([-arm[:, 1], arm[:, 0], zero], 1),
    ])  # fmt: skip
    shifts = np.stack([np.stack([one, zero, zero], 1), np.stack([zero, one, zero], 1), np.tile(head, (len(x), 1))])
    moves = np.concatenate([evidence.basis @ camera.rotation.T, turns, shifts])
    depth = head[2] / x[:, 2]
    jacobian = np.concatenate(
        [depth * (moves[:, :, c] - x[:, c] / x[:, 2] * moves[:, :, 2]) for c in range(2)],
        axis=1,
    )
    visible = _visibility(evidence.normals @ camera.rotation.T, x)
    weight = evidence.weights / SIGMA_MM**2 * visible
    if iteration >= _ROBUST_FROM:
        weight /= 1 + (residual**2).sum(1) / _CAUCHY_MM**2
    upper, lower = np.array(LIDS + MOUTH_GAPS).T
    sides = jacobian.reshape(len(jacobian), 2, -1)
    gaps = (sides[:, :, upper] - sides[:, :, lower]).reshape(len(jacobian), -1)
    # How far eyes and mouth are open is the expression's doing, not the shape's.
    gaps[: evidence.modes] = 0
    trust = np.minimum(visible[upper], visible[lower]) * _GAP_TRUST
    # Lips that touch say nothing of how far they would be apart.
    apart = np.linalg.norm((sight.landmarks[upper] - sight.landmarks[lower])[len(LIDS) :, :2], axis=1)
    trust[len(LIDS) :] *= np.clip((apart * head[2] / camera.focal - _SHUT_MM) / (_PARTED_MM - _SHUT_MM), 0, 1)
    jacobian = np.concatenate([jacobian, gaps], 1)
    left = np.concatenate([residual.T.ravel(), (residual[upper] - residual[lower]).T.ravel()])
    weighted = jacobian * np.concatenate([weight, weight, trust, trust])
    return weighted @ jacobian.T, weighted @ left


def _visibility(normals: Float64, x: Float64) -> Float64:
    """(468,) weights: landmarks on the side away from the camera (camera frame) are guesses of the network."""
    cosine = -(normals * x).sum(1) / np.linalg.norm(x, axis=1)
    return np.where(cosine < _HIDDEN, _HIDDEN_WEIGHT, np.where(cosine < _GRAZING, _GRAZING_WEIGHT, 1.0))


def _bounded_step(hessian: Float64, gradient: Float64, low: Float64, high: Float64) -> Float64:
    """Solve ``hessian @ step = gradient`` within bounds by fixing, round by round, what would cross one."""
    free = np.ones(len(gradient), bool)
    step = np.zeros(len(gradient))
    for _ in range(_ACTIVE_SET_ROUNDS):
        inner = np.flatnonzero(free)
        outer = np.flatnonzero(~free)
        right = gradient[inner] - hessian[np.ix_(inner, outer)] @ step[outer]
        step[inner] = np.linalg.solve(hessian[np.ix_(inner, inner)], right)
        crossing = inner[(step[inner] < low[inner] - 1e-6) | (step[inner] > high[inner] + 1e-6)]
        if not len(crossing):
            break
        step[crossing] = np.clip(step[crossing], low[crossing], high[crossing])
        free[crossing] = False
    return np.clip(step, low, high)


def _move(evidence: Evidence, sight: Sight, step: Float64) -> None:
    """Apply a step of one photo's expression and camera; depth changes keep the head where it is seen."""
    e = len(FITTED_EXPRESSIONS)
    sight.expression = np.clip(sight.expression + step[:e], *_EXPRESSION_LIMITS)
    camera = sight.camera
    middle = evidence.points.mean(0)
    head = camera.rotation @ middle + camera.translation
    turn, (right, down, deeper) = step[e : e + 3], step[e + 3 :]
    head = (head + [right, down, 0]) * (1 + np.clip(deeper, -_LARGEST_ZOOM, _LARGEST_ZOOM))
    rotation = rotation_from_vector(turn) @ camera.rotation
    sight.camera = Camera(camera.focal, camera.centre, rotation, head - rotation @ middle, camera.width, camera.height)


def _look(evidence: Evidence, eyes: Eyes, sight: Sight, identity: Float64) -> None:
    """Bring gaze and misfit up to date."""
    points = landmarks_of(evidence, identity, sight)
    sight.misfit = sight.landmarks[:LANDMARKS, :2] - sight.camera.project(points)
    blink = sight.expression[_BLINKS]
    sight.gaze = find_gaze(eyes, identity, blink, sight.camera, sight.landmarks[:, :2], sight.misfit)
    sight.misfit = sight.landmarks[:LANDMARKS, :2] - sight.camera.project(landmarks_of(evidence, identity, sight))
