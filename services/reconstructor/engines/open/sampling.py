"""What a photo shows of each texel."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from maquette.geometry.raster import Scene
from maquette.geometry.surface import vertex_normals
from maquette.headmodel import HeadModel
from maquette.rooms import PhotoView
from maquette.types import Bool, Camera, Float32, Float64, Mask, UInt8, View
from services.reconstructor.engines.open.atlas import Atlas, smoothstep
from services.reconstructor.engines.open.linear import decode

WARP_LIMIT_MM = 5.0
MASK_MARGIN_MM = 4.5
PIXELS_PER_TEXEL = 1.3
"""Photos of a higher resolution than this are shrunk first: otherwise they would alias."""

RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
MOUTH = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
"""MediaPipe landmarks around the openings of the eyes (the subject's) and of the lips."""

_LANDMARKS = 468
_OBLIQUE = (0.2, 0.55)
_OFF_SURFACE_MM = 0.4
_FADE_MM = 25.0
_WARP_NODES = 36


@dataclass(frozen=True, eq=False)
class Sample:
    """A photo seen from the texels of an atlas; maps (H, N, ...).

    Attributes:
        linear: (H, N, 3) float32 linear light; meaningless where ``weight`` is 0.
        weight: (H, N) float32, how well the texel is seen, 0 to 1.
        normals: (V, 3) float32 unit normals of the posed head, head frame.
        towards: (3,) float64, unit direction from the head to the camera, head frame.
    """

    linear: Float32
    weight: Float32
    normals: Float32
    towards: Float64


@dataclass(frozen=True, eq=False)
class _Posed:
    """A head before a camera.

    Attributes:
        vertices: (V, 3) float64 mm, head frame.
        normals: (V, 3) float64, unit.
        eye: (3,) float64 mm, the camera's place in the head frame.
        rays: (V, 3) float64, unit, from the vertices to the camera.
        cosine: (V,) float64, between normal and ray.
        scale: Pixels per millimetre at the face.
    """

    vertices: Float64
    normals: Float64
    eye: Float64
    rays: Float64
    cosine: Float64
    scale: float

    @classmethod
    def of(cls, model: HeadModel, posed: Float32, camera: Camera) -> "_Posed":
        vertices = posed.astype(np.float64)
        normals = np.asarray(vertex_normals(vertices, model.triangles), np.float64)
        eye = np.asarray(-camera.rotation.T @ camera.translation, np.float64)
        rays = eye - vertices
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        depth = float(camera.to_camera(vertices[model.region("face")])[:, 2].mean())
        return cls(vertices, normals, eye, rays, (normals * rays).sum(1), float(camera.focal / depth))


def sample_view(atlas: Atlas, posed: Float32, view: View, photo: PhotoView) -> Sample:
    """Look up every skin texel in a photo.

    Args:
        atlas: Of the head model.
        posed: (V, 3) float32 mm, head frame, with the photo's expression.
        view: The fit of the photo.
        photo: The photo, its face and its mask.

    Returns:
        Colours, and weights that are the product of obliqueness, of being in front of everything else, and of lying in
        the person, clear of the outline and of the openings of eyes and mouth.
    """
    camera, landmarks = view.camera, photo.face.landmarks
    head = _Posed.of(atlas.model, posed, camera)
    pixels = camera.project(head.vertices)
    pixels += _warp(atlas.model, head, view, pixels)
    low, high = _OBLIQUE
    facing = np.asarray((head.cosine - low) / (high - low), np.float32)
    looks = atlas.image(np.concatenate([pixels.astype(np.float32), facing[:, None]], 1))
    where, weight = np.ascontiguousarray(looks[..., :2]), smoothstep(looks[..., 2])
    weight *= _unoccluded(atlas, head, weight > 0)
    weight *= _inside_photo(where, camera, head.scale)
    weight *= _inside_person(where, photo.mask, head.scale, landmarks)
    shown = pixels[atlas.model.part("skin") & (head.cosine > low)]
    crop = _Crop.around(photo.photo.pixels, shown, head.scale, atlas.texel_mm)
    weight *= crop.outside_openings(where, landmarks[:, :2])
    towards = head.eye / np.linalg.norm(head.eye)
    return Sample(crop.look_up(where), weight, np.asarray(head.normals, np.float32), towards)


def _warp(model: HeadModel, head: _Posed, view: View, pixels: Float64) -> Float64:
    """(V, 2) pixels to add to the projections, so that the landmarks fall where the photo has them.

    A thin-plate spline over the landmarks that face the camera, at most ``WARP_LIMIT_MM``, faded out beyond them;
    evaluated on a grid and interpolated, as it is smooth.
    """
    corners, weights = model.landmark_vertices[:_LANDMARKS], model.landmark_weights[:_LANDMARKS]
    facing = np.einsum("lk,lk->l", head.cosine[corners], weights) > _OBLIQUE[0]
    if facing.sum() < 8:
        return np.zeros_like(pixels)
    points = np.einsum("lkc,lk->lc", head.vertices[corners[facing]], weights[facing])
    points = view.camera.project(points) / head.scale
    residual = view.residual_px[:_LANDMARKS][facing].astype(np.float64) / head.scale
    residual *= _limit(residual)
    middle = points.mean(0)
    spline = RBFInterpolator(points - middle, residual, kernel="thin_plate_spline", smoothing=10.0)
    start, end = points.min(0) - _FADE_MM, points.max(0) + _FADE_MM
    x, y = (np.linspace(start[k], end[k], _WARP_NODES) for k in (0, 1))
    nodes = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    moved = spline(nodes - middle)
    moved *= _limit(moved)
    hull = cv2.convexHull(points.astype(np.float32))
    outside = np.array([-cv2.pointPolygonTest(hull, (float(a), float(b)), True) for a, b in nodes], np.float32)
    moved *= 1 - smoothstep(outside / np.float32(_FADE_MM))[:, None]
    field = np.asarray(moved.reshape(_WARP_NODES, _WARP_NODES, 2), np.float32)
    at = (pixels / head.scale - start) / (end - start) * (_WARP_NODES - 1)
    found = _look_up(field, at.astype(np.float32)[None], cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
    return np.where(head.cosine[:, None] > 0, found[0] * head.scale, 0).astype(np.float64)


def _limit(moves: Float64) -> Float64:
    """(P, 1) factors that bring moves (P, 2) in mm to ``WARP_LIMIT_MM`` at most."""
    length = np.maximum(np.linalg.norm(moves, axis=1, keepdims=True), 1e-9)
    return np.asarray(np.minimum(1, WARP_LIMIT_MM / length), np.float64)


def _look_up(image: Float32, at: Float32, how: int, border: int) -> Float32:
    """Values (h, w, ...) of an image at positions (h, w, 2) as OpenCV counts them; 0 outside for a constant border."""
    x, y = np.ascontiguousarray(at[..., 0]), np.ascontiguousarray(at[..., 1])
    return np.asarray(cv2.remap(image, x, y, how, borderMode=border), np.float32)


def _unoccluded(atlas: Atlas, head: _Posed, wanted: Bool) -> Float32:
    """(H, N) float32, 0 where something lies between a texel and the camera, with a soft margin of about 2 mm.

    Rays are cast from the vertices; texels get rays of their own only around triangles whose corners disagree.
    """
    model = atlas.model
    scene = Scene(head.vertices, model.triangles)
    skin = model.part("skin") & (head.cosine > 0.1)
    start = head.vertices[skin] + _OFF_SURFACE_MM * head.normals[skin]
    hidden = np.zeros(len(head.vertices), bool)
    hidden[skin] = scene.cast(start, head.rays[skin]).covered
    corners = model.triangles[model.part_triangles("skin")]
    mixed = corners[hidden[corners].any(1) & ~hidden[corners].all(1)]
    border = np.zeros(len(head.vertices), np.float32)
    border[mixed.ravel()] = 1
    border = np.asarray(atlas.averaging @ border, np.float32)
    both = atlas.image(np.stack([(~hidden).astype(np.float32), border], 1))
    out = np.ascontiguousarray(both[..., 0])
    flat = np.flatnonzero((wanted & (both[..., 1] > 1e-3)).reshape(-1))
    rows = atlas.to_texels[np.searchsorted(atlas.texels, flat)]
    points = np.asarray(rows @ head.vertices.astype(np.float32))
    away = head.eye.astype(np.float32) - points
    points += np.asarray(rows @ head.normals.astype(np.float32)) * np.float32(_OFF_SURFACE_MM)
    out.reshape(-1)[flat] = ~scene.cast(points, away).covered
    seen = (out > 0.5) | ~atlas.skin
    distance = cv2.distanceTransform(seen.astype(np.uint8), cv2.DIST_L2, 3) * np.float32(atlas.texel_mm)
    return smoothstep((distance - np.float32(0.5)) / np.float32(2)) * seen


def _inside_photo(where: Float32, camera: Camera, scale: float) -> Float32:
    """(H, N) float32, 0 beyond the photo's border, 1 from 3 mm inside it."""
    x, y = where[..., 0], where[..., 1]
    inside = np.minimum(np.minimum(x, camera.width - x), np.minimum(y, camera.height - y))
    return smoothstep(inside / np.float32(3 * scale))


def _inside_person(where: Float32, mask: Mask, scale: float, landmarks: Float32) -> Float32:
    """(H, N) float32, 1 in the person from about ``MASK_MARGIN_MM`` inside the mask's outline.

    A mask that misses the face itself (paintings, statues) says nothing and is ignored.
    """
    turn, shift = mask.to_crop[:, :2], mask.to_crop[:, 2]
    inside = (mask.alpha > 0.5).astype(np.uint8)
    face = (landmarks[:_LANDMARKS, :2] @ turn.T + shift).astype(np.int32)
    height, width = inside.shape
    face = face[((face >= 0) & (face < [width, height])).all(1)]
    if not len(face) or inside[face[:, 1], face[:, 0]].mean() < 0.7:
        return np.ones(where.shape[:2], np.float32)
    per_mm = scale * float(np.sqrt(abs(np.linalg.det(turn))))
    # What lies beyond the mask's square is not known to be another's.
    padded = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    distance = np.minimum(cv2.distanceTransform(padded, cv2.DIST_L2, 5), max(padded.shape)) / np.float32(per_mm)
    at = where @ turn.T.astype(np.float32) + (shift + 0.5).astype(np.float32)
    depth = _look_up(np.asarray(distance, np.float32), at, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    return smoothstep((depth - np.float32(MASK_MARGIN_MM - 2)) / np.float32(4))


@dataclass(frozen=True)
class _Crop:
    """The part of a photo around a head, in linear light, shrunk to the atlas's resolution.

    Attributes:
        linear: (h, w, 3) float32.
        corner: (2,) float32, photo coordinates of its top left corner.
        shrink: (2,) float32, crop pixels per photo pixel.
        per_mm: Crop pixels per millimetre.
    """

    linear: Float32
    corner: Float32
    shrink: Float32
    per_mm: float

    @classmethod
    def around(cls, pixels: UInt8, points: Float64, scale: float, texel_mm: float) -> "_Crop":
        margin = 8 * scale
        limit = np.array([pixels.shape[1], pixels.shape[0]])
        low = np.clip(np.floor(points.min(0) - margin), 0, limit - 1).astype(int)
        high = np.clip(np.ceil(points.max(0) + margin), low + 1, limit).astype(int)
        linear = decode(pixels[low[1] : high[1], low[0] : high[0]])
        shrink = min(1.0, PIXELS_PER_TEXEL / (texel_mm * scale))
        before = np.array([linear.shape[1], linear.shape[0]])
        after = np.maximum(np.rint(before * shrink), 1).astype(int)
        if shrink < 1:
            linear = np.asarray(cv2.resize(linear, tuple(after.tolist()), interpolation=cv2.INTER_AREA), np.float32)
        return cls(linear, low.astype(np.float32), (after / before).astype(np.float32), scale * shrink)

    def position(self, where: Float32) -> Float32:
        """Crop coordinates, as OpenCV counts them, of photo coordinates (..., 2)."""
        return np.asarray((where - self.corner) * self.shrink - np.float32(0.5), np.float32)

    def look_up(self, where: Float32) -> Float32:
        """(H, N, 3) float32 linear light at photo coordinates (H, N, 2)."""
        return np.clip(_look_up(self.linear, self.position(where), cv2.INTER_CUBIC, cv2.BORDER_REPLICATE), 0, 1)

    def outside_openings(self, where: Float32, landmarks: Float32) -> Float32:
        """(H, N) float32, 0 where a look-up falls into an eye or between the lips."""
        inside = np.zeros(self.linear.shape[:2], np.uint8)
        for ring in (RIGHT_EYE, LEFT_EYE, MOUTH):
            corners = np.rint(self.position(landmarks[list(ring)]) * 16).astype(np.int32)
            cv2.fillPoly(inside, [corners], 1, shift=4)
        depth = np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, 5), np.float32) / np.float32(self.per_mm)
        at = _look_up(depth, self.position(where), cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
        return 1 - smoothstep((at - np.float32(0.3)) / np.float32(0.7))
