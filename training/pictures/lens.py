"""What a camera does to a picture: exposure, tone curve, lens faults, noise, sharpening, compression."""

import cv2
import numpy as np

from maquette.types import Bool, Float32, Float64, UInt8


def to_linear(srgb: UInt8 | Float32) -> Float32:
    """SRGB 0..255 to linear light 0..1 (IEC 61966-2-1)."""
    if srgb.dtype == np.uint8:
        return _LINEAR[srgb]
    return np.asarray(_decode(np.asarray(srgb, np.float64) / 255), np.float32)


def _decode(v: Float64) -> Float64:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def _encode(v: Float32) -> Float32:
    return np.asarray(np.where(v <= 0.0031308, 12.92 * v, 1.055 * np.maximum(v, 1e-8) ** (1 / 2.4) - 0.055), np.float32)


_LINEAR: Float32 = _decode(np.arange(256) / 255).astype(np.float32)


def develop(linear: Float32, face: Bool, rng: np.random.Generator) -> UInt8:
    """Turn radiance into a photo.

    Args:
        linear: (N, N, 3) float32 linear light, any scale.
        face: (N, N) what the exposure meter looks at.
        rng: Source of chance.

    Returns:
        (N, N, 3) uint8 sRGB.
    """
    n = len(linear)
    level = float(np.median(linear[face].mean(1))) if face.any() else float(linear.mean())
    target = float(np.clip(np.exp(rng.normal(np.log(0.22), 0.4)), 0.05, 0.6))
    x = linear * (target / max(level, 1e-4))
    x = x * np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)
    if rng.random() < 0.6:
        x = x * _vignette(rng, n)
    if rng.random() < 0.4:
        x = _fringes(x, rng)
    x = _defocus(x, rng)
    x = _noisy(x, rng)
    # A shoulder as in cameras' own tone curves: highlights roll off instead of clipping.
    shoulder = rng.uniform(0.0, 0.8)
    x = x * (1 + shoulder * x / 4) / (1 + shoulder * x)
    v = np.clip(_encode(np.clip(x, 0, 1)), 0, 1)
    v = _graded(v, rng)
    if rng.random() < 0.45:
        soft = cv2.GaussianBlur(v, (0, 0), rng.uniform(0.7, 2.0))
        v = v + rng.uniform(0.2, 1.0) * (v - soft)
    out = np.rint(np.clip(v, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.25:
        out = _rescaled(out, rng)
    if rng.random() < 0.8:
        quality = int(np.clip(rng.normal(80, 14), 30, 97))
        ok, data = cv2.imencode(".jpg", out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        assert ok
        out = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
    return np.ascontiguousarray(out)


def _vignette(rng: np.random.Generator, n: int) -> Float32:
    y, x = np.mgrid[0:n, 0:n] / n - 0.5 - rng.normal(0, 0.08, 2)[:, None, None]
    return np.asarray(1 / (1 + rng.uniform(0, 0.9) * (x * x + y * y)) ** 2, np.float32)[..., None]


def _fringes(x: Float32, rng: np.random.Generator) -> Float32:
    """Lateral chromatic aberration: red and blue are magnified differently."""
    n = len(x)
    out = x.copy()
    for channel, sign in ((0, 1), (2, -1)):
        k = 1 + sign * rng.uniform(0, 0.004)
        shift = (1 - k) * n / 2
        warp = np.array([[k, 0, shift], [0, k, shift]])
        out[..., channel] = cv2.warpAffine(
            np.ascontiguousarray(x[..., channel]), warp, (n, n), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return out


def _defocus(x: Float32, rng: np.random.Generator) -> Float32:
    if rng.random() < 0.6:
        x = np.asarray(cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.6)), np.float32)
    if rng.random() < 0.08:
        kernel = np.zeros((9, 9), np.float32)
        a, r = rng.uniform(0, np.pi), rng.uniform(1.5, 4)
        end = np.array([np.cos(a), np.sin(a)]) * r
        a0, a1 = (tuple(int(v) for v in np.rint((4 + s * end) * 16)) for s in (-1, 1))
        cv2.line(kernel, a0, a1, 1.0, 1, cv2.LINE_AA, 4)
        x = np.asarray(cv2.filter2D(x, -1, kernel / kernel.sum()), np.float32)
    return x


def _noisy(x: Float32, rng: np.random.Generator) -> Float32:
    """Photon and read noise, sometimes smoothed as phones do."""
    shot, read = np.exp(rng.uniform(np.log([2e-5, 5e-4]), np.log([2.5e-3, 8e-3])))
    grain = rng.normal(0, 1, x.shape).astype(np.float32)
    if rng.random() < 0.5:
        grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), 0.8), np.float32) * 1.8
    return np.asarray(x + grain * np.sqrt(shot * np.clip(x, 0, None) + read * read), np.float32)


def _graded(v: Float32, rng: np.random.Generator) -> Float32:
    """Contrast, gamma, saturation, black-and-white."""
    v = v ** np.float32(np.exp(rng.normal(0, 0.12)))
    contrast = np.exp(rng.normal(0, 0.12))
    v = np.clip((v - 0.45) * contrast + 0.45, 0, 1).astype(np.float32)
    grey = v @ np.array([0.299, 0.587, 0.114], np.float32)
    saturation = 0.0 if rng.random() < 0.05 else np.exp(rng.normal(0, 0.2))
    v = grey[..., None] + saturation * (v - grey[..., None])
    if saturation == 0 and rng.random() < 0.4:
        v = v * np.array([1.0, 0.93, 0.82], np.float32)
    return np.clip(v, 0, 1).astype(np.float32)


def _rescaled(picture: UInt8, rng: np.random.Generator) -> UInt8:
    n = len(picture)
    small = max(48, int(n * rng.uniform(0.3, 0.8)))
    shrunk = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (n, n), interpolation=cv2.INTER_LINEAR), np.uint8)
