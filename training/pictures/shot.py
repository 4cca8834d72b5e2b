"""One picture: rays, paint, light and lens put together."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from maquette.geometry.raster import Scene, pixel_rays
from maquette.geometry.surface import vertex_normals
from maquette.headmodel import HeadModel
from maquette.types import Bool, Camera, Float32, Float64, Int32
from training.pictures.canvas import Canvas
from training.pictures.coat import Coat
from training.pictures.light import Light, harmonics
from training.pictures.skin import SkinLibrary

LAYERS = 8
"""Sheets of hair that one ray looks through at most."""

_PAST = 0.03
"""mm behind a sheet where a ray goes on; skin may lie closely below it."""

_SHADOWED = 2
"""Sheets that the key lamp's shadow is followed for; what lies deeper in hair is lit as its surroundings are."""


@dataclass(frozen=True)
class Prop:
    """Something on the head: hair, brows, lashes, glasses.

    Attributes:
        vertices: (P, 3) float32 mm, head frame.
        triangles: (F, 3) int32.
        uv: (P, 2) float32.
        picture: (N, M, 2) float32 brightness and opacity, row 0 is v = 1.
        colour: (3,) float64 linear, what the brightness is multiplied with.
        gloss: Strength of the highlight.
        fibrous: Whether it is lit as hair is, from both sides.
        opacity: (P,) float32 factor on the picture's opacity, or None.
        sharpness: Exponent of the highlight.
    """

    vertices: Float32
    triangles: Int32
    uv: Float32
    picture: Float32
    colour: Float64
    gloss: float = 0.0
    fibrous: bool = True
    opacity: Float32 | None = None
    sharpness: float = 40.0


@dataclass(frozen=True)
class Hits:
    """Points that rays meet, P of them.

    Attributes:
        ray: (P,) indices of the rays.
        point: (P, 3) float32 mm, camera frame.
        normal: (P, 3) float32, towards the camera.
        colour: (P, 3) float32 linear albedo.
        opacity: (P,) float32.
        gloss: (P,) float32 strength of the highlight.
        sharpness: (P,) float32 exponent of the highlight.
        open: (P,) float32 how much of the surroundings the point sees.
        fibre: (P,) bool, lit as hair.
        head: (P,) bool, on the head itself.
    """

    ray: NDArray[np.int64]
    point: Float32
    normal: Float32
    colour: Float32
    opacity: Float32
    gloss: Float32
    sharpness: Float32
    open: Float32
    fibre: Bool
    head: Bool


