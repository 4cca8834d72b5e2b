"""Brows as patches of the model's own skin, lashes as strips along the model's own lids."""

import cv2
import numpy as np
from numpy.typing import NDArray

from maquette.geometry.raster import Scene
from maquette.geometry.surface import vertex_normals
from maquette.headmodel import HeadModel
from maquette.headmodel.hair import MEAN_LUMINANCE, triangle_frames
from training.closest import ClosestPoints
from training.fitted import Bound, Fitted, quantised
from training.registration import Registration, Template
from training.sources import MakeHuman
from training.texels import Atlas, sample

Array = NDArray[np.float64]
Float = NDArray[np.float32]
Index = NDArray[np.int64]
Image = NDArray[np.uint8]

_REACH = 5.0
"""mm along the normal, up and down, within which a brow mesh is painted on the skin."""

_LIFT = 0.5
"""mm between skin and brow."""

LASHES = {"sparse": (30, 6.0), "medium": (48, 7.5), "full": (76, 9.0)}
"""Name: hairs on an upper lid, and their length in mm in its middle."""

# MediaPipe landmarks along the left lids, from the outer corner to the inner.
_UPPER = (263, 466, 388, 387, 386, 385, 384, 398, 362)
_LOWER = (263, 249, 390, 373, 374, 380, 381, 382, 362)
_COLUMNS = 17


class BrowMaker:
    """Puts MakeHuman's brow meshes on the model's skin."""

    def __init__(self, atlas: Atlas, template: Template, registration: Registration, source: MakeHuman) -> None:
        """Find where the texels of an atlas lie on the MakeHuman head."""
        self._atlas, self._registration, self._source = atlas, registration, source
        moved = template.points.copy()
        moved[registration.skin] = registration.deformed
        self._mask = atlas.of("skin")
        self._points = atlas.values(self._mask, moved)
        normals = atlas.values(self._mask, vertex_normals(moved, template.triangles))
        self._normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)

    def paint(self, mesh: Fitted) -> Float:
        """Opacity of a brow mesh's picture on the skin: (size, size)."""
        if mesh.picture is None:
            raise ValueError("brows without a picture")
        vertices = self._registration.align(mesh.on(self._source.vertices))
        low, high = vertices.min(0) - _REACH, vertices.max(0) + _REACH
        near = np.flatnonzero(((self._points > low) & (self._points < high)).all(1))
        points, normals = self._points[near], self._normals[near]
        hit = Scene(vertices, mesh.triangles).cast(points + _REACH * normals, -normals)
        seen = hit.covered & (hit.distance < 2 * _REACH)
        uv = np.einsum("pkc,pk->pc", mesh.uv[mesh.uv_triangles[hit.triangle[seen]]], hit.barycentric[seen])
        flat = np.zeros(len(self._points), np.float32)
        flat[near[seen]] = sample(mesh.picture[..., 3], uv)[:, 0] / 255
        out = np.zeros((self._atlas.size, self._atlas.size), np.float32)
        out[self._mask] = flat
        return out


def brow_window(model: HeadModel) -> tuple[float, float, float]:
    """The square of the atlas that holds both brows: lower left corner and side."""
    region = model.region("brow_left") | model.region("brow_right")
    at = model.uv[model.uv_triangles[region[model.triangles].any(1)]].reshape(-1, 2)
    low, high = at.min(0) - 0.035, at.max(0) + 0.035
    side = float((high - low).max())
    middle = (low + high) / 2
    return float(middle[0] - side / 2), float(middle[1] - side / 2), side


