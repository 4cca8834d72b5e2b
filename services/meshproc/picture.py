"""Drawing a head into a picture: in clay or in colour, with soft light, hair that one sees through, smooth edges.

One ray a pixel finds what is seen; where that changes between neighbours, more rays smooth the edge. What was found is
lit once in clay and once in colour.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from maquette.geometry.raster import Raster, Scene, pixel_rays
from maquette.geometry.surface import triangle_normals, unit, vertex_normals
from maquette.types import Bool, Camera, Float32, Hair, Int32, UInt8
from services.meshproc.mesh import PARTS, HeadMesh

CLAY = (0.46, 0.43, 0.405)
"""Linear colour of clay."""

_SUBSAMPLES, _HAIR_SUBSAMPLES = 8, 4
_LAYERS = 10
_STEP_MM = 0.05
_OPAQUE = 0.98
_EDGE_MM = 3.0
_FRAYED = 0.3
"""Step of the coverage by hair between two pixels that is smoothed."""

_SKY_RAYS, _SKY_MM = 28, 60.0

_AMBIENT = 0.28
_LAMPS = ((-0.6, -0.6, -0.6, 0.88), (0.9, -0.15, -0.45, 0.16), (0.25, -0.7, 0.65, 0.35))
"""Direction towards each lamp in the camera frame, and its strength: key, fill and rim."""

_WRAP = 0.15
_GLOSS = {"skin": (0.05, 18.0), "eyes": (0.5, 180.0), "teeth": (0.2, 60.0), "gums": (0.1, 40.0), "tongue": (0.1, 30.0)}
"""Strength and sharpness of highlights."""

_AMONG_HAIR = 0.88
"""How much of the sky strands see between others."""

_BAKED = 0.35
"""How much of the lamps falls on a colour map that has the photo's light in it."""

_LEVELS = np.arange(256) / 255
_TO_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)

_FINE = np.arange(65536) / 65535
_TO_SRGB = np.rint(255 * np.where(_FINE <= 0.0031308, 12.92 * _FINE, 1.055 * _FINE ** (1 / 2.4) - 0.055)).astype(
    np.uint8
)


