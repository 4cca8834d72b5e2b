"""A face cut out of a photo and turned upright, in linear light."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from maquette.types import Float32, Float64

SIDE = 160
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)

_RIGHT_CORNER, _LEFT_CORNER = 33, 263


@dataclass(frozen=True)
class Framing:
    """What a patch shows.

    Attributes:
        spacing: Distance of the eyes' outer corners by the patch's side.
        right: Where the right eye's outer corner comes to lie, x and y by the side.
    """

    spacing: float
    right: tuple[float, float]


CLOSE = Framing(0.5, (0.25, 0.38))
"""Brows to mouth."""

WIDE = Framing(0.31, (0.345, 0.45))
"""With the chin, and the hair above the forehead."""


class FacePatch:
    """A square picture of a face; pixels skipped by none.

    Attributes:
        linear: (SIDE, SIDE, 3) float32, 0 to 1.
        luminance: (SIDE, SIDE) float32.
        points: (478, 2) float64, landmarks in its pixels.
    """

    def __init__(self, pixels: NDArray[np.uint8], landmarks: Float64, framing: Framing = CLOSE) -> None:
        """Cut out a face.

        Args:
            pixels: (H, W, 3) uint8 sRGB.
            landmarks: (478, 2 or 3) pixels.
            framing: What to show.
        """
        right, left = landmarks[_RIGHT_CORNER, :2], landmarks[_LEFT_CORNER, :2]
        across = left - right
        length = max(float(np.hypot(*across)), 1.0)
        scale = framing.spacing * SIDE / length
        c, s = across / length
        turn = scale * np.array([[c, s], [-s, c]])
        shift = np.array(framing.right) * SIDE - turn @ right
        self.points: Float64 = landmarks[:, :2] @ turn.T + shift
        corners = (np.array([[0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE]]) - shift) @ np.linalg.inv(turn).T
        # The patch's part of the photo, halved until the warp skips no pixel.
        x, y = np.maximum(np.floor(corners.min(0)).astype(int), 0)
        x1, y1 = np.maximum(np.ceil(corners.max(0)).astype(int), [x + 2, y + 2])
        part = pixels[min(y, len(pixels) - 1) : y1, min(x, pixels.shape[1] - 1) : x1]
        halvings = max(int(-np.log2(2 * scale)), 0)
        for _ in range(halvings):
            size = (max(part.shape[1] // 2, 1), max(part.shape[0] // 2, 1))
            part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
        to_patch = np.concatenate([2**halvings * turn, (turn @ [x, y] + shift)[:, None]], 1)
        warped = cv2.warpAffine(part, to_patch, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
        self.linear: Float32 = np.asarray((warped.astype(np.float32) / 255) ** 2.2, np.float32)
        self.luminance: Float32 = np.asarray(self.linear @ LUMINANCE, np.float32)

    def at(self, image: Float32, landmarks: tuple[int, ...]) -> Float32:
        """(L, ...) values of a picture of the patch's size at landmarks."""
        x, y = np.clip(self.points[list(landmarks)].astype(int), 0, SIDE - 1).T
        return np.asarray(image[y, x], np.float32)