class Stage:
    """A head and its props in the camera frame, ready for rays."""

    def __init__(
        self,
        model: HeadModel,
        canvas: Canvas,
        vertices: Float32,
        camera: Camera,
        coat: Coat,
        props: tuple[Prop, ...] = (),
        skins: SkinLibrary | None = None,
    ) -> None:
        """Put everything in place.

        Args:
            model: Head model.
            canvas: Its masks.
            vertices: (V, 3) mm, head frame.
            camera: The camera.
            coat: The head's paint.
            props: What it wears.
            skins: Library that the paint's complexion refers to.
        """
        self._skins = skins
        self._model, self._canvas, self._coat, self._props = model, canvas, coat, props
        meshes = [(vertices, model.triangles)] + [(p.vertices, p.triangles) for p in props]
        starts = np.cumsum([0] + [len(v) for v, _ in meshes])
        moved = camera.to_camera(np.concatenate([v for v, _ in meshes]).astype(np.float64)).astype(np.float32)
        self._triangles = np.concatenate([t + s for (_, t), s in zip(meshes, starts, strict=False)]).astype(np.int32)
        self._owner_start = np.cumsum([0] + [len(t) for _, t in meshes])
        self._vertices = moved
        self._normals = np.asarray(vertex_normals(moved, self._triangles), np.float32)
        self._scene = Scene(moved, self._triangles)
        self._component = model.component[model.triangles[:, 0]]
        per_vertex = [coat.tint, coat.gloss[:, None], coat.stubble[:, None], canvas.occlusion[:, None], canvas.rest]
        per_vertex += [canvas.iris[:, None], canvas.masks["cheeks"][:, None] + canvas.masks["nose"][:, None]]
        self._attributes = np.concatenate(per_vertex, 1).astype(np.float32)

    def window(self, camera: Camera) -> NDArray[np.int64]:
        """Indices of the pixels, row by row, around everything that stands here."""
        n = camera.width
        at = camera.focal * self._vertices[:, :2] / self._vertices[:, 2:] + camera.centre
        left, top = np.clip(np.floor(at.min(0)).astype(int), 0, n)
        right, bottom = np.clip(np.ceil(at.max(0)).astype(int) + 1, 0, n)
        return np.asarray(np.arange(n * n).reshape(n, n)[top:bottom, left:right].ravel(), np.int64)

    def look(self, rays: NDArray[np.int64], origins: Float32, directions: Float32) -> Hits:
        """Nearest surface of each ray that meets one; ``directions`` need not be unit vectors."""
        raster = self._scene.cast(origins, directions)
        seen = np.flatnonzero(raster.triangle >= 0)
        triangle, weight = raster.triangle[seen], raster.barycentric[seen]
        point = origins[seen] + directions[seen] * raster.distance[seen, None]
        normal = np.einsum("pkc,pk->pc", self._normals[self._triangles[triangle]], weight)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        away = (normal * directions[seen]).sum(1) > 0
        count = len(seen)
        colour = np.zeros((count, 3), np.float32)
        opacity, openness = np.ones(count, np.float32), np.ones(count, np.float32)
        gloss, sharpness = np.zeros(count, np.float32), np.full(count, 12, np.float32)
        fibre = np.zeros(count, bool)
        head = triangle < self._owner_start[1]
        self._paint_head(np.flatnonzero(head), triangle, weight, colour, gloss, sharpness, openness)
        for k, prop in enumerate(self._props):
            own = np.flatnonzero((triangle >= self._owner_start[k + 1]) & (triangle < self._owner_start[k + 2]))
            if len(own) == 0:
                continue
            texel = _prop_texel(prop, triangle[own] - self._owner_start[k + 1], weight[own])
            colour[own], opacity[own] = texel[:, :1] * prop.colour, texel[:, 1]
            gloss[own], sharpness[own], fibre[own] = prop.gloss, prop.sharpness, prop.fibrous
        normal[away] *= -1
        return Hits(rays[seen], point, normal, colour, opacity, gloss, sharpness, openness, fibre, head)

    def transmission(self, points: Float32, directions: Float32) -> Float32:
        """(P,) float32, how much light comes to some points from far away along unit directions."""
        through = np.ones(len(points), np.float32)
        index = np.arange(len(points))
        origins, ways = points, directions
        for _ in range(3):
            raster = self._scene.cast(origins, ways)
            seen = np.flatnonzero(raster.triangle >= 0)
            if len(seen) == 0:
                break
            triangle, weight = raster.triangle[seen], raster.barycentric[seen]
            solid = np.ones(len(seen), np.float32)
            for k, prop in enumerate(self._props):
                own = np.flatnonzero((triangle >= self._owner_start[k + 1]) & (triangle < self._owner_start[k + 2]))
                solid[own] = _prop_texel(prop, triangle[own] - self._owner_start[k + 1], weight[own])[:, 1]
            through[index[seen]] *= 1 - solid
            on = seen[solid < 0.95]
            origins = origins[on] + ways[on] * (raster.distance[on, None] + np.float32(0.2))
            ways, index = ways[on], index[on]
        return through

    def _paint_head(
        self,
        own: NDArray[np.int64],
        triangle: Int32,
        weight: Float32,
        colour: Float32,
        gloss: Float32,
        sharpness: Float32,
        openness: Float32,
    ) -> None:
        """Fill in the colours of the hits ``own`` on the head."""
        model, coat = self._model, self._coat
        t, w = triangle[own], weight[own]
        a = np.einsum("pkc,pk->pc", self._attributes[model.triangles[t]], w)
        paint, shine, stubble, seen, rest, iris, blotch = (
            a[:, :3], a[:, 3], a[:, 4], a[:, 5], a[:, 6:9], a[:, 9], a[:, 10]
        )  # fmt: skip
        component = self._component[t]
        names = model.component_names
        skin = component == names.index("skin")
        exponent = np.full(len(own), 14, np.float32)
        uv = np.einsum("pkc,pk->pc", model.uv[model.uv_triangles[t]], w)
        if coat.complexion is not None and self._skins is not None:
            paint[skin] *= self._skins.paint(coat.complexion, uv[skin])
        grain = _hash(rest * 1.7)
        paint[skin] *= 1 + (0.08 * grain[skin, None] - 0.04)
        if coat.freckles:
            spots = _cells(rest, 2.2, 0.35) * np.clip(blotch, 0, 1) * coat.freckles
            paint[skin] *= 1 - spots[skin, None] * np.array([0.25, 0.45, 0.55], np.float32)
        hairs = np.clip(stubble * (0.55 + 0.9 * (_hash(rest * 3.1) - 0.5)), 0, 1) * skin
        paint += hairs[:, None] * (coat.hair.astype(np.float32) - paint)
        shine *= 1 - 0.7 * hairs
        eye = np.isin(component, [names.index("eye_left"), names.index("eye_right")])
        paint[eye] = _eye_colour(coat, iris[eye] / self._canvas.iris_edge, rest[eye])
        shine[eye], exponent[eye] = 6.0, 400
        wet = np.isin(component, [names.index(n) for n in ("teeth", "gums", "tongue")])
        shine[wet], exponent[wet] = 1.5, 80
        # The lids' edges and the mouth lie in the dark on the mean head; an open mouth lets some light in.
        seen = np.where(wet, np.maximum(seen, 0.25), np.where(eye, np.clip(seen * 1.2, 0.3, 0.9), seen))
        if coat.collar is not None:
            height, slope, depth = coat.collar
            edge = height + slope * np.abs(rest[:, 0]) + depth * (rest[:, 2] - 20) * (rest[:, 2] > 20)
            clothed = skin & (rest[:, 1] < edge)
            thread = 1 + coat.weave * (np.sin(rest[:, 0] * 2.2) * np.sin(rest[:, 1] * 2.2) + _hash(rest * 0.6) - 0.5)
            paint[clothed] = coat.cloth.astype(np.float32) * np.clip(thread[clothed, None], 0.1, 2)
            shine[clothed] = 0.05
            rim = skin & (rest[:, 1] >= edge) & (rest[:, 1] < edge + 4)
            seen[rim] *= 0.6
        colour[own], gloss[own], sharpness[own], openness[own] = paint, shine, exponent, seen


