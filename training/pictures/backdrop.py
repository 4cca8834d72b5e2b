"""What stands behind the head: plain walls, gradients, blurred rooms, leaves and lights, all drawn here."""

import cv2
import numpy as np

from maquette.types import Float32


def draw_backdrop(rng: np.random.Generator, size: int) -> Float32:
    """(size, size, 3) float32 linear light."""
    kind = rng.choice(["wall", "gradient", "room", "leaves", "lights", "noise"], p=[0.2, 0.15, 0.3, 0.12, 0.08, 0.15])
    tone = np.exp(rng.normal(-1.6, 0.9))
    hue = np.exp(rng.normal(0, 0.3 if rng.random() < 0.3 else 0.08, 3))
    base = np.full((size, size, 3), tone * hue / hue.mean(), np.float32)
    if kind == "gradient":
        base *= _ramp(rng, size) * 2
    elif kind == "room":
        base = _room(rng, base)
    elif kind == "leaves":
        green = np.array([0.5, 0.8, 0.3]) * np.exp(rng.normal(0, 0.2, 3))
        base = tone * green * np.exp(1.2 * _noise(rng, size, 3))
    elif kind == "lights":
        base = _lights(rng, base * 0.4)
    elif kind == "noise":
        base = base * np.exp(rng.uniform(0.2, 1.0) * _noise(rng, size, 3))
    base = base * np.exp(0.08 * _noise(rng, size, 1)) * (0.6 + 0.8 * _ramp(rng, size))
    # Portraits are focused on the face.
    blur = float(np.exp(rng.uniform(np.log(0.6), np.log(12)))) * size / 384
    return np.asarray(cv2.GaussianBlur(base.astype(np.float32), (0, 0), blur), np.float32)


def _ramp(rng: np.random.Generator, size: int) -> Float32:
    """(size, size, 1) float32 from 0 to 1 in a random direction."""
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    a = rng.uniform(0, 2 * np.pi)
    return np.asarray(np.clip(0.5 + 0.7 * (x * np.cos(a) + y * np.sin(a)), 0, 1)[..., None], np.float32)


def _noise(rng: np.random.Generator, size: int, channels: int) -> Float32:
    """(size, size, channels) float32 of about unit variance: several octaves, mostly grey."""
    out = np.zeros((size, size, channels), np.float32)
    for cells in (3, 6, 12, 24, 48):
        grid = 0.9 * rng.normal(0, 1, (cells, cells, 1)) + 0.15 * rng.normal(0, 1, (cells, cells, channels))
        scaled = cv2.resize(grid.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
        out += scaled.reshape(size, size, channels) * rng.uniform(0.2, 0.8)
    return out


def _room(rng: np.random.Generator, base: Float32) -> Float32:
    """Boxes as of furniture, doors, shelves and windows."""
    size = len(base)
    out = base.copy()
    for _ in range(rng.integers(3, 25)):
        w, h = (np.exp(rng.uniform(np.log(0.03), np.log(0.7), 2)) * size).astype(int) + 1
        x, y = (rng.uniform(-0.2, 1.0, 2) * size).astype(int)
        bright = 5.0 if rng.random() < 0.08 else 1.0
        tone = np.exp(rng.normal(-1.6, 0.9)) * bright
        hue = np.exp(rng.normal(0, 0.2, 3))
        colour = tuple(float(c) for c in tone * hue / hue.mean())
        cv2.rectangle(out, (int(x), int(y)), (int(x + w), int(y + h)), colour, -1)
    return np.asarray(out * np.exp(0.15 * _noise(rng, size, 3)), np.float32)


def _lights(rng: np.random.Generator, base: Float32) -> Float32:
    """Round blurred lamps of a night scene."""
    size = len(base)
    out = base.copy()
    for _ in range(rng.integers(5, 40)):
        centre = tuple(int(v) for v in rng.uniform(0, size, 2))
        disc = np.zeros_like(base)
        colour = tuple(float(c) for c in rng.uniform(0.1, 2.0) * np.exp(rng.normal(0, 0.4, 3)))
        cv2.circle(disc, centre, int(rng.uniform(0.01, 0.06) * size) + 1, colour, -1, cv2.LINE_AA)
        out += disc
    return out
