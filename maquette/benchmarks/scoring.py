"""How far is a scan from a predicted mesh? The way of the NoW benchmark.

Sanyal et al., *Learning to Regress 3D Face Shape and Expression from an Image without 3D Supervision*, CVPR 2019: the
prediction is laid on the scan by seven landmarks, then moved (rotation, translation and scale) so that the distances of
the scan's points from its surface become least, and those distances are the result.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maquette.benchmarks.closest import Surface
from maquette.errors import InputError
from maquette.geometry.transform import fit_similarity, rotation_from_vector
from maquette.types import Bool, Float64

NOW_LANDMARKS = ("r_eye_outer", "r_eye_inner", "l_eye_inner", "l_eye_outer", "subnasale", "r_mouth", "l_mouth")

_ALIGNING_POINTS = 6000
_ITERATIONS = 60
_SETTLED_MM = 1e-5
_ON_SURFACE_MM = 0.05
"""Nearer than this, the direction to the surface is its normal rather than a quotient of small numbers."""


@dataclass(frozen=True)
class Scan:
    """A scanned head.

    Attributes:
        name: Name of the head.
        landmarks: (7, 3) float64 mm, in the order of ``NOW_LANDMARKS``.
        points: (N, 3) float64 mm on the scan's surface, in the NoW region, without the eyes.
    """

    name: str
    landmarks: Float64
    points: Float64


@dataclass(frozen=True)
class Score:
    """Distances of a scan's points from a prediction.

    Attributes:
        median: Millimetres.
        mean: Millimetres.
        distances: (N,) float64 mm.
        scale: Scale that lays the prediction on the scan.
    """

    median: float
    mean: float
    distances: Float64
    scale: float


def load_scan(root: Path, name: str) -> Scan:
    """Read ``gt/NAME.json`` and ``gt/NAME_pts.npz`` under a folder.

    Raises:
        InputError: One is missing or not of this layout.
    """
    try:
        truth = json.loads((root / "gt" / f"{name}.json").read_text(encoding="utf-8"))
        landmarks = np.array([truth["landmarks"][k] for k in NOW_LANDMARKS], np.float64)
        with np.load(root / "gt" / f"{name}_pts.npz", allow_pickle=False) as z:
            seen: Bool = z["now"] & ~z["eye"]
            points = z["points"][seen].astype(np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{root}: no scan {name!r} of the expected layout ({error})") from error
    return Scan(name, landmarks, points)


def score(
    vertices: NDArray[np.floating], triangles: NDArray[np.integer], landmarks: NDArray[np.floating], scan: Scan
) -> Score:
    """Distances of a scan from a mesh that is laid on it.

    Args:
        vertices: (V, 3), any unit, right-handed.
        triangles: (F, 3) vertex indices.
        landmarks: (7, 3) of the mesh, in the order of ``NOW_LANDMARKS``.
        scan: The truth.
    """
    surface = Surface(vertices, triangles)
    s, r, t = fit_similarity(landmarks, scan.landmarks)
    points = scan.points
    few = points
    if len(points) > _ALIGNING_POINTS:
        few = points[np.random.default_rng(0).choice(len(points), _ALIGNING_POINTS, replace=False)]
    before = np.inf
    for _ in range(_ITERATIONS):
        # The scan is taken into the mesh's frame, so that the search structure is built once.
        at, normal = surface.closest((few - t) @ r / s)
        at, normal = s * at @ r.T + t, normal @ r.T
        gap = at - few
        distance = np.linalg.norm(gap, axis=1)
        error = float(np.sqrt((distance**2).mean()))
        if abs(before - error) < _SETTLED_MM:
            break
        before = error
        towards = np.where(
            distance[:, None] > _ON_SURFACE_MM,
            gap / np.maximum(distance[:, None], 1e-9),
            normal * np.where((normal * gap).sum(1, keepdims=True) < 0, -1.0, 1.0),
        )
        # Gauss-Newton on the distances over rotation, translation and scale about the mesh's centre.
        centre = at.mean(0)
        arm = at - centre
        j = np.concatenate([np.cross(arm, towards), towards, (arm * towards).sum(1, keepdims=True)], 1)
        x = np.linalg.solve(j.T @ j + 1e-6 * np.eye(7), -j.T @ (gap * towards).sum(1))
        turn, grow = rotation_from_vector(x[:3]), 1 + float(x[6])
        r = turn @ r
        t = grow * turn @ (t - centre) + centre + x[3:6]
        s *= grow
    at, _ = surface.closest((points - t) @ r / s)
    distances = np.linalg.norm(s * at @ r.T + t - points, axis=1)
    return Score(float(np.median(distances)), float(distances.mean()), distances, s)
