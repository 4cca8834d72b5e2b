"""``overlay.png``: the photo, and the head drawn over it from the photo's own camera."""

from dataclasses import replace

import cv2
import numpy as np

from maquette.rooms import PhotoView
from maquette.types import Camera, Head, UInt8
from services.meshproc.materials import Maps
from services.meshproc.mesh import HeadMesh
from services.meshproc.picture import Stage, Surface, over

_PANEL = 540
_MARGIN = 0.25


def draw_overlay(head: Head, mesh: HeadMesh, maps: Maps | None, view: PhotoView) -> UInt8:
    """Draw a head over its photo.

    Args:
        head: The head; its first view is the photo's.
        mesh: Its mesh in the photo's expression.
        maps: Its pictures; None draws clay only.
        view: The photo.

    Returns:
        (H, W, 3) uint8 sRGB: the photo around the head, the head in colour over it, the shape in clay half over it.
    """
    camera, crop = _crop(head.fit.views[0].camera, mesh, view.photo.pixels)
    panels = [crop]
    if maps is not None:
        coloured = Surface.of_mesh(mesh, maps.colour)
        panels.append(over(*Stage([coloured, *(Surface.of_hair(p) for p in head.hair)]).draw(camera), crop))
    panels.append(over(*Stage([Surface.of_mesh(mesh, None)]).draw(camera), crop, 0.65))
    return np.hstack(panels)


def _crop(camera: Camera, mesh: HeadMesh, photo: UInt8) -> tuple[Camera, UInt8]:
    """The part of the photo around the head, scaled to one height, and its camera."""
    xy = camera.project(mesh.vertices.astype(np.float64))
    low, high = xy.min(0), xy.max(0)
    side = (high - low).max() * (1 + 2 * _MARGIN)
    x0, y0 = np.maximum(np.floor((low + high) / 2 - side / 2), 0).astype(int)
    x1, y1 = np.minimum(np.ceil((low + high) / 2 + side / 2), [photo.shape[1], photo.shape[0]]).astype(int)
    piece = photo[y0:y1, x0:x1]
    scale = _PANEL / piece.shape[0]
    width = max(1, round(piece.shape[1] * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = np.asarray(cv2.resize(piece, (width, _PANEL), interpolation=way), np.uint8)
    stretch = width / piece.shape[1]
    seen = replace(
        camera,
        focal=camera.focal * scale,
        centre=(camera.centre - [x0, y0]) * [stretch, scale],
        width=width,
        height=_PANEL,
    )
    return seen, picture
