"""Photos of the mean head with a skin, a light and a camera that the tests choose."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from maquette.geometry.raster import Scene
from maquette.geometry.surface import vertex_normals
from maquette.geometry.transform import rotation_y
from maquette.headmodel import HeadModel, load_head_model
from maquette.rooms import PhotoView, ReconstructOptions
from maquette.types import Camera, Face, Fit, Float32, Float64, Mask, Photo, Quality, Textures, Verdict, View
from services.reconstructor.engines.open.texture import build_textures

SKIN = np.array([0.42, 0.25, 0.18])
SIDE = 512
DISTANCE_MM = 1500.0
SPAN_MM = 330.0

Paint = Callable[[Float64, NDArray[np.str_]], Float64]
"""Linear albedo (P, 3) of points (P, 3) mm of the mean head, and the component that each lies on (P,)."""

Relief = Callable[[Float64], Float64]
"""Gradient (P, 3) in space of a relief in mm at points (P, 3) mm."""


def plain(points: Float64, part: NDArray[np.str_]) -> Float64:
    """Skin of one colour with a pattern of a few per cent, darker in the mouth, eyes white."""
    wave = np.sin(points[:, 0] / 5) * np.sin(points[:, 1] / 6 + 1) * np.sin(points[:, 2] / 7)
    out = SKIN * (1 + 0.06 * wave)[:, None]
    out[np.isin(part, ["gums", "tongue", "mouth", "eye_socket"])] = [0.2, 0.05, 0.05]
    out[part == "teeth"] = [0.6, 0.55, 0.45]
    out[np.isin(part, ["eye_left", "eye_right"])] = [0.5, 0.5, 0.5]
    return out


@dataclass(frozen=True)
class Scenery:
    """A photo with everything that was known when it was made.

    Attributes:
        view: The photo with its face and mask.
        fitted: The camera, with no residuals.
        posed: (V, 3) the head.
    """

    view: PhotoView
    fitted: View
    posed: Float32


def camera_at(yaw: float) -> Camera:
    """A camera before the face; the head turns to its own left by ``yaw`` degrees."""
    rotation = np.diag([1.0, -1.0, -1.0]) @ rotation_y(yaw)
    translation = np.array([0.0, 0.0, DISTANCE_MM]) - rotation @ np.array([0.0, 0.0, 20.0])
    focal = SIDE / SPAN_MM * DISTANCE_MM
    return Camera(focal, np.array([SIDE / 2, SIDE / 2]), rotation, translation, SIDE, SIDE)


def take_photo(
    model: HeadModel,
    light: Callable[[Float64], Float64],
    paint: Paint = plain,
    camera: Camera | None = None,
    relief: Relief | None = None,
    gain: float = 1.0,
    oversampled: int = 2,
) -> Scenery:
    """Render the mean head.

    Args:
        model: The head model.
        light: Light (P,) or (P, 3) on surfaces of normals (P, 3).
        paint: Its colours.
        camera: From where; from the front by default.
        relief: Tilts the normals.
        gain: Exposure.
        oversampled: Rays along each side of a pixel.
    """
    camera = camera or camera_at(0)
    k = oversampled
    fine = Camera(
        camera.focal * k, camera.centre * k, camera.rotation, camera.translation, camera.width * k, camera.height * k
    )
    vertices = model.mean.astype(np.float64)
    raster = Scene(camera.to_camera(vertices), model.triangles).view(fine)
    points = np.asarray(raster.interpolate(vertices, model.triangles))
    normals = np.asarray(raster.interpolate(vertex_normals(vertices, model.triangles), model.triangles))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    if relief is not None:
        slope = relief(points)
        slope -= normals * (slope * normals).sum(1, keepdims=True)
        normals -= slope
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    part = np.array(model.component_names)[model.component[model.triangles[raster.triangle[raster.covered], 0]]]
    shade = light(normals)
    image = np.full((*raster.covered.shape, 3), 0.1)
    image[raster.covered] = gain * paint(points, part) * (shade if shade.ndim == 2 else shade[:, None])
    image = cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    held = np.clip(image, 0, 1)
    srgb = np.where(held <= 0.0031308, 12.92 * held, 1.055 * held ** (1 / 2.4) - 0.055)
    pixels = np.rint(255 * srgb).astype(np.uint8)
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[:, :2] = camera.project(model.landmarks(model.mean).astype(np.float64))
    alpha = cv2.resize(raster.covered.astype(np.float32), (256, 256), interpolation=cv2.INTER_AREA)
    to_crop = np.array([[256 / camera.width, 0, 0], [0, 256 / camera.height, 0]])
    box = np.concatenate([landmarks[:, :2].min(0), landmarks[:, :2].max(0)])
    face = Face(box, landmarks, landmarks, landmarks, 0, 0, 0, 1, float(np.ptp(box)), Quality(Verdict.GOOD))
    view = PhotoView(Photo(pixels, None, "synthetic", "0" * 64), face, Mask(alpha, to_crop))
    residual = np.zeros((478, 2), np.float32)
    fitted = View(camera, np.zeros(52, np.float32), np.zeros((2, 2), np.float32), residual)
    return Scenery(view, fitted, model.mean)


def even(normals: Float64) -> Float64:
    """Light that is nearly the same from everywhere."""
    return 1 + 0.05 * normals[:, 2]


def from_the_side(normals: Float64) -> Float64:
    """A broad lamp at the subject's left and above, much fill."""
    towards = np.array([0.7, 0.35, 0.62])
    return 0.45 + 0.75 * np.clip(0.25 + normals @ towards, 0, None) / 1.25


@dataclass(frozen=True)
class Studio:
    """Where such photos are taken; what the fixture ``studio`` hands out."""

    model: HeadModel
    skin: Float64 = field(default_factory=lambda: SKIN)
    plain: Callable[..., Float64] = plain
    even: Callable[..., Float64] = even
    from_the_side: Callable[..., Float64] = from_the_side
    camera_at: Callable[..., Camera] = camera_at
    scenery: type[Scenery] = Scenery

    def photo(self, light: Callable[[Float64], Float64], paint: Paint = plain, **how: Any) -> Scenery:
        """See ``take_photo``."""
        return take_photo(self.model, light, paint, **how)

    def fit(self, *scenes: Scenery) -> Fit:
        """A fit that is right."""
        ones = np.ones(len(self.model.mean), np.float32)
        return Fit(np.zeros(1, np.float32), tuple(s.fitted for s in scenes), ones, ones)

    def textures(self, *scenes: Scenery, options: ReconstructOptions) -> Textures:
        """What the engine makes of such photos."""
        views, posed = [s.view for s in scenes], [s.posed for s in scenes]
        return build_textures(self.model, self.fit(*scenes), views, posed, options)


@pytest.fixture(scope="session")
def studio() -> Studio:
    return Studio(load_head_model())
