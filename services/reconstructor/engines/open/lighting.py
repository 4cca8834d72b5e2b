"""The light of a photo: estimated on the skin, divided out."""

import numpy as np
from numpy.typing import NDArray

from maquette.types import Float32, Float64
from services.reconstructor.engines.open.linear import LUMINANCE

SHADE_LIMITS = (0.3, 2.2)
"""Bounds of the shading, by its mean on the seen skin."""

_BACKMOST = 0.1
"""Cosine to the camera's direction beyond which no skin was seen to fit the light to."""

_BLACK = 1e-3
_RIDGE = np.array([0.0, 0.001, 0.001, 0.001, 0.006, 0.006, 0.006, 0.006, 0.006])
_TINT_RIDGE = 6.0


def harmonics(normals: NDArray[np.floating]) -> Float64:
    """(..., 9) real spherical harmonics up to order 2 of unit directions (..., 3).

    In the order and with the constants of Ramamoorthi and Hanrahan 2001, "An efficient representation for irradiance
    environment maps": 1; y, z, x; xy, yz, 3z² − 1, xz, x² − y².
    """
    x, y, z = np.moveaxis(np.asarray(normals, np.float64), -1, 0)
    return np.stack(
        [
            np.full_like(x, 0.282095),
            0.488603 * y,
            0.488603 * z,
            0.488603 * x,
            1.092548 * x * y,
            1.092548 * y * z,
            0.315392 * (3 * z * z - 1),
            1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ],
        -1,
    )


def harmonics_gradient(normals: NDArray[np.floating], light: Float64) -> Float64:
    """(..., 3) gradient of ``harmonics(n) @ light`` with respect to n, for light (9,)."""
    x, y, z = np.moveaxis(np.asarray(normals, np.float64), -1, 0)
    a, b, c = 0.488603 * light[3], 0.488603 * light[1], 0.488603 * light[2]
    xy, yz, zz, xz, xx = 1.092548 * light[4], 1.092548 * light[5], 0.315392 * light[6], 1.092548 * light[7], 0.546274
    xx = xx * light[8]
    return np.stack(
        [a + xy * y + xz * z + 2 * xx * x, b + xy * x + yz * z - 2 * xx * y, c + yz * y + xz * x + 6 * zz * z], -1
    )


def even_light() -> Float64:
    """(9, 3) light that is 1 from everywhere."""
    out = np.zeros((9, 3))
    out[0] = 1 / 0.282095
    return out


def fit_light(linear: Float32, basis: Float64, weight: Float32) -> Float64:
    """Fit second-order light to skin of one albedo.

    Cauchy-weighted least squares on the luminance; red, green and blue may differ from it little, for else the reddish
    nose and cheeks would be taken for coloured light.

    Args:
        linear: (P, 3) float32 linear light.
        basis: (P, 9) float64, ``harmonics`` of the surface normals in the head frame.
        weight: (P,) float32, how sure it is that the point is well-seen skin.

    Returns:
        (9, 3) coefficients; the mean of ``basis @ light`` over the points, by weight, is 1 per channel. Points that
        are black say nothing: then the light is even.
    """
    h = basis
    w = weight.astype(np.float64)
    total = w.sum()
    if float(w @ (linear @ LUMINANCE)) < _BLACK * total:
        return even_light()
    colour = linear.astype(np.float64) / np.maximum(w @ linear / total, 1e-4)
    y = linear.astype(np.float64) @ LUMINANCE
    y /= max(float(w @ y / total), 1e-4)
    ridge = np.diag(_RIDGE)
    spread = 0.5
    trust = w
    light = np.zeros(9)
    for _ in range(8):
        light = np.linalg.solve((h * trust[:, None]).T @ h + total * ridge, h.T @ (trust * y))
        residual = (y - h @ light) / np.maximum(h @ light, 0.2)
        spread = max(1.5 * float(np.average(np.abs(residual), weights=w)), 0.03)
        trust = w / (1 + (residual / spread) ** 2)
    left = colour - (h @ light)[:, None]
    normal = (h * trust[:, None]).T @ h + total * (ridge + _TINT_RIDGE * np.diag(np.r_[0, np.full(8, 0.02)]))
    out = light[:, None] + np.linalg.solve(normal, h.T @ (trust[:, None] * left))
    mean = w @ (h @ out) / total
    # A channel that the photo does not have is lit as the others are.
    return np.asarray(np.where(mean > 0.1, out / np.maximum(mean, 0.1), light[:, None]), np.float64)


def shading(light: Float64, normals: NDArray[np.floating], towards: Float64) -> Float32:
    """(N, 3) float32 light on surfaces, by its mean on the seen skin, held to ``SHADE_LIMITS``.

    Directions turned away from the camera, where nothing was seen and the harmonics mean nothing, get the light of the
    nearest direction that was.

    Args:
        light: (9, 3) from ``fit_light``.
        normals: (N, 3) unit normals, head frame.
        towards: (3,) unit direction to the camera, head frame.
    """
    n = np.asarray(normals, np.float64)
    along = n @ towards
    side = n - along[:, None] * towards
    length = np.linalg.norm(side, axis=1, keepdims=True)
    rim = np.sqrt(1 - _BACKMOST**2) * side / np.maximum(length, 1e-9) + _BACKMOST * towards
    # Straight away from the camera every side is equally near: fade to the mean of all.
    ahead = np.where((along < _BACKMOST)[:, None], rim, n)
    value = harmonics(ahead) @ light
    ring = _ring(towards)
    mean = (harmonics(ring) @ light).mean(0)
    sure = np.clip(np.where(along[:, None] < 0, length, 1), 0, 1) ** 2
    value = value * sure + mean * (1 - sure)
    return _soft_limits(value)


def _ring(towards: Float64) -> Float64:
    across = np.cross(towards, [0.0, 1.0, 0.0])
    across /= np.linalg.norm(across)
    up = np.cross(across, towards)
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)[:, None]
    circle = np.cos(angle) * across + np.sin(angle) * up
    return np.asarray(np.sqrt(1 - _BACKMOST**2) * circle + _BACKMOST * towards, np.float64)


def _soft_limits(value: Float64) -> Float32:
    low, high = SHADE_LIMITS
    # Smooth bends a little before the limits, so that no edge shows where they begin.
    bend = 0.15
    value = low + bend * np.logaddexp(0, (value - low) / bend)
    return np.asarray(high - bend * np.logaddexp(0, (high - value) / bend), np.float32)