class Paint:
    """A colour map, averaged to the resolution that a view needs."""

    def __init__(self, colour: UInt8) -> None:
        """Take an (H, W, 3) or (H, W, 4) uint8 sRGB picture with straight alpha."""
        self._colour = colour
        self._levels: dict[int, Float32] = {}

    def at(self, uv: Float32, per_pixel: float) -> Float32:
        """(P, C) float32 linear colours, premultiplied by alpha, at texture coordinates (P, 2), v upwards.

        Args:
            uv: Where.
            per_pixel: How much of the map's width a pixel spans on average.
        """
        level = max(0, round(float(np.log2(max(per_pixel * self._colour.shape[1], 1e-9)))))
        if level not in self._levels:
            self._levels[level] = self._averaged(level)
        picture = self._levels[level]
        height, width, channels = picture.shape
        # OpenCV takes no more than 32767 rows, so that the points stand in rows of some length.
        rows = -(-len(uv) // 1024)
        x, y = np.zeros((2, rows * 1024), np.float32)
        x[: len(uv)] = uv[:, 0] * width - 0.5
        y[: len(uv)] = (1 - uv[:, 1]) * height - 0.5
        grid = x.reshape(rows, 1024), y.reshape(rows, 1024)
        out = cv2.remap(picture, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(out, np.float32).reshape(-1, channels)[: len(uv)]

    def _averaged(self, level: int) -> Float32:
        picture = _TO_LINEAR[self._colour]
        if picture.shape[2] == 4:
            alpha = self._colour[..., 3:].astype(np.float32) / 255
            picture = np.concatenate([picture[..., :3] * alpha, alpha], 2)
        height, width = (max(1, side >> level) for side in picture.shape[:2])
        if level:
            picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.float32)
        return picture


class Strands:
    """A piece of hair, ready to be drawn."""

    def __init__(self, piece: Hair) -> None:
        """Take a piece of hair, in the head frame."""
        self.piece = piece
        self.paint = Paint(piece.colour)
        self.scene = Scene(piece.vertices, piece.triangles)
        self.normals = vertex_normals(piece.vertices, piece.triangles)
        self.density = _density(piece.vertices, piece.triangles, piece.uv, piece.triangles)


class Sitter:
    """A head, ready to be drawn from any side.

    Attributes:
        mesh: Its mesh.
        hair: Pieces of hair, which only views in colour show.
    """

    def __init__(self, mesh: HeadMesh, open_sky: Float32, hair: Sequence[Hair] = ()) -> None:
        """Prepare a head.

        Args:
            mesh: Its mesh.
            open_sky: (V,) float32, how much of its surroundings each vertex sees, see ``open_sky``.
            hair: Hair on that mesh.
        """
        self.mesh = mesh
        self.hair = tuple(Strands(piece) for piece in hair)
        self._scene = Scene(mesh.vertices, mesh.triangles)
        self._attributes = np.concatenate([mesh.normals, open_sky[:, None]], 1).astype(np.float32)

    @cached_property
    def density(self) -> float:
        """Part of the colour map's width in a millimetre of the surface, on average."""
        return _density(self.mesh.vertices, self.mesh.triangles, self.mesh.uv, self.mesh.uv_triangles)

    def look(self, camera: Camera) -> "Look":
        """What a camera sees of the head, without hair."""
        turn = camera.rotation.astype(np.float32)
        eye = np.asarray(-camera.rotation.T @ camera.translation, np.float32)
        rays = pixel_rays(camera) @ turn
        nearest = self._scene.cast(eye, rays)
        fine = _edges(nearest, self.mesh.triangle_part)
        more = (rays[fine][:, None] + _rook_offsets(camera, _SUBSAMPLES)).reshape(-1, 3)
        again = self._scene.cast(eye, more)
        plain = nearest.covered & ~fine
        triangle = np.concatenate([nearest.triangle[plain], again.triangle[again.covered]])
        barycentric = np.concatenate([nearest.barycentric[plain], again.barycentric[again.covered]])
        distance = np.concatenate([nearest.distance[plain], again.distance[again.covered]])
        pixel = np.concatenate([np.flatnonzero(plain), np.repeat(np.flatnonzero(fine), _SUBSAMPLES)[again.covered]])
        weight = np.full(len(pixel), 1 / _SUBSAMPLES, np.float32)
        weight[: plain.sum()] = 1
        towards = np.concatenate([rays[plain], more[again.covered]])
        found = Raster(triangle, barycentric, distance)
        return Look(self, camera, eye, rays, nearest.distance, found, towards, pixel, weight)

    def attributes(self, found: Raster) -> tuple[Float32, Float32]:
        """(S, 3) float32 unit normals and (S,) float32 open sky at what rays met."""
        values = np.asarray(found.interpolate(self._attributes, self.mesh.triangles), np.float32)
        return unit(values[:, :3]), values[:, 3]


@dataclass(frozen=True, eq=False)
class Look:
    """What a camera sees of a head: S samples, one for most pixels and more at edges.

    Attributes:
        sitter: The head.
        camera: The camera.
        eye: (3,) float32 mm, its place in the head frame.
        rays: (H, W, 3) float32 through the middles of the pixels, head frame, a millimetre deep.
        depth: (H, W) float32 mm to the head, infinite beside it.
        found: The samples on the mesh.
        towards: (S, 3) float32, rays of the samples, as ``rays``.
        pixel: (S,) int64, row by row.
        weight: (S,) float32, part of its pixel that each sample stands for.
    """

    sitter: Sitter
    camera: Camera
    eye: Float32
    rays: Float32
    depth: Float32
    found: Raster
    towards: Float32
    pixel: np.ndarray
    weight: Float32

    def clay(self) -> Float32:
        """(H, W, 4) float32 linear colour and coverage of the head in clay; colour is multiplied by coverage."""
        normals, sky = self.sitter.attributes(self.found)
        light = _light(normals, self.camera, sky)
        return self._gathered(np.array(CLAY, np.float32) * light[:, None] * 1.15)

    def colour(self, paint: Paint, *, baked: bool) -> Float32:
        """(H, W, 4) float32 linear colour and coverage of the head in colour, with its hair.

        Args:
            paint: The colour map.
            baked: The map has the photo's light in it already.
        """
        mesh = self.sitter.mesh
        normals, sky = self.sitter.attributes(self.found)
        uv = np.asarray(self.found.interpolate(mesh.uv, mesh.uv_triangles), np.float32)
        base = paint.at(uv, self.sitter.density * self._millimetres())[:, :3]
        light = _light(normals, self.camera, sky)
        if baked:
            light = 1 - _BAKED + _BAKED * light
        out = base * light[:, None]
        gloss = np.array([_GLOSS[name] for name in PARTS], np.float32)[mesh.triangle_part[self.found.triangle]]
        if not baked:
            out += (gloss[:, 0] * _highlight(normals, self.camera, self.towards, gloss[:, 1]) * sky)[:, None]
        image = self._gathered(out)
        for strands in self.sitter.hair:
            image = self._with_hair(image, strands, baked)
        return image

    def _with_hair(self, image: Float32, strands: Strands, baked: bool) -> Float32:
        """The image with a piece of hair in front of it."""
        rays, depth = self.rays.reshape(-1, 3), self.depth.ravel()
        layer = np.zeros((len(depth), 4), np.float32)
        pixel = np.flatnonzero(_in_sight(strands.piece.vertices, self.camera))
        layer[pixel] = self._strands(rays[pixel], depth[pixel], strands, baked)
        alpha = layer[:, 3].reshape(self.depth.shape)
        frayed = np.flatnonzero(_steps(alpha, _FRAYED))
        offset = _rook_offsets(self.camera, _HAIR_SUBSAMPLES)
        more = (rays[frayed][:, None] + offset).reshape(-1, 3)
        again = self._strands(more, np.repeat(depth[frayed], _HAIR_SUBSAMPLES), strands, baked)
        layer[frayed] = again.reshape(-1, _HAIR_SUBSAMPLES, 4).mean(1)
        shaped = layer.reshape(image.shape)
        return np.asarray(shaped + image * (1 - shaped[..., 3:]), np.float32)

    def _strands(self, rays: Float32, depth: Float32, strands: Strands, baked: bool) -> Float32:
        """(P, 4) float32 colour and coverage of a piece of hair in front of a depth; premultiplied."""
        out = np.zeros((len(rays), 4), np.float32)
        through = np.ones(len(rays), np.float32)
        live = np.arange(len(rays))
        start = np.zeros(len(rays), np.float32)
        span = strands.density * self._millimetres()
        for _ in range(_LAYERS):
            hit = strands.scene.cast(self.eye + rays[live] * start[:, None], rays[live])
            at = start + hit.distance
            on = hit.covered & (at < depth[live])
            live, start = live[on], at[on] + _STEP_MM
            if not len(live):
                break
            hit = Raster(hit.triangle[on], hit.barycentric[on], hit.distance[on])
            uv = np.asarray(hit.interpolate(strands.piece.uv, strands.piece.triangles), np.float32)
            texel = strands.paint.at(uv, span)
            normals = unit(np.asarray(hit.interpolate(strands.normals, strands.piece.triangles), np.float32))
            # Strands are lit from both sides.
            normals *= -np.sign(np.einsum("pc,pc->p", normals, rays[live]))[:, None]
            light = _light(normals, self.camera, np.full(len(live), _AMONG_HAIR, np.float32))
            if baked:
                light = 1 - _BAKED + _BAKED * light
            out[live, :3] += (through[live] * light)[:, None] * texel[:, :3]
            through[live] *= 1 - texel[:, 3]
            more = through[live] > 1 - _OPAQUE
            live, start = live[more], start[more]
        out[:, 3] = 1 - through
        return out

    def _gathered(self, colour: Float32) -> Float32:
        """(H, W, 4) float32 image of (S, 3) colours."""
        height, width = self.depth.shape
        count = height * width
        channels = [np.bincount(self.pixel, self.weight * colour[:, k], count) for k in range(3)]
        channels.append(np.bincount(self.pixel, self.weight, count))
        return np.stack(channels, 1).astype(np.float32).reshape(height, width, 4)

    def _millimetres(self) -> float:
        """Width of a pixel at the head's distance."""
        seen = self.found.distance
        return float(np.median(seen) / self.camera.focal) if len(seen) else 1.0


def over(image: Float32, background: UInt8, strength: float = 1.0) -> UInt8:
    """(H, W, 3) uint8 sRGB: a drawing over a background of the same size, possibly half transparent."""
    drawn = image[..., 3] > 0
    out = np.array(background, np.uint8)
    front, below = image[drawn], _TO_LINEAR[out[drawn]]
    mixed = below * (1 - strength * front[:, 3:]) + strength * front[:, :3]
    steps = len(_TO_SRGB) - 1
    out[drawn] = _TO_SRGB[np.rint(np.clip(mixed, 0, 1) * steps).astype(np.uint16)]
    return out


def open_sky(vertices: Float32, triangles: Int32) -> Float32:
    """(V,) float32, 0 to 1: how much of the sky over it each vertex sees, were the head alone (ambient occlusion)."""
    # Points of a spiral spread evenly over the sphere (Vogel 1979).
    k = np.arange(_SKY_RAYS) + 0.5
    z, angle = 1 - 2 * k / _SKY_RAYS, np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - z**2)
    directions = np.stack([ring * np.cos(angle), ring * np.sin(angle), z], 1).astype(np.float32)
    normals = vertex_normals(vertices, triangles)
    slope = normals @ directions.T
    vertex, ray = np.nonzero(slope > 0.05)
    hit = Scene(vertices, triangles).cast(vertices[vertex] + 0.4 * normals[vertex], directions[ray])
    free = np.where(hit.covered, np.clip(hit.distance / _SKY_MM, 0, 1) ** 2, 1)
    weight = slope[vertex, ray]
    total = np.bincount(vertex, weight, len(vertices))
    sky = np.bincount(vertex, weight * free, len(vertices)) / np.maximum(total, 1e-6)
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    degree = 1 + np.bincount(ends[:, 0], minlength=len(vertices))
    for _ in range(2):
        sky = (sky + np.bincount(ends[:, 0], sky[ends[:, 1]], len(vertices))) / degree
    return sky.astype(np.float32)


