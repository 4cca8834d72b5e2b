"""Turned squares of a photo and their pixels."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from maquette.types import Float64, UInt8


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

    def sample(self, pixels: UInt8, side: int) -> UInt8:
        """Draw the square as a picture of its own.

        Photo pixels are averaged over areas first where the picture is much smaller than they are (plain sampling
        would alias), and continued beyond the photo's border.

        Args:
            pixels: (H, W, 3) uint8.
            side: Width of the picture.

        Returns:
            (side, side, 3) uint8.
        """
        to_photo = self.to_photo(side)
        factor = max(1, round(self.size / side))
        corners = np.array([[0, 0, side, side], [0, side, 0, side]])
        reach = to_photo[:, :2] @ corners + to_photo[:, 2:]
        source, origin = pixels, np.zeros(2)
        if factor > 1:
            low = np.floor(reach.min(1)).astype(int) - 2 * factor
            count = np.ceil((reach.max(1) - low) / factor).astype(int) + 2
            source = _area_mean(pixels, low, count, factor)
            origin = low.astype(np.float64)
        # From crop pixels to the source's; the warp counts from pixel centres, the frames here from pixel corners.
        warp = to_photo / factor
        warp[:, 2] -= origin / factor
        warp[:, 2] += warp[:, :2] @ [0.5, 0.5] - 0.5
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        drawn = cv2.warpAffine(source, warp, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(drawn, np.uint8)


def _area_mean(pixels: UInt8, low: Float64, count: Float64, factor: int) -> UInt8:
    """Mean of each ``factor`` × ``factor`` block of a rectangle that may leave the photo.

    Args:
        pixels: (H, W, 3) uint8.
        low: (2,) int, x and y of its first pixel.
        count: (2,) int, blocks across and down.
        factor: Pixels a block.
    """
    height, width = pixels.shape[:2]
    x0, y0 = int(low[0]), int(low[1])
    x1, y1 = x0 + int(count[0]) * factor, y0 + int(count[1]) * factor
    # At least one row and column of the photo is taken, to be continued, even where the rectangle misses it.
    left, right = min(max(x0, 0), width - 1), max(min(x1, width), 1)
    top, bottom = min(max(y0, 0), height - 1), max(min(y1, height), 1)
    margins = (top - y0, y1 - bottom, left - x0, x1 - right)
    framed = cv2.copyMakeBorder(pixels[top:bottom, left:right], *margins, cv2.BORDER_REPLICATE)
    small = cv2.resize(framed, (int(count[0]), int(count[1])), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
