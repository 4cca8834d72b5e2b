"""Turned squares of a photo and their pixels."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from maquette.types import Float64, UInt8


class Pyramid:
    """A photo and what it looks like smaller, for drawing parts of it without aliasing.

    Attributes:
        width: Of the photo, pixels.
        height: Of the photo, pixels.
    """

    def __init__(self, pixels: UInt8) -> None:
        """Start a pyramid; levels are made when first needed.

        Args:
            pixels: (H, W, 3) uint8.
        """
        self._levels = [pixels]
        self.height, self.width = pixels.shape[:2]

    def level(self, halvings: int) -> UInt8:
        """The photo after so many halvings; a last odd row or column is dropped each time."""
        while len(self._levels) <= halvings:
            above = self._levels[-1]
            height, width = max(1, above.shape[0] // 2), max(1, above.shape[1] // 2)
            even = above[: 2 * height, : 2 * width]
            self._levels.append(np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8))
        return self._levels[halvings]

    def shrunk(self, scale: float) -> tuple[UInt8, Float64]:
        """The photo at another scale, and the (2,) scales along x and y that whole pixels allowed."""
        size = (max(1, round(self.width * scale)), max(1, round(self.height * scale)))
        source = self.level(max(0, math.floor(-math.log2(scale))))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = np.asarray(cv2.resize(source, size, interpolation=method), np.uint8)
        return small, np.array([size[0] / self.width, size[1] / self.height])


@dataclass(frozen=True)
class Region:
    """A square of the photo plane, turned.

    Attributes:
        x: Centre, photo pixels (see ``maquette.types`` for the frame).
        y: Centre, photo pixels.
        size: Side in photo pixels.
        angle: Radians from the photo's x axis to the square's, clockwise as seen.
    """

    x: float
    y: float
    size: float
    angle: float

    def to_photo(self, side: int) -> Float64:
        """(2, 3) float64, affine from the pixels of a picture of the square, ``side`` pixels wide, to photo pixels."""
        scale = self.size / side
        c, s = math.cos(self.angle) * scale, math.sin(self.angle) * scale
        turn = np.array([[c, -s], [s, c]])
        shift = np.array([self.x, self.y]) - turn @ np.array([side / 2, side / 2])
        return np.concatenate([turn, shift[:, None]], axis=1)

    def sample(self, photo: Pyramid, side: int) -> UInt8:
        """Draw the square as a picture of its own; the photo's border is continued beyond it.

        Returns:
            (side, side, 3) uint8.
        """
        halvings = max(0, round(math.log2(self.size / side)))
        # The warp counts from pixel centres, the frames here from pixel corners.
        warp = self.to_photo(side) / 2**halvings
        warp[:, 2] += warp[:, :2] @ [0.5, 0.5] - 0.5
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        drawn = cv2.warpAffine(photo.level(halvings), warp, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(drawn, np.uint8)
