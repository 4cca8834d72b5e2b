"""Whether what came from elsewhere can be computed with: photos with their faces and masks, and heads."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from maquette.errors import MessageInvalid
from maquette.rooms import PhotoView
from maquette.types import Face, Hair, Head, Mask, Photo, View

_LARGEST = 8.0
"""Coordinates of a face by the longer side of its photo; what is cut off reaches out of it, but not that far."""

_CANONICAL_MM = 1e4
_COORDINATE_MM = 1e6
_LARGEST_SIDE = 65_535


def check_view(view: PhotoView) -> None:
    """Check a view.

    Raises:
        MessageInvalid: Its parts cannot belong together.
    """
    check_face(view.photo, view.face)
    check_mask(view.mask)


def check_face(photo: Photo, face: Face) -> None:
    """Check that a face can have been found in a photo.

    Raises:
        MessageInvalid: It lies beside the photo, or is of an absurd size.
    """
    side = max(photo.width, photo.height)
    for name, points in (("landmarks", face.landmarks), ("plain_landmarks", face.plain_landmarks)):
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        inside = (high > 0).all() and (low < [photo.width, photo.height]).all()
        if not (inside and float((high - low).max()) >= 1 and float(np.abs(points).max()) <= _LARGEST * side):
            raise MessageInvalid(
                f"expected {name} of a face in this photo of {photo.width} × {photo.height} pixels, found them between "
                f"({low[0]:.5g}, {low[1]:.5g}) and ({high[0]:.5g}, {high[1]:.5g})",
                field=name,
            )
    largest = float(np.abs(face.canonical).max())
    if not largest <= _CANONICAL_MM:
        raise MessageInvalid(f"expected canonical within {_CANONICAL_MM:g} mm, found {largest:.5g}", field="canonical")


def check_mask(mask: Mask) -> None:
    """Check that a mask is one.

    Raises:
        MessageInvalid: It is empty, not between 0 and 1, or its place is none.
    """
    alpha = mask.alpha
    if not alpha.size or not (np.isfinite(alpha).all() and 0 <= alpha.min() <= alpha.max() <= 1):
        raise MessageInvalid("expected a mask of values between 0 and 1, found others or none", field="mask")
    turn = mask.to_crop[:, :2]
    if not np.isfinite(mask.to_crop).all() or not 1e-9 < abs(float(np.linalg.det(turn))) < 1e9:
        raise MessageInvalid("expected a mask that lies somewhere in its photo, found one that does not", field="mask")


def check_head(head: Head) -> None:
    """Check that the numbers of a head are numbers, and its indices point somewhere.

    Raises:
        MessageInvalid: They are or do not.
    """
    for name, array in _floats(head):
        if not np.isfinite(array).all():
            raise MessageInvalid(f"expected {name} of a head to be finite, found undefined values", field=name)
    for name, points in (("neutral", head.neutral), ("posed", head.posed), *_hair_points(head)):
        largest = float(np.abs(points).max(initial=0))
        if largest >= _COORDINATE_MM:
            raise MessageInvalid(
                f"expected {name} of a head within {_COORDINATE_MM:g} mm, found {largest:.5g}", field=name
            )
    for view in head.fit.views:
        _check_fitted(view)
    for hair in head.hair:
        _check_hair(hair)
    maps = head.textures
    if maps is not None and not (maps.photo.size and (maps.displacement is None or maps.displacement.size)):
        raise MessageInvalid("expected textures of a head with texels, found some without", field="textures")


def _check_fitted(view: View) -> None:
    camera = view.camera
    sides = 1 <= camera.width <= _LARGEST_SIDE and 1 <= camera.height <= _LARGEST_SIDE
    if not (sides and camera.focal > 0 and abs(abs(float(np.linalg.det(camera.rotation))) - 1) < 0.1):
        raise MessageInvalid("expected a camera of a head that could have taken its photo, found one that could not")


def _check_hair(hair: Hair) -> None:
    corners = hair.triangles
    if not (corners.size and hair.colour.size and 0 <= corners.min() <= corners.max() < len(hair.vertices)):
        raise MessageInvalid("expected hair of a head to be triangles of its vertices in colour, found other")


def _hair_points(head: Head) -> Iterator[tuple[str, NDArray[np.floating]]]:
    for hair in head.hair:
        yield "hair vertices", hair.vertices
        yield "hair uv", hair.uv


def _floats(head: Head) -> Iterator[tuple[str, NDArray[np.floating]]]:
    fit = head.fit
    yield from (("identity", fit.identity), ("uncertainty", fit.uncertainty), ("determined", fit.determined))
    yield from (("neutral", head.neutral), ("posed", head.posed))
    for view in fit.views:
        yield from (("expression", view.expression), ("gaze", view.gaze), ("residual_px", view.residual_px))
        camera = view.camera
        yield from (("centre", camera.centre), ("rotation", camera.rotation), ("translation", camera.translation))
    yield from _hair_points(head)
    maps = head.textures
    if maps is not None:
        yield from (("weight", maps.weight), ("lighting", maps.lighting))
        if maps.displacement is not None:
            yield "displacement", maps.displacement
