"""Heads made up from the head model, for the mesh room's tests."""

from dataclasses import dataclass

import numpy as np
import pytest

from maquette.geometry.raster import rasterise_uv
from maquette.geometry.surface import vertex_normals
from maquette.geometry.transform import rotation_x, rotation_y
from maquette.headmodel import HeadModel, load_head_model
from maquette.rooms import PhotoView, ReconstructOptions
from maquette.types import Camera, Face, Fit, Float32, Hair, Head, Mask, Photo, Quality, Textures, Verdict, View

SMILE = {
    "mouthSmileLeft": 0.6,
    "mouthSmileRight": 0.5,
    "cheekSquintLeft": 0.3,
    "cheekSquintRight": 0.3,
    "browInnerUp": 0.4,
    "eyeSquintLeft": 0.2,
    "jawOpen": 0.12,
}
GAZE = ((12.0, -5.0), (10.0, -5.0))


@dataclass(frozen=True)
class Maker:
    """Makes heads of the head model."""

    model: HeadModel

    def expression(self, **weights: float) -> Float32:
        out = np.zeros(len(self.model.expression_names), np.float32)
        for name, weight in weights.items():
            out[self.model.expression_names.index(name)] = weight
        return out

    def posed(self, neutral: Float32, expression: Float32, gaze=GAZE) -> Float32:
        out = neutral + np.tensordot(expression, self.model.expression_modes, 1)
        for side, (yaw, pitch) in zip(("left", "right"), gaze, strict=True):
            ball = self.model.part(f"eye_{side}")
            joint = self.model.joints(neutral)[self.model.joint_names.index(f"eye_{side}")]
            turn = rotation_y(yaw) @ rotation_x(-pitch)
            out[ball] = (out[ball] - joint) @ turn.T + joint
        return out.astype(np.float32)

    def head(self, seed: int = 0, *, spread: float = 1.0, expression=None, textures: bool = True, hair: bool = True):
        rng = np.random.default_rng(seed)
        identity = np.clip(rng.normal(size=len(self.model.identity_modes)) * spread, -2.5, 2.5).astype(np.float32)
        neutral = self.model.vertices(identity)
        weights = self.expression(**SMILE) if expression is None else expression
        posed = self.posed(neutral, weights)
        view = View(make_camera(), weights, np.asarray(GAZE, np.float32), np.zeros((478, 2), np.float32))
        ones = np.ones(len(neutral), np.float32)
        return Head(
            engine="open 0.1.0",
            model=f"{self.model.name} {self.model.version}",
            licence="Apache-2.0",
            fit=Fit(identity, (view,), ones, ones),
            neutral=neutral,
            posed=posed,
            textures=make_textures(self.model, seed) if textures else None,
            hair=make_hair(self.model, posed) if hair else (),
        )


def make_camera() -> Camera:
    turn = np.diag([1.0, -1.0, -1.0]) @ rotation_y(-15)
    return Camera(1300.0, np.array([320.0, 400.0]), turn, np.array([0.0, 10.0, 850.0]), 640, 800)


def make_textures(model: HeadModel, seed: int, size: int = 512) -> Textures:
    """Skin with lips, irises and blotches, and bumps a fraction of a millimetre high."""
    texels = rasterise_uv(model.uv, model.uv_triangles, size)
    colours = np.tile([0.72, 0.53, 0.44], (len(model.mean), 1))
    tones = {"lip_upper": (0.62, 0.32, 0.3), "lip_lower": (0.64, 0.34, 0.32), "scalp": (0.4, 0.3, 0.25)}
    for name, colour in tones.items():
        colours[model.region(name)] = colour
    colours[model.part("gums", "tongue", "mouth")] = (0.5, 0.2, 0.2)
    colours[model.part("teeth")] = (0.85, 0.82, 0.75)
    for side in ("left", "right"):
        ball = np.flatnonzero(model.part(f"eye_{side}"))
        joint = model.joints(model.mean)[model.joint_names.index(f"eye_{side}")]
        aim = model.mean[ball] - joint
        off_axis = np.rad2deg(np.arccos(aim[:, 2] / np.linalg.norm(aim, axis=1)))
        colours[ball] = (0.88, 0.86, 0.84)
        colours[ball[off_axis < 30]] = (0.25, 0.4, 0.45)
        colours[ball[off_axis < 12]] = (0.03, 0.03, 0.03)
    rng = np.random.default_rng(seed)
    blotches = rng.normal(size=(size, size, 1)) * 0.02
    albedo = np.full((size, size, 3), 0.5)
    albedo[texels.covered] = texels.interpolate(colours, model.triangles)
    albedo = np.clip((albedo + blotches) * 255, 0, 255).astype(np.uint8)
    y, x = np.mgrid[0:size, 0:size]
    height = (0.25 * np.sin(x / 3.0) * np.sin(y / 4.0)).astype(np.float32)
    face = np.zeros((size, size), np.float32)
    face[texels.covered] = texels.interpolate(model.region("face").astype(np.float32)[:, None], model.triangles)[:, 0]
    height *= face
    slope = np.stack([-np.gradient(height, axis=1), np.gradient(height, axis=0), np.full_like(height, 1.0)], 2)
    slope /= np.linalg.norm(slope, axis=2, keepdims=True)
    normal = np.rint(127.5 + 127.5 * slope).astype(np.uint8)
    light = np.zeros((9, 3))
    light[0] = 0.8
    photo = (albedo * 0.8).astype(np.uint8)
    return Textures(photo, albedo, np.ones((size, size), np.float32), height, normal, light)


