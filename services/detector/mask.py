"""Which pixels around a face belong to the person."""

import numpy as np

from maquette.types import Face, Float32, Float64, Mask, UInt8
from services.detector.landmarks import frame
from services.detector.network import Network, unit_range
from services.detector.region import Pyramid, Region

REACH = 1.75
"""Side of the masked square by that of the landmark crop: hair, ears and neck lie within."""


class MaskNetwork:
    """The selfie segmentation network."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def __call__(self, pixels: UInt8, face: Face) -> Mask:
        """Mask the person around a face.

        Args:
            pixels: (H, W, 3) uint8.
            face: Where.

        Returns:
            The mask of a square that is turned as the face is; beyond the photo it is 0.
        """
        around = frame(face.landmarks.astype(np.float64))
        region = Region(around.x, around.y, REACH * around.size, around.angle)
        side = self._network.side
        alpha = self._network(unit_range(region.sample(Pyramid(pixels), side)))[0][..., 0]
        to_photo = region.to_photo(side)
        inside = _inside(to_photo, side, pixels.shape[1], pixels.shape[0])
        return Mask(np.asarray(np.clip(alpha, 0, 1) * inside, np.float32), _inverse(to_photo))


def _inside(to_photo: Float64, side: int, width: int, height: int) -> Float32:
    """(side, side) float32, 1 where the centre of a mask pixel lies in the photo."""
    centres = np.arange(side) + 0.5
    x, y = np.meshgrid(centres, centres)
    photo = np.stack([x, y, np.ones_like(x)], -1) @ to_photo.T
    return np.asarray(((photo >= 0) & (photo <= [width, height])).all(-1), np.float32)


def _inverse(affine: Float64) -> Float64:
    turn = np.linalg.inv(affine[:, :2])
    return np.concatenate([turn, -turn @ affine[:, 2:]], axis=1)
