"""Rotations, similarities and their fits."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def rotation_x(degrees: float) -> Array:
    """(3, 3) right-handed rotation about x."""
    a = np.deg2rad(degrees)
    c, s = np.cos(a), np.sin(a)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def rotation_y(degrees: float) -> Array:
    """(3, 3) right-handed rotation about y."""
    a = np.deg2rad(degrees)
    c, s = np.cos(a), np.sin(a)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def rotation_z(degrees: float) -> Array:
    """(3, 3) right-handed rotation about z."""
    a = np.deg2rad(degrees)
    c, s = np.cos(a), np.sin(a)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def rotation_from_vector(vector: ArrayLike) -> Array:
    """(3, 3) rotation of an axis-angle vector in radians (Rodrigues' formula)."""
    w = np.asarray(vector, np.float64)
    angle = float(np.linalg.norm(w))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = w / angle
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k), np.float64)


def fit_similarity(
    source: ArrayLike, target: ArrayLike, weights: ArrayLike | None = None, *, scale: bool = True
) -> tuple[float, Array, Array]:
    """Weighted least-squares similarity from one point set to another (Umeyama 1991).

    Args:
        source: (N, 3) points.
        target: (N, 3) points.
        weights: (N,) not negative; None for equal weights.
        scale: False for a rigid motion.

    Returns:
        s, R, t with ``s * R @ source + t`` near ``target``.
    """
    x, y = np.asarray(source, np.float64), np.asarray(target, np.float64)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    w = w / w.sum()
    mx, my = w @ x, w @ y
    a, b = x - mx, y - my
    u, d, vt = np.linalg.svd((b * w[:, None]).T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    r = (u * sign) @ vt
    s = float((d * sign).sum() / (w @ (a**2).sum(1))) if scale else 1.0
    return s, r, my - s * r @ mx