def make_hair(model: HeadModel, vertices: Float32) -> tuple[Hair, ...]:
    """A cap of two sheets of strands, and brows."""
    rng = np.random.default_rng(7)
    strands = np.repeat(rng.random((1, 256, 1)), 256, 0) + 0.15 * rng.random((256, 256, 1))
    colour = np.concatenate([np.tile([60, 42, 30], (256, 256, 1)), 255 * (strands > 0.35)], 2).astype(np.uint8)
    normals = vertex_normals(vertices, model.triangles)

    def sheets(name: str, regions: tuple[str, ...], heights: tuple[float, ...]) -> Hair:
        inside = np.logical_or.reduce([model.region(r) for r in regions])
        chosen = np.flatnonzero(inside[model.triangles].all(1))
        corners = model.triangles[chosen]
        used, local = np.unique(corners, return_inverse=True)
        flat = np.zeros((len(used), 2), np.float32)
        flat[local.ravel()] = model.uv[model.uv_triangles[chosen]].reshape(-1, 2)
        low, high = flat.min(0), flat.max(0)
        flat = (flat - low) / (high - low)
        points = [vertices[used] + h * normals[used] for h in heights]
        faces = [local.reshape(-1, 3) + k * len(used) for k in range(len(heights))]
        return Hair(
            name,
            np.concatenate(points).astype(np.float32),
            np.concatenate(faces).astype(np.int32),
            np.tile(flat, (len(heights), 1)).astype(np.float32),
            colour,
        )

    return sheets("cap 1", ("scalp",), (3.0, 7.0)), sheets("brows", ("brow_left", "brow_right"), (0.8,))


def make_view(model: HeadModel, head: Head) -> PhotoView:
    camera = head.fit.views[0].camera
    y, x = np.mgrid[0 : camera.height, 0 : camera.width]
    pixels = np.stack([x * 255 / camera.width, y * 255 / camera.height, 128 + 0 * x], 2).astype(np.uint8)
    photo = Photo(pixels, None, "made-up.png", "0" * 64)
    marks = np.zeros((478, 3), np.float32)
    marks[:, :2] = camera.project(model.landmarks(head.posed).astype(np.float64))
    low, high = marks[:, :2].min(0), marks[:, :2].max(0)
    face = Face(
        box=np.concatenate([low, high]).astype(np.float32),
        landmarks=marks,
        plain_landmarks=marks,
        canonical=model.landmarks(head.neutral),
        yaw=15.0,
        pitch=0.0,
        roll=0.0,
        score=1.0,
        size=float((high - low).max()),
        quality=Quality(Verdict.GOOD),
    )
    mask = Mask(np.ones((64, 64), np.float32), np.array([[0.1, 0, 0], [0, 0.08, 0]]))
    return PhotoView(photo, face, mask)


@pytest.fixture(scope="session")
def model() -> HeadModel:
    return load_head_model()


@pytest.fixture(scope="session")
def maker(model: HeadModel) -> Maker:
    return Maker(model)


@pytest.fixture(scope="session")
def head(maker: Maker) -> Head:
    return maker.head()


@pytest.fixture(scope="session")
def options() -> ReconstructOptions:
    return ReconstructOptions()
