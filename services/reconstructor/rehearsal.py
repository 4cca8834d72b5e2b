"""What an engine reconstructs before Triton calls it ready: the head model's mean head, drawn here.

The warm-up requests of the models' configurations hold nothing but zeros, so that no file of them can grow old; the
model takes such a request for this rehearsal, which touches all that a first photo would have to wait for.
"""

import cv2
import numpy as np

from maquette.benchmarks.portraits import draw_portrait
from maquette.headmodel import load_head_model
from maquette.rooms import PhotoView, ReconstructOptions, ReconstructorRoom
from maquette.types import Face, Head, Mask, Photo, Quality, Verdict
from services.reconstructor.tensors import Array

_NAME = "rehearsal"
_MASK_SIDE = 256


def is_rehearsal(header: Array) -> bool:
    """Whether a request's header is that of a warm-up request: zeros, which no JSON is."""
    return not header.any()


def rehearse(engine: ReconstructorRoom, name: str, *, complete: bool) -> Head:
    """Reconstruct the drawn head.

    Args:
        engine: The engine.
        name: Its name.
        complete: Textures, detail and hair too.

    Raises:
        MaquetteError: The engine cannot.
    """
    options = ReconstructOptions(engine=name)
    views = [drawn_view()]
    coarse = engine.coarse(views, options)
    return engine.complete(views, coarse, options) if complete else coarse


def drawn_view() -> PhotoView:
    """A photo of the mean head with what a detector would find in it; always the same."""
    model = load_head_model()
    portrait = draw_portrait(
        model,
        np.zeros(len(model.identity_modes), np.float32),
        np.random.default_rng(0),
        _NAME,
        expression=np.zeros(len(model.expression_names), np.float32),
        yaw_sd=0.0,
    )
    camera, pixels = portrait.camera, portrait.photo.pixels
    points = model.landmarks(model.mean).astype(np.float64)
    depth = camera.to_camera(points)[:, 2]
    landmarks = np.empty(points.shape, np.float32)
    landmarks[:, :2] = camera.project(points)
    landmarks[:, 2] = (depth - depth.mean()) * camera.focal / depth.mean()
    box = np.concatenate([landmarks[:, :2].min(0), landmarks[:, :2].max(0)])
    face = Face(
        box=box,
        landmarks=landmarks,
        plain_landmarks=landmarks,
        canonical=np.asarray(points - (points.min(0) + points.max(0)) / 2, np.float32),
        yaw=0.0,
        pitch=0.0,
        roll=0.0,
        score=1.0,
        size=float((box[2:] - box[:2]).max()),
        quality=Quality(Verdict.GOOD),
    )
    outline = cv2.convexHull(np.rint(landmarks[:, :2] * _MASK_SIDE / camera.width).astype(np.int32))
    alpha = cv2.fillConvexPoly(np.zeros((_MASK_SIDE, _MASK_SIDE), np.uint8), outline, 1)
    to_crop = np.array([[_MASK_SIDE / camera.width, 0, 0], [0, _MASK_SIDE / camera.height, 0]])
    mask = Mask(np.asarray(alpha, np.float32), to_crop)
    return PhotoView(Photo(pixels, None, _NAME, "0" * 64), face, mask)
