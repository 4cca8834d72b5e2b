"""``overlay.png``: the photo, and the head drawn over it from the photo's own camera."""

from dataclasses import replace

import cv2
import numpy as np

from maquette.types import Camera, Float32, UInt8
from services.meshproc.picture import Paint, Sitter, over

_PANEL = 640
_MARGIN = 0.25
_CLAY = 0.8


def draw_overlay(sitter: Sitter, camera: Camera, photo: UInt8, paint: Paint | None) -> UInt8:
    """Draw a head over its photo.

    Args:
        sitter: The head in the photo's expression.
        camera: The photo's.
        photo: (H, W, 3) uint8 sRGB.
        paint: Its colour map with the photo's light in it; None leaves the picture in colour out.

    Returns:
        (H, W, 3) uint8 sRGB: the photo around the head, the head in colour over it, the shape in clay over it.
    """
    camera, piece = _crop(camera, sitter.mesh.vertices, photo)
    look = sitter.look(camera)
    panels = [piece]
    if paint is not None:
        panels.append(over(look.colour(paint, baked=True), piece))
    panels.append(over(look.clay(), piece, _CLAY))
    return np.hstack(panels)


def _crop(camera: Camera, vertices: Float32, photo: UInt8) -> tuple[Camera, UInt8]:
    """The part of the photo around the head, scaled to one height, and its camera."""
    xy = camera.project(vertices.astype(np.float64))
    low, high = xy.min(0), xy.max(0)
    half = (high - low).max() * (0.5 + _MARGIN)
    # Two pixels at least, should the head lie beside its photo.
    size = np.array([photo.shape[1], photo.shape[0]])
    start = np.clip(np.floor((low + high) / 2 - half), 0, size - 2).astype(int)
    stop = np.clip(np.ceil((low + high) / 2 + half), start + 2, size).astype(int)
    piece = photo[start[1] : stop[1], start[0] : stop[0]]
    scale = _PANEL / piece.shape[0]
    width = max(1, round(piece.shape[1] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = np.asarray(cv2.resize(piece, (width, _PANEL), interpolation=how), np.uint8)
    centre = (camera.centre - start) * scale
    return replace(camera, focal=camera.focal * scale, centre=centre, width=width, height=_PANEL), resized