def _rook_offsets(camera: Camera, count: int) -> Float32:
    """(count, 3) float32, from a pixel's ray to rays all over it: rooks on a board that do not see each other."""
    row = (np.arange(count) + 0.5) / count - 0.5
    column = row[np.arange(count) * 3 % count]
    turn = camera.rotation
    return np.asarray((column[:, None] * turn[0] + row[:, None] * turn[1]) / camera.focal, np.float32)


def _edges(nearest: Raster, part: Int32) -> Bool:
    """(H, W) bool, pixels next to where something else is seen."""
    seen = np.where(nearest.covered, part[nearest.triangle], -1).astype(np.float32)
    depth = np.where(nearest.covered, nearest.distance, 0).astype(np.float32)
    return _steps(seen, 0.5) | _steps(depth, _EDGE_MM)


def _steps(values: Float32, threshold: float) -> Bool:
    """(H, W) bool, pixels from which a value jumps to the next one in a row or column."""
    out = np.zeros(values.shape, bool)
    for axis in (0, 1):
        jump = np.abs(np.diff(values, axis=axis)) > threshold
        pad = [(0, 0), (0, 0)]
        pad[axis] = (0, 1)
        out |= np.pad(jump, pad)
        pad[axis] = (1, 0)
        out |= np.pad(jump, pad)
    return out


