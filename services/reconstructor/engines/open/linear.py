"""Between sRGB bytes and linear light (IEC 61966-2-1)."""

from functools import cache

import cv2
import numpy as np

from maquette.types import Float32, UInt8

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Weights of linear red, green and blue in luminance (Rec. 709)."""

_STEPS = 4096


@cache
def _decoding() -> Float32:
    c = np.arange(256) / 255
    return np.asarray(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4), np.float32)


@cache
def _encoding() -> UInt8:
    # Indexed by the square root, so that dark colours have as many steps as they need.
    x = np.linspace(0, 1, _STEPS) ** 2
    c = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * c), np.uint8)


def decode(srgb: UInt8) -> Float32:
    """Linear light, 0 to 1, of sRGB bytes; any shape."""
    return _decoding()[srgb]


def encode(linear: Float32) -> UInt8:
    """Bytes in sRGB of linear light, clipped to 0..1; any shape."""
    index = np.sqrt(np.clip(linear, 0, 1)) * np.float32(_STEPS - 1) + np.float32(0.5)
    return np.asarray(_encoding()[index.astype(np.int16)], np.uint8)


def luminance(linear: Float32) -> Float32:
    """(...) luminance of (..., 3) linear light."""
    return np.asarray(linear @ LUMINANCE, np.float32)


def log(values: Float32, floor: float = 2e-3) -> Float32:
    """Natural logarithm, values below the floor held to it; any shape."""
    held = np.maximum(values, np.float32(floor))
    return np.asarray(cv2.log(held.reshape(len(held), -1)), np.float32).reshape(values.shape)


def exp(values: Float32) -> Float32:
    """Exponential; any shape."""
    return np.asarray(cv2.exp(values.reshape(len(values), -1)), np.float32).reshape(values.shape)