def brow_patch(model: HeadModel, opacity: Float, window: tuple[float, float, float]) -> tuple[Bound, Image]:
    """The skin's own triangles below a brow, lifted a little, and the brow's picture.

    Args:
        model: The model.
        opacity: (N, N) of the window of the atlas.
        window: Lower left corner and side.

    Returns:
        The mesh, and (M, N, 2) luminance and opacity: the rows of the window that hold the brow.
    """
    size = len(opacity)
    rows = np.flatnonzero((opacity > 0.02).any(1))
    top, bottom = max(rows[0] - 6, 0), min(rows[-1] + 7, size)
    grown = cv2.dilate((opacity > 0.02).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    atlas = Atlas(model, size, window)
    skin = np.flatnonzero(model.part("skin")[model.triangles].all(1))
    chosen = np.intersect1d(np.unique(atlas.raster.triangle[grown & atlas.raster.covered]), skin)
    triangles = model.triangles[chosen].astype(np.int64)
    used, local = np.unique(triangles, return_inverse=True)
    uv = np.zeros((len(used), 2))
    uv[local.ravel()] = model.uv[model.uv_triangles[chosen].ravel()]
    uv = (uv - np.array(window[:2])) / window[2]
    # Rows cut off at the top and the bottom change what v means.
    uv[:, 1] = (uv[:, 1] * size - (size - bottom)) / (bottom - top)
    anchors = np.zeros((len(used), 3), np.int64)
    for corner in range(3):
        anchors[local.reshape(-1, 3)[:, corner]] = np.roll(triangles, -corner, 1)
    mean = model.mean.astype(np.float64)
    normals = vertex_normals(mean, model.triangles)[used]
    offset = np.einsum("hkc,hc->hk", triangle_frames(mean[anchors]), _LIFT * normals)
    weights = np.tile([1.0, 0.0, 0.0], (len(used), 1))
    # Hairs shade each other: the denser, the darker.
    shade = MEAN_LUMINANCE * (1.15 - 0.3 * cv2.GaussianBlur(opacity, (0, 0), 3))
    picture = np.rint(np.stack([shade, opacity], -1)[top:bottom] * 255).astype(np.uint8)
    return Bound(local.reshape(-1, 3), uv, anchors, weights, offset, True), picture


def lash_strips(model: HeadModel, template: Template, length: float) -> Bound:
    """Strips along all four lids, curved away from the eye; the picture's upper half is the upper lids'.

    Args:
        model: The model.
        template: The same as a template.
        length: mm in the middle of an upper lid.
    """
    landmarks = model.landmarks(model.mean).astype(np.float64)
    centre = model.joints(model.mean)[model.joint_names.index("eye_left")].astype(np.float64)
    blocks, uvs, triangles = [], [], []
    count = 0
    for numbers, upper in ((_UPPER, True), (_LOWER, False)):
        t = np.linspace(0.02, 0.86, _COLUMNS)
        root = _along(landmarks[list(numbers)], t)
        # Longest at two thirds towards the outer corner.
        size = length * (0.62 + 0.38 * np.sin(np.pi * np.clip(1.0 - t * 0.9, 0, 1))) * (1.0 if upper else 0.5)
        away = root - centre
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        fan = np.stack([0.55 * (0.5 - t) + 0.1, np.zeros(_COLUMNS), np.zeros(_COLUMNS)], 1)
        rise = np.array([0, 1.0, 0]) * (1 if upper else -1)
        middle = root + size[:, None] * (0.52 * away + 0.5 * fan + 0.02 * rise)
        tip = root + size[:, None] * (0.82 * away + fan + (0.5 if upper else 0.42) * rise)
        for side in (1.0, -1.0):
            flip = np.array([side, 1.0, 1.0])
            blocks.append(np.concatenate([root, middle, tip]) * flip)
            # Root at the lower edge of each half of the picture.
            v = np.repeat([0.51, 0.75, 0.99] if upper else [0.01, 0.25, 0.49], _COLUMNS)
            uvs.append(np.stack([np.tile(0.02 + 0.96 * np.linspace(0, 1, _COLUMNS), 3), v], 1))
            grid = count + np.arange(3 * _COLUMNS).reshape(3, _COLUMNS)
            a, b, c, d = (g.ravel() for g in (grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]))
            triangles.append(np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]))
            count += 3 * _COLUMNS
    points = np.concatenate(blocks)
    # Each hair goes with the place on the lid where it grows.
    roots = np.concatenate([np.tile(b[:_COLUMNS], (3, 1)) for b in blocks])
    mean = template.points[template.skin_vertices]
    out = np.zeros_like(roots)
    out[:, 2] = 1
    triangle, weights, _, _ = ClosestPoints(mean, template.skin_triangles)(roots, out)
    anchors = template.skin_vertices[template.skin_triangles[triangle]]
    share = quantised(weights)
    at = template.points[anchors]
    arm = points - np.einsum("hkc,hk->hc", at, share)
    offset = np.einsum("hkc,hc->hk", triangle_frames(at), arm)
    return Bound(np.concatenate(triangles), np.concatenate(uvs), anchors, share, offset, True)


def lash_picture(hairs: int) -> Image:
    """(256, 512, 2) luminance and opacity: lashes of an upper lid above, of a lower one below, roots at the bottom."""
    height, width, fine = 128, 512, 4
    rng = np.random.default_rng(hairs)
    halves = []
    for number, share in ((hairs, 1.0), (round(hairs * 0.7), 0.7)):
        canvas = np.zeros((height * fine, width * fine), np.float32)
        # Lashes stand in tufts of two or three whose tips meet.
        tufts = np.linspace(0.02, 0.98, max(number // 2, 1)) + rng.normal(0, 0.004, max(number // 2, 1))
        for k in range(number):
            tuft = tufts[k % len(tufts)]
            foot = np.clip(tuft + rng.normal(0, 0.55 / number), 0.01, 0.99)
            long = share**0.3 * rng.uniform(0.72, 1.0)
            s = np.linspace(0, 1, 14)
            x = (foot + (tuft - foot) * 0.8 * s + rng.normal(0, 0.006) * s**2) * width * fine
            y = (1 - s * long * 0.97) * height * fine - 1
            for i in range(len(s) - 1):
                thick = max(1, round(fine * 2.6 * (1 - s[i]) ** 0.8))
                ends = [(round(float(x[j])), round(float(y[j]))) for j in (i, i + 1)]
                cv2.line(canvas, ends[0], ends[1], 1.0, thick, cv2.LINE_AA)
        halves.append(cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA))
    opacity = np.clip(np.concatenate(halves) * 1.15, 0, 1)
    shade = np.full_like(opacity, MEAN_LUMINANCE)
    return np.asarray(np.rint(np.stack([shade, opacity], -1) * 255), np.uint8)


def _along(points: Array, t: Array) -> Array:
    """Points at fractions of a polyline's length, rounded by a Catmull-Rom spline."""
    ends = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    s = np.linspace(0, 1, 12, endpoint=False)[:, None]
    pieces = []
    for i in range(len(points) - 1):
        a, b, c, d = ends[i : i + 4]
        pieces.append(0.5 * (2 * b + (c - a) * s + (2 * a - 5 * b + 4 * c - d) * s**2 + (3 * b - a - 3 * c + d) * s**3))
    line = np.concatenate([*pieces, points[-1:]])
    path = np.r_[0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
    return np.stack([np.interp(t * path[-1], path, line[:, k]) for k in range(3)], 1)
