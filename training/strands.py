"""Pictures of hair, drawn: curls for the styles that come without a picture."""

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


def curls(size: int, seed: int, *, radius: float, count: int, thickness: int = 2) -> tuple[Float, Float]:
    """Many small arcs over each other.

    Args:
        size: Side in texels.
        seed: Of the arcs' places.
        radius: Mean radius of an arc in texels.
        count: Arcs.
        thickness: Texels.

    Returns:
        Luminance about 0.5 and opacity, (size, size) each.
    """
    rng = np.random.default_rng(seed)
    shade = np.full((size, size), 0.3, np.float32)
    cover = np.zeros((size, size), np.float32)
    for k in range(count):
        centre = rng.uniform(-radius, size + radius, 2)
        r = radius * rng.uniform(0.5, 1.5)
        start, sweep = rng.uniform(0, 360), rng.uniform(90, 300)
        # Later arcs lie on top and catch more light.
        light = float(0.22 + 0.5 * (k / count) * rng.uniform(0.6, 1.2))
        axes = (round(r), round(r * rng.uniform(0.5, 1.0)))
        turn = int(rng.integers(360))
        at = (round(centre[0]), round(centre[1]))
        points = np.array(cv2.ellipse2Poly(at, axes, turn, int(start), int(start + sweep), 12), np.int32)
        for canvas, value in ((shade, light), (cover, 1.0)):
            cv2.polylines(canvas, [points], False, value, thickness, cv2.LINE_AA)
    return shade, cover


def curly_cap(size: int, seed: int) -> Float:
    """Luminance of a dense cover of curls: (size, size)."""
    fine, _ = curls(size, seed, radius=size / 90, count=size * 14)
    return np.asarray(cv2.GaussianBlur(fine, (0, 0), 0.7), np.float32)


def curly_card(height: int, width: int, seed: int) -> tuple[Float, Float]:
    """A tuft of curls that gets thinner towards its edges: luminance and opacity, (height, width)."""
    side = max(height, width)
    shade, cover = curls(side, seed, radius=side / 22, count=side * 2)
    y, x = np.mgrid[0:height, 0:width]
    edge = np.minimum(np.minimum(x, width - 1 - x) / (0.16 * width), np.minimum(y, height - 1 - y) / (0.22 * height))
    noise = cv2.GaussianBlur(
        np.random.default_rng(seed + 1).normal(0, 1, (height, width)).astype(np.float32), (0, 0), 3
    )
    fade = np.clip(edge + noise * 1.5, 0, 1)
    return shade[:height, :width], np.asarray(cover[:height, :width] * (fade > 0.4), np.float32)
