"""Drawing surfaces into a picture: soft lamps, colour maps, hair with alpha, edges smoothed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from maquette.geometry.raster import Raster, Scene, pixel_rays
from maquette.geometry.surface import vertex_normals
from maquette.types import Bool, Camera, Float32, Hair, Int32, UInt8
from services.meshproc.mesh import HeadMesh

_LAYERS = 8
"""Layers of hair that a ray goes through before it is given up as opaque."""

_STEP_MM = 0.05
_SUPERSAMPLE = 2
_CLAY = (0.42, 0.40, 0.38)
_AMBIENT = 0.24
# Direction towards each lamp in the camera frame (x right, y down, z away), and its strength.
_LAMPS = ((-0.55, -0.65, -0.75, 0.66), (0.85, -0.15, -0.55, 0.20), (0.0, 0.6, -0.8, 0.10))

_LEVELS = np.arange(256) / 255
_TO_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Surface:
    """Something to draw.

    Attributes:
        vertices: (V, 3) float32 mm, head frame.
        triangles: (F, 3) int32.
        uv: (T, 2) float32, v upwards.
        uv_triangles: (F, 3) int32 into ``uv``.
        colour: (N, N, 3 or 4) uint8 sRGB; None for clay.
    """

    vertices: Float32
    triangles: Int32
    uv: Float32
    uv_triangles: Int32
    colour: UInt8 | None

    @staticmethod
    def of_mesh(mesh: HeadMesh, colour: UInt8 | None) -> "Surface":
        """A head's mesh with a colour map, or in clay."""
        return Surface(mesh.vertices, mesh.triangles, mesh.uv, mesh.uv_triangles, colour)

    @staticmethod
    def of_hair(piece: Hair) -> "Surface":
        """A piece of hair."""
        return Surface(piece.vertices, piece.triangles, piece.uv, piece.triangles, piece.colour)


def draw(surfaces: Sequence[Surface], camera: Camera) -> tuple[Float32, Float32]:
    """What a camera sees of some surfaces.

    Args:
        surfaces: The opaque ones first.
        camera: Where from.

    Returns:
        (H, W, 3) float32 linear colour, multiplied by the coverage, and (H, W) float32 coverage, 0 to 1.
    """
    k = _SUPERSAMPLE
    fine = replace(
        camera, focal=camera.focal * k, centre=camera.centre * k, width=camera.width * k, height=camera.height * k
    )
    posed = [
        s.vertices @ camera.rotation.T.astype(np.float32) + camera.translation.astype(np.float32) for s in surfaces
    ]
    counts = np.cumsum([0, *(len(s.triangles) for s in surfaces)])
    starts = np.cumsum([0, *(len(p) for p in posed)])
    scene = Scene(
        np.concatenate(posed),
        np.concatenate([s.triangles + start for s, start in zip(surfaces, starts, strict=False)]),
    )
    normals = [vertex_normals(p, s.triangles) for p, s in zip(posed, surfaces, strict=True)]
    rays = pixel_rays(fine).reshape(-1, 3)
    seen = _in_sight(np.concatenate(posed), fine)
    colour = np.zeros((len(rays), 3), np.float32)
    through = np.ones(len(rays), np.float32)
    alive = np.flatnonzero(seen)
    depth = np.zeros(len(alive), np.float32)
    for _ in range(_LAYERS):
        if not len(alive):
            break
        directions = rays[alive]
        hit = scene.cast(directions * depth[:, None], directions)
        on = hit.covered
        alive, depth = alive[on], depth[on] + hit.distance[on]
        hit = Raster(hit.triangle[on], hit.barycentric[on], hit.distance[on])
        shade = np.zeros((len(alive), 4), np.float32)
        for i, surface in enumerate(surfaces):
            own = (hit.triangle >= counts[i]) & (hit.triangle < counts[i + 1])
            if own.any():
                part = Raster(hit.triangle[own] - counts[i], hit.barycentric[own], hit.distance[own])
                shade[own] = _shade(surface, part, normals[i], rays[alive[own]])
        colour[alive] += (through[alive] * shade[:, 3])[:, None] * shade[:, :3]
        through[alive] *= 1 - shade[:, 3]
        more = through[alive] > 0.02
        alive, depth = alive[more], depth[more] + _STEP_MM
    shape = (camera.height, k, camera.width, k)
    return (
        np.asarray(colour.reshape(*shape, 3).mean((1, 3)), np.float32),
        np.asarray(1 - through.reshape(shape).mean((1, 3)), np.float32),
    )


def over(colour: Float32, coverage: Float32, background: UInt8, strength: float = 1.0) -> UInt8:
    """(H, W, 3) uint8 sRGB: a drawing over a background of the same size."""
    below = _TO_LINEAR[background]
    return to_srgb(below * (1 - strength * coverage[..., None]) + strength * colour)


def to_srgb(linear: Float32) -> UInt8:
    """Linear colours as uint8 sRGB."""
    x = np.clip(linear, 0, 1)
    y = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(x, 1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * y), np.uint8)


def _in_sight(points: Float32, camera: Camera) -> Bool:
    """(H·W,) bool: pixels inside the box around the projected points."""
    front = points[points[:, 2] > 1]
    xy = camera.focal * front[:, :2] / front[:, 2:] + camera.centre
    out = np.zeros((camera.height, camera.width), bool)
    if len(xy):
        x0, y0 = np.clip(np.floor(xy.min(0)).astype(int) - 1, 0, None)
        x1, y1 = np.ceil(xy.max(0)).astype(int) + 1
        out[y0 : max(y1, 0), x0 : max(x1, 0)] = True
    return out.ravel()


def _shade(surface: Surface, hit: Raster, normals: Float32, rays: Float32) -> Float32:
    """(P, 4) linear colour and alpha at some hits."""
    n = hit.interpolate(normals, surface.triangles)
    n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-9)
    n = np.where((n * rays).sum(1, keepdims=True) > 0, -n, n)
    lamps = np.array(_LAMPS, np.float32)
    towards = lamps[:, :3] / np.linalg.norm(lamps[:, :3], axis=1, keepdims=True)
    # Wrapped Lambertian: skin and hair are no billiard balls.
    light = _AMBIENT + np.clip((n @ towards.T + 0.25) / 1.25, 0, 1) @ lamps[:, 3]
    out = np.ones((len(n), 4), np.float32)
    if surface.colour is None:
        out[:, :3] = np.array(_CLAY, np.float32) * (1.35 * light[:, None])
        return out
    uv = hit.interpolate(surface.uv, surface.uv_triangles)
    texels = _look_up(surface.colour, uv)
    out[:, :3] = _TO_LINEAR[np.rint(texels[:, :3]).astype(np.uint8)] * light[:, None]
    if texels.shape[1] == 4:
        out[:, 3] = texels[:, 3] / 255
    return out


def _look_up(picture: UInt8, uv: Float32) -> Float32:
    """(P, C) bilinear look-ups at any number of points; OpenCV wants them in rows of bounded length."""
    height, width = picture.shape[:2]
    count = len(uv)
    rows = -(-count // 1024)
    x, y = np.zeros((2, rows * 1024), np.float32)
    x[:count] = uv[:, 0] * width - 0.5
    y[:count] = (1 - uv[:, 1]) * height - 0.5
    out = cv2.remap(
        picture, x.reshape(rows, 1024), y.reshape(rows, 1024), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(out.reshape(-1, picture.shape[2])[:count], np.float32)
