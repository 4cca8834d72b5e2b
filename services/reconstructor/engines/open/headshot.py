"""A small square around the head, cut out of a photo: the camera, the pixels and the person in it."""

import cv2
import numpy as np

from maquette.headmodel import HeadModel
from maquette.rooms import PhotoView
from maquette.types import Bool, Camera, Float32, Float64, UInt8

_SIDE = 144
"""Pixels a side of the square that hair is looked for in."""

_ABOVE, _BELOW, _BESIDE = 75.0, 130.0, 165.0
"""mm that the square reaches above and below the head's middle height's ends, and to each side of its middle."""


def head_square(camera: Camera, vertices: Float32, model: HeadModel) -> Camera:
    """The camera with its picture cut and scaled to a square around head and hair."""
    head = vertices[model.region("face") | model.region("scalp")].astype(np.float64)
    low, high = head.min(0), head.max(0)
    middle = (low + high) / 2
    corners = np.array(
        [
            [middle[0] + sx * _BESIDE, y, z]
            for sx in (-1, 1)
            for y in (low[1] - _BELOW, high[1] + _ABOVE)
            for z in (middle[2],)
        ]
    )
    at = camera.project(corners)
    centre = (at.min(0) + at.max(0)) / 2
    scale = _SIDE / float(np.ptp(at, axis=0).max())
    return Camera(
        camera.focal * scale,
        (camera.centre - centre) * scale + _SIDE / 2,
        camera.rotation,
        camera.translation,
        _SIDE,
        _SIDE,
    )


def square_pixels(pixels: UInt8, camera: Camera, square: Camera) -> tuple[UInt8, Bool]:
    """The photo in the square, smoothed where it shrinks, and where the square lies in the photo."""
    affine = _to_photo(camera, square)
    scale = affine[0, 0]
    source = pixels if scale < 1.5 else cv2.GaussianBlur(pixels, (0, 0), float(scale) * 0.4)
    # OpenCV counts from pixel centres.
    centred = affine.copy()
    centred[:, 2] += 0.5 * scale - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    out = cv2.warpAffine(source, centred, (_SIDE, _SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    x = (np.arange(_SIDE) + 0.5) * scale + affine[0, 2]
    y = (np.arange(_SIDE) + 0.5) * scale + affine[1, 2]
    inside = ((y > 0) & (y < pixels.shape[0]))[:, None] & ((x > 0) & (x < pixels.shape[1]))[None]
    return np.asarray(out, np.uint8), np.asarray(inside, bool)


def square_person(view: PhotoView, camera: Camera, square: Camera) -> Bool:
    """(N, N) where the person is; the square's part that the mask does not reach is not."""
    affine = np.concatenate([_to_photo(camera, square), [[0, 0, 1]]])
    joined = (np.concatenate([view.mask.to_crop, [[0, 0, 1]]]) @ affine)[:2]
    centred = joined.copy()
    centred[:, 2] += joined[:, :2] @ [0.5, 0.5] - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(view.mask.alpha, centred, (_SIDE, _SIDE), flags=flags) > 0.5, bool)


def _to_photo(camera: Camera, square: Camera) -> Float64:
    """(2, 3) affine from the square's pixels (their corners at whole numbers) to the photo's."""
    scale = camera.focal / square.focal
    shift = camera.centre - square.centre * scale
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
