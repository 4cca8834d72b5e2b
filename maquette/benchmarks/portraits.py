"""Simple pictures of random heads whose shape is known.

Flat colours by region, a few lamps and a plain backdrop: enough for the landmark networks, and unlike the pictures that
the fit's prior was trained on.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from maquette.geometry.raster import Scene
from maquette.geometry.surface import unit, vertex_normals
from maquette.geometry.transform import rotation_x, rotation_y, rotation_z
from maquette.headmodel import ARKIT_NAMES, HeadModel
from maquette.types import Camera, Float32, Float64, Photo, UInt8

SIZE = 512
IDENTITY_SD = 0.9
"""A little narrower than the model's own spread, whose tails are odd faces."""

_TO_CAMERA = np.diag([1.0, -1.0, -1.0])
_SPAN_MM = (300.0, 400.0)
_DISTANCE_MM = (500.0, 2500.0)
_YAW_MAX_SDS, _PITCH_SD, _ROLL_SD = 2.3, 7.0, 5.0
_FACE_CENTRE = np.array([0.0, 0.0, 70.0])


@dataclass(frozen=True)
class Portrait:
    """A picture and what it shows.

    Attributes:
        photo: The picture; it carries no focal length.
        expression: (52,) float32 ARKit weights.
        camera: The camera.
    """

    photo: Photo
    expression: Float32
    camera: Camera


def draw_identity(model: HeadModel, rng: np.random.Generator) -> Float32:
    """(K,) float32 identity coefficients of a random head."""
    return rng.normal(0, IDENTITY_SD, len(model.identity_modes)).astype(np.float32)


def draw_portrait(
    model: HeadModel,
    identity: Float32,
    rng: np.random.Generator,
    name: str,
    *,
    expression: Float32 | None = None,
    colours: Float64 | None = None,
    yaw_sd: float = 15.0,
) -> Portrait:
    """A picture of a head with a random camera and light.

    Args:
        model: Head model.
        identity: (K,) of the head.
        rng: Source of chance.
        name: Name of the photo.
        expression: (52,) ARKit weights; random when None.
        colours: From ``draw_colours``; random when None.
        yaw_sd: Standard deviation of the head's turn, degrees.
    """
    expression = _draw_expression(rng) if expression is None else expression
    vertices = model.vertices(identity, expression).astype(np.float64)
    camera = _draw_camera(rng, yaw_sd)
    pixels = _render(model, vertices, camera, draw_colours(model, rng) if colours is None else colours, rng)
    return Portrait(Photo(pixels, None, name, ""), expression, camera)


def _draw_expression(rng: np.random.Generator) -> Float32:
    weights = dict.fromkeys(ARKIT_NAMES, 0.0)
    if rng.random() < 0.5:
        smile = rng.uniform(0, 0.8)
        for side in ("Left", "Right"):
            weights["mouthSmile" + side] = smile
            weights["cheekSquint" + side] = 0.5 * smile
    if rng.random() < 0.3:
        weights["jawOpen"] = rng.uniform(0, 0.3)
    if rng.random() < 0.3:
        weights["browInnerUp"] = rng.uniform(0, 0.5)
    return np.array(list(weights.values()), np.float32)


def _draw_camera(rng: np.random.Generator, yaw_sd: float) -> Camera:
    yaw = yaw_sd * float(np.clip(rng.normal(), -_YAW_MAX_SDS, _YAW_MAX_SDS))
    turn = rotation_z(rng.normal(0, _ROLL_SD)) @ rotation_x(rng.normal(0, _PITCH_SD)) @ rotation_y(yaw)
    rotation = _TO_CAMERA @ turn
    distance = float(np.exp(rng.uniform(*np.log(_DISTANCE_MM))))
    shift = np.append(rng.normal(0, 8, 2), distance)
    focal = SIZE / rng.uniform(*_SPAN_MM) * distance
    return Camera(focal, np.full(2, SIZE / 2), rotation, shift - rotation @ _FACE_CENTRE, SIZE, SIZE)


def draw_colours(model: HeadModel, rng: np.random.Generator) -> Float64:
    """(V, 3) linear reflectances of a person's skin, lips, brows, hair, eyes and clothes."""
    depth = rng.uniform(0.12, 0.6)
    skin = depth * np.array([1.0, rng.uniform(0.6, 0.75), rng.uniform(0.4, 0.6)])
    hair = rng.uniform(0.02, 0.25) * np.array([1.0, rng.uniform(0.7, 0.9), rng.uniform(0.4, 0.8)])
    colour = np.tile(skin, (len(model.mean), 1))
    colour[model.region("lip_upper") | model.region("lip_lower")] *= [1.0, rng.uniform(0.5, 0.8), 0.8]
    colour[model.region("brow_left") | model.region("brow_right")] = 0.7 * hair + 0.3 * skin
    if rng.random() < 0.8:
        colour[model.region("scalp")] = hair
    colour[model.region("bust")] = rng.uniform(0.05, 0.6, 3)
    for inside, tone in (("teeth", (0.6, 0.56, 0.48)), ("gums", (0.3, 0.1, 0.1)), ("tongue", (0.3, 0.1, 0.1))):
        colour[model.part(inside)] = tone
    colour[model.part("mouth", "eye_socket")] = (0.06, 0.02, 0.02)
    joints = model.joints(model.mean)
    iris = rng.uniform(0.02, 0.25, 3)
    for side in ("left", "right"):
        ball = model.part(f"eye_{side}")
        axis = model.mean[ball] - joints[model.joint_names.index(f"eye_{side}")]
        off = np.linalg.norm(axis[:, :2], axis=1)
        front = axis[:, 2] > 0
        eye = np.tile([0.7, 0.68, 0.66], (len(axis), 1))
        eye[front & (off < 6.5)] = iris
        eye[front & (off < 2.5)] = 0.01
        colour[ball] = eye
    return colour


def _render(model: HeadModel, vertices: Float64, camera: Camera, colour: Float64, rng: np.random.Generator) -> UInt8:
    """(SIZE, SIZE, 3) uint8 sRGB."""
    raster = Scene(camera.to_camera(vertices), model.triangles).view(camera)
    normals = raster.interpolate(vertex_normals(vertices, model.triangles) @ camera.rotation.T, model.triangles)
    normals = unit(normals)
    light = np.full((len(normals), 3), rng.uniform(0.25, 0.5))
    for _ in range(3):
        lamp = np.array([rng.normal(0, 0.7), rng.normal(-0.4, 0.5), -1.0])
        lamp /= np.linalg.norm(lamp)
        light += rng.uniform(0.1, 0.5) * np.clip(normals @ lamp, 0, None)[:, None] * rng.uniform(0.9, 1.1, 3)
    picture = cv2.resize(rng.uniform(0.05, 0.7, (3, 3, 3)), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    picture[raster.covered] = raster.interpolate(colour, model.triangles) * light
    picture = cv2.GaussianBlur(picture, (0, 0), 0.7)
    bright = np.clip(picture, 0, 1) ** (1 / 2.2) * 255 + rng.normal(0, 2, picture.shape)
    return np.asarray(np.clip(np.rint(bright), 0, 255), np.uint8)
