"""Encoding pictures: PNG of 8 and 16 bits, JPEG, floating-point TIFF."""

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maquette.errors import MeshInvalid
from maquette.types import Float32, UInt8

UInt16 = NDArray[np.uint16]

DISPLACEMENT_RANGE_MM = 5.0
"""Displacement that the full range of a 16-bit map reaches on either side of its middle."""

_MIDDLE = 32768
_PNG_LEVEL = 1
_JPEG_QUALITY = 92


def encode_png(pixels: UInt8 | UInt16) -> bytes:
    """Encode a picture losslessly, quickly rather than tightly.

    Args:
        pixels: (H, W), (H, W, 3) or (H, W, 4), uint8 or uint16; colours in the order red, green, blue, alpha.

    Raises:
        MeshInvalid: Another shape or type.
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        raise MeshInvalid(f"expected pixels of uint8 or uint16, found {pixels.dtype}")
    return _encode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])


class PngOnce:
    """Encodes each picture once, for files that hold the same ones; keep it no longer than one head."""

    def __init__(self) -> None:
        # With each picture is kept what it became, so that no other can take its identity.
        self._done: dict[int, tuple[UInt8, bytes]] = {}

    def __call__(self, pixels: UInt8) -> bytes:
        """As ``encode_png``; the picture must not be changed afterwards."""
        if id(pixels) not in self._done:
            self._done[id(pixels)] = (pixels, encode_png(pixels))
        return self._done[id(pixels)][1]


def encode_jpeg(pixels: UInt8) -> bytes:
    """Encode an (H, W, 3) uint8 sRGB picture with full colour resolution."""
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return _encode(".jpg", pixels, options)


def encode_tiff(values: Float32) -> bytes:
    """Encode (H, W) float32 as a TIFF of one 32-bit floating-point channel, losslessly."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values, np.float32)).save(out, "TIFF", compression="tiff_adobe_deflate")
    return out.getvalue()


def displacement_levels(displacement: Float32) -> UInt16:
    """(H, W) float32 mm as 16-bit levels: 32768 is no displacement, 0 and 65535 are ``DISPLACEMENT_RANGE_MM``."""
    steps = np.rint(displacement * ((_MIDDLE - 1) / DISPLACEMENT_RANGE_MM))
    return np.asarray(np.clip(_MIDDLE + steps, 0, 65535), np.uint16)


def _encode(kind: str, pixels: UInt8 | UInt16, options: list[int]) -> bytes:
    channels = 1 if pixels.ndim == 2 else int(pixels.shape[-1])
    if pixels.ndim not in (2, 3) or channels not in (1, 3, 4) or pixels.size == 0:
        raise MeshInvalid(f"expected pixels of shape (H, W), (H, W, 3) or (H, W, 4), found {pixels.shape}")
    # OpenCV's order is blue, green, red.
    ordered = pixels if channels == 1 else pixels[..., [2, 1, 0, 3][:channels]]
    done, data = cv2.imencode(kind, np.ascontiguousarray(ordered), options)
    if not done:
        raise MeshInvalid(f"expected a picture that fits into {kind}, found one of shape {pixels.shape}")
    return data.tobytes()
