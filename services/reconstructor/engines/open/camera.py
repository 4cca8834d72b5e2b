"""Where the camera stood: first guesses and changes of view."""

import numpy as np

from maquette.errors import FaceUnusable
from maquette.geometry.transform import fit_similarity
from maquette.types import Camera, Float64, Photo

DISTANCE_MM = 1600.0
"""Camera distance where EXIF says nothing. Too near a guess shrinks the cranium and the ears."""

NEAREST_MM = 200.0
"""An EXIF focal length that puts the head nearer than this belongs to another picture."""

_WIDEST = 0.7
"""Least focal length by the picture's longer side where EXIF says nothing: a telephone's main lens."""

_FLIP = np.array([1.0, -1.0, -1.0])
"""From y down and z away from the camera to y up and z towards it, and back."""


def first_camera(landmarks: Float64, points: Float64, photo: Photo) -> Camera:
    """Guess a camera from landmarks with the network's depth.

    The network looks at a crop, so that its depths are along the ray through the face rather than along the optical
    axis; the rotation is carried over to the axis.

    Args:
        landmarks: (N, 3) pixels, y down, z on the same scale and away from the camera.
        points: (N, 3) mm in the head frame, where the model has them.
        photo: The photo; the principal point is taken to be its centre.

    Returns:
        A camera; with the focal length of EXIF where there is a usable one.

    Raises:
        FaceUnusable: The landmarks are all in one place.
    """
    centre = np.array([photo.width / 2, photo.height / 2])
    scale, turn, _ = fit_similarity(points, landmarks * _FLIP)
    if np.ptp(landmarks[:, :2], axis=0).max() < 1:
        raise FaceUnusable(f"{photo.name}: expected a face, found landmarks all in one place", photo=photo.name)
    focal = photo.focal_px
    if focal is None or focal / scale < NEAREST_MM:
        focal = max(scale * DISTANCE_MM, _WIDEST * max(photo.width, photo.height))
    at = (landmarks[:, :2].mean(0) - centre) / focal
    middle = points.mean(0)
    rotation = _towards(at) @ (_FLIP[:, None] * turn)
    # The scale of a crop belongs to the distance along its ray.
    ray = np.array([at[0], at[1], 1.0])
    position = ray / np.linalg.norm(ray) * (focal / scale)
    return Camera(float(focal), centre, rotation, position - rotation @ middle, photo.width, photo.height)


def facing(landmarks: Float64, camera: Camera) -> Float64:
    """Landmarks as the same camera would see them, had it looked straight at the face.

    A face beside the optical axis looks turned and stretched; what learned from centred faces wants it undone.

    Args:
        landmarks: (N, 3) pixels, z on the same scale.
        camera: The camera that saw them.

    Returns:
        (N, 3) pixels around (0, 0).
    """
    rays = np.concatenate([(landmarks[:, :2] - camera.centre) / camera.focal, np.ones((len(landmarks), 1))], 1)
    turned = rays @ _towards(rays[:, :2].mean(0))
    return np.concatenate([camera.focal * turned[:, :2] / turned[:, 2:], landmarks[:, 2:]], 1)


def _towards(at: Float64) -> Float64:
    """(3, 3) smallest rotation that takes the optical axis to the ray (x, y, 1)."""
    ray = np.array([at[0], at[1], 1.0])
    z = ray / np.linalg.norm(ray)
    # Rodrigues' formula for the rotation between two unit vectors, here the axis (0, 0, 1) and the ray.
    v = np.array([-z[1], z[0], 0.0])
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.asarray(np.eye(3) + k + k @ k / (1 + z[2]), np.float64)
