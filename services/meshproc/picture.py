"""Drawing surfaces into a picture: soft lamps, colour maps, hair with alpha, edges smoothed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from maquette.geometry.raster import Raster, Scene, pixel_rays
from maquette.geometry.surface import vertex_normals
from maquette.types import Bool, Camera, Float32, Float64, Hair, Int32, UInt8
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


class Stage:
    """Surfaces ready to be drawn from any side."""

    def __init__(self, surfaces: Sequence[Surface]) -> None:
        """Build what all pictures share.

        Args:
            surfaces: The opaque ones first.
        """
        self._surfaces = tuple(surfaces)
        self._counts = np.cumsum([0, *(len(s.triangles) for s in surfaces)])
        starts = np.cumsum([0, *(len(s.vertices) for s in surfaces)])
        self._points = np.concatenate([s.vertices for s in surfaces])
        triangles = [s.triangles + np.int32(start) for s, start in zip(surfaces, starts, strict=False)]
        self._scene = Scene(self._points, np.concatenate(triangles))
        self._normals = [vertex_normals(s.vertices, s.triangles) for s in surfaces]

    def draw(self, camera: Camera) -> tuple[Float32, Float32]:
        """What a camera sees.

        Args:
            camera: Where from.

        Returns:
            (H, W, 3) float32 linear colour, multiplied by the coverage, and (H, W) float32 coverage, 0 to 1.
        """
        k = _SUPERSAMPLE
        fine = replace(
            camera, focal=camera.focal * k, centre=camera.centre * k, width=camera.width * k, height=camera.height * k
        )
        turn = camera.rotation.astype(np.float32)
        eye = np.asarray(-camera.rotation.T @ camera.translation, np.float32)
        alive = np.flatnonzero(_in_sight(fine.project(self._points.astype(np.float64)), fine))
        rays = pixel_rays(fine).reshape(-1, 3)[alive] @ turn
        # The lamps stand by the camera.
        lamps = np.array(_LAMPS, np.float32)
        towards = lamps[:, :3] / np.linalg.norm(lamps[:, :3], axis=1, keepdims=True) @ turn
        colour = np.zeros((fine.height * fine.width, 3), np.float32)
        through = np.ones(len(colour), np.float32)
        depth = np.zeros(len(alive), np.float32)
        for _ in range(_LAYERS):
            if not len(alive):
                break
            hit = self._scene.cast(eye + rays * depth[:, None], rays)
            on = hit.covered
            alive, rays, depth = alive[on], rays[on], depth[on] + hit.distance[on]
            hit = Raster(hit.triangle[on], hit.barycentric[on], hit.distance[on])
            shade = np.zeros((len(alive), 4), np.float32)
            for i, surface in enumerate(self._surfaces):
                own = (hit.triangle >= self._counts[i]) & (hit.triangle < self._counts[i + 1])
                if own.any():
                    part = Raster(hit.triangle[own] - self._counts[i], hit.barycentric[own], hit.distance[own])
                    shade[own] = _shade(surface, part, self._normals[i], rays[own], towards, lamps[:, 3])
            colour[alive] += (through[alive] * shade[:, 3])[:, None] * shade[:, :3]
            through[alive] *= 1 - shade[:, 3]
            more = through[alive] > 0.02
            alive, rays, depth = alive[more], rays[more], depth[more] + _STEP_MM
        size = (camera.width, camera.height)
        grid = (fine.height, fine.width)
        return (
            np.asarray(cv2.resize(colour.reshape(*grid, 3), size, interpolation=cv2.INTER_AREA), np.float32),
            np.asarray(cv2.resize(1 - through.reshape(grid), size, interpolation=cv2.INTER_AREA), np.float32),
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


def _in_sight(xy: Float64, camera: Camera) -> Bool:
    """(H·W,) bool: pixels inside the box around projected points (N, 2)."""
    out = np.zeros((camera.height, camera.width), bool)
    x0, y0 = np.clip(np.floor(xy.min(0)).astype(int) - 1, 0, None)
    x1, y1 = np.clip(np.ceil(xy.max(0)).astype(int) + 1, 0, None)
    out[y0:y1, x0:x1] = True
    return out.ravel()


def _shade(
    surface: Surface, hit: Raster, normals: Float32, rays: Float32, towards: Float32, strength: Float32
) -> Float32:
    """(P, 4) linear colour and alpha at some hits.

    Args:
        surface: What was hit.
        hit: Where.
        normals: (V, 3) of the surface's vertices.
        rays: (P, 3) directions.
        towards: (L, 3) unit vectors to the lamps.
        strength: (L,) of the lamps.
    """
    n = hit.interpolate(normals, surface.triangles)
    n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-9)
    n = np.where((n * rays).sum(1, keepdims=True) > 0, -n, n)
    # Wrapped Lambertian: skin and hair are no billiard balls.
    light = _AMBIENT + np.clip((n @ towards.T + 0.25) / 1.25, 0, 1) @ strength
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