def _prop_texel(prop: Prop, triangle: NDArray[np.int64], weight: Float32) -> Float32:
    """(P, 2) float32 brightness and opacity of points of a prop."""
    corners = prop.triangles[triangle]
    texel = _nearest(prop.picture, np.einsum("pkc,pk->pc", prop.uv[corners], weight))
    if prop.opacity is not None:
        texel[:, 1] *= (prop.opacity[corners] * weight).sum(1)
    return texel


def _eye_colour(coat: Coat, radius: Float32, rest: Float32) -> Float32:
    """(P, 3) colours of an eyeball; ``radius`` is 1 at the iris's rim."""
    iris = coat.iris
    turn = np.arctan2(rest[:, 1] - rest[:, 1].mean() if len(rest) else 0, np.abs(rest[:, 0]) - 31)
    streaks = 1 + 0.25 * np.sin(turn * 37 + iris.phase) * np.sin(turn * 23 - iris.phase) + 0.2 * (radius - 0.7)
    inside = iris.colour * streaks[:, None]
    rim = np.clip((radius - 0.8) / 0.2, 0, 1)[:, None] ** 2
    inside = inside + rim * (iris.ring - inside)
    inside = inside * np.clip((radius - iris.pupil) / 0.08, 0.02, 1)[:, None]
    white = iris.sclera * (1 - 0.12 * np.clip(radius - 1.2, 0, 1.5)[:, None] * np.array([0.5, 1, 1]))
    t = np.clip((radius - 0.96) / 0.08, 0, 1)[:, None]
    return np.asarray(inside + t * (white - inside), np.float32)


def _hash(points: Float32) -> Float32:
    """(P,) float32 in 0..1, a random number per unit cell of space."""
    i, j, k = np.floor(points).astype(np.int64).T
    h = (i * 73856093) ^ (j * 19349663) ^ (k * 83492791)
    h = (h ^ (h >> 13)) * 1274126177
    return np.asarray(((h ^ (h >> 16)) & 0xFFFF) / 65535.0, np.float32)


def _cells(points: Float32, size: float, share: float) -> Float32:
    """(P,) float32: round spots in ``share`` of the cells of space."""
    cell = np.floor(points / size)
    middle = (cell + 0.5) * size
    away = np.linalg.norm(points - middle, axis=1)
    chosen = _hash(cell) < share
    reach = size * (0.15 + 0.35 * _hash(cell + 17))
    return np.asarray(chosen * np.clip((reach - away) / (0.4 * size), 0, 1), np.float32)


def _nearest(picture: Float32, uv: Float32) -> Float32:
    n = picture.shape[0]
    row = np.clip(((1 - uv[:, 1] % 1) * n).astype(int), 0, n - 1)
    column = np.clip((uv[:, 0] % 1 * picture.shape[1]).astype(int), 0, picture.shape[1] - 1)
    return np.asarray(picture[row, column], np.float32)