def _light(normals: Float32, camera: Camera, sky: Float32) -> Float32:
    """(P,) float32 light on surfaces; wrapped a little around them, since skin and hair are no billiard balls."""
    lamps = np.array(_LAMPS, np.float32)
    towards = unit(lamps[:, :3]) @ camera.rotation.astype(np.float32)
    direct = np.clip((normals @ towards.T + _WRAP) / (1 + _WRAP), 0, 1) @ lamps[:, 3]
    # More light from above than from below.
    dome = 0.8 - 0.2 * normals @ camera.rotation[1].astype(np.float32)
    return np.asarray(_AMBIENT * dome * sky + direct * (0.35 + 0.65 * sky), np.float32)


def _highlight(normals: Float32, camera: Camera, rays: Float32, sharpness: Float32) -> Float32:
    """(P,) float32 highlight of the key lamp (Blinn 1977)."""
    lamp = unit(np.array(_LAMPS[:1], np.float32)[:, :3])[0] @ camera.rotation.astype(np.float32)
    half = unit(lamp - unit(rays))
    return np.asarray(np.clip(np.einsum("pc,pc->p", normals, half), 0, 1) ** sharpness, np.float32)


def _in_sight(points: Float32, camera: Camera) -> Bool:
    """(H·W,) bool: pixels inside the box around the projected points."""
    x = camera.to_camera(points.astype(np.float64))
    xy = camera.focal * x[:, :2] / np.maximum(x[:, 2:], 1) + camera.centre
    out = np.zeros((camera.height, camera.width), bool)
    (x0, y0), (x1, y1) = np.maximum(np.floor(xy.min(0)), 0).astype(int), np.maximum(np.ceil(xy.max(0)), 0).astype(int)
    out[y0 : y1 + 1, x0 : x1 + 1] = True
    return out.ravel()


def _density(vertices: Float32, triangles: Int32, uv: Float32, uv_triangles: Int32) -> float:
    """Part of a colour map's width in a millimetre of a surface, on average."""
    surface = np.linalg.norm(triangle_normals(vertices, triangles), axis=1).sum()
    flat = triangle_normals(np.pad(uv, ((0, 0), (0, 1))), uv_triangles)
    return float(np.sqrt(np.abs(flat[:, 2]).sum() / max(surface, 1e-9)))