def shade(
    hits: Hits, stage: Stage, light: Light, side: int, rng: np.random.Generator, *, shadows: bool = True
) -> Float32:
    """(P, 3) float32 radiance towards the camera; ``side`` is the picture's."""
    view = -hits.point / np.linalg.norm(hits.point, axis=1, keepdims=True)
    soft = np.clip(harmonics(hits.normal) @ light.ambient.astype(np.float32), 0.01, None)
    out = hits.colour * soft * hits.open[:, None]
    fresnel = 0.04 + 0.5 * (1 - np.clip((hits.normal * view).sum(1), 0, 1)) ** 5
    out += (np.minimum(hits.gloss, 1.2) * fresnel * hits.open)[:, None] * soft * 0.5
    for k, lamp in enumerate(light.lamps):
        way = np.broadcast_to(lamp.direction.astype(np.float32), hits.normal.shape)
        cosine = (hits.normal * way).sum(1)
        cosine = np.where(hits.fibre, 0.3 + 0.5 * np.abs(cosine), cosine)
        scatter = light.scatter.astype(np.float32) * (hits.head & ~hits.fibre)[:, None]
        diffuse = np.clip((cosine[:, None] + scatter) / (1 + scatter), 0, None)
        lit = np.flatnonzero(diffuse[:, 0] > 0)
        reaches = np.zeros(len(cosine), np.float32)
        if k == 0 and shadows:
            wobble = rng.normal(0, lamp.softness / 2, (len(lit), 3)).astype(np.float32)
            aim = way[lit] + wobble
            aim /= np.linalg.norm(aim, axis=1, keepdims=True)
            start = hits.point[lit] + 1.2 * hits.normal[lit]
            reaches[lit] = stage.transmission(start, aim)
            reaches = _smoothed(reaches, hits.ray, side)
        else:
            reaches[lit] = hits.open[lit]
        half = way + view
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        glint = np.clip((hits.normal * half).sum(1), 0, 1) ** hits.sharpness * (hits.sharpness + 2) / 8
        glint *= hits.gloss * 0.04 * np.clip(cosine, 0, 1)
        colour = lamp.colour.astype(np.float32)
        out += reaches[:, None] * (hits.colour * diffuse + glint[:, None]) * colour
    return np.asarray(out, np.float32)


def _smoothed(values: Float32, rays: NDArray[np.int64], side: int) -> Float32:
    """One shadow ray a pixel is noise; its neighbours' are as good, so they are averaged."""
    picture, there = np.zeros((2, side * side), np.float32)
    picture[rays], there[rays] = values, 1
    total, count = (
        cv2.GaussianBlur(p.reshape(side, side), (0, 0), 1.6 * side / 384).ravel()[rays] for p in (picture, there)
    )
    return np.asarray(total / np.maximum(count, 1e-3), np.float32)


def render(
    stage: Stage, camera: Camera, light: Light, backdrop: Float32, rng: np.random.Generator
) -> tuple[Float32, Bool]:
    """Radiance seen by the camera.

    Args:
        stage: What stands there.
        camera: Square picture.
        light: The light.
        backdrop: (N, N, 3) float32 linear light behind it.
        rng: Source of chance (soft shadows).

    Returns:
        (N, N, 3) float32 linear light, and (N, N) bool where the head itself is seen first.
    """
    n = camera.width
    directions = pixel_rays(camera).reshape(-1, 3)
    origins = np.zeros_like(directions)
    rays = stage.window(camera)
    through = np.ones(n * n, np.float32)
    radiance = np.zeros((n * n, 3), np.float32)
    face = np.zeros(n * n, bool)
    for layer in range(LAYERS):
        hits = stage.look(rays, origins[rays], directions[rays])
        if len(hits.ray) == 0:
            break
        if layer == 0:
            face[hits.ray] = hits.head
        share = through[hits.ray] * hits.opacity
        radiance[hits.ray] += share[:, None] * shade(hits, stage, light, n, rng, shadows=layer < _SHADOWED)
        through[hits.ray] -= share
        on = through[hits.ray] > 0.04
        rays = hits.ray[on]
        if len(rays) == 0:
            break
        origins[rays] = (
            hits.point[on] + directions[rays] / np.linalg.norm(directions[rays], axis=1, keepdims=True) * _PAST
        )
    radiance += through[:, None] * backdrop.reshape(-1, 3)
    return radiance.reshape(n, n, 3), face.reshape(n, n)


def project(camera: Camera, points: Float32) -> Float64:
    """(N, 2) float64 pixels of points in the head frame."""
    return camera.project(points.astype(np.float64))
