"""Eyes, teeth, gums, tongue and the cavities behind: drawn cleanly, coloured from the photo."""

from dataclasses import dataclass

import cv2
import numpy as np

from maquette.headmodel import HeadModel
from maquette.rooms import PhotoView
from maquette.types import Float32, Float64, View
from services.reconstructor.engines.open.atlas import Atlas, smoothstep
from services.reconstructor.engines.open.linear import decode, luminance
from services.reconstructor.engines.open.sampling import LEFT_EYE, MOUTH, RIGHT_EYE
from services.reconstructor.engines.open.surface import grain

IRISES = {"eye_right": (468, RIGHT_EYE), "eye_left": (473, LEFT_EYE)}
"""Landmark of each iris's centre (four on its edge follow), and the ring around its opening."""

PUPIL = 0.36
"""Radius of the pupil by the iris's."""

_IRIS_MM = (5.2, 7.4)
_LARGE_IRIS_PX = 6.0
_IRIS_LUMINANCE = (0.012, 0.2)
_BROWN = np.array([0.07, 0.036, 0.018])
_SCLERA_BY_SKIN = 1.7
_WARM_WHITE = np.array([1.04, 1.0, 0.96])
_ENAMEL = np.array([1.0, 0.93, 0.80])
_GUM = np.array([0.62, 0.25, 0.23])
_TONGUE = np.array([0.60, 0.26, 0.23])
_GLINT = np.array([0.85, 0.86, 0.88], np.float32)
_TEETH_GLOW = 1.45
_CAVITY = np.array([0.40, 0.12, 0.10])


@dataclass(frozen=True)
class Tints:
    """Colours of what lies behind the skin, linear albedo in the photo's exposure.

    Attributes:
        iris: (3,).
        iris_mm: Radius of the iris.
        sclera: (3,).
        enamel: (3,) of the teeth.
    """

    iris: Float64
    iris_mm: float
    sclera: Float64
    enamel: Float64


def measure_tints(photo: PhotoView, view: View, skin: Float32) -> Tints:
    """Look for the colours of irises, whites and teeth in a photo.

    Args:
        photo: The photo and its landmarks.
        view: Its fit.
        skin: (3,) float32 linear albedo of the skin; stands in for what the photo does not show.
    """
    bright = float(luminance(skin))
    white = np.clip(_SCLERA_BY_SKIN * bright, 0.25, 0.7) * _WARM_WHITE
    points = photo.face.landmarks[:, :2].astype(np.float64)
    depth = float(view.camera.to_camera(np.zeros((1, 3)))[0, 2])
    radii, irises, whites = [], [], []
    for centre, ring in IRISES.values():
        radius = float(np.linalg.norm(points[centre + 1 : centre + 5] - points[centre], axis=1).mean())
        radii.append(radius * depth / view.camera.focal)
        colours, distance = _inside(photo, points[list(ring)], points[centre])
        share = distance / max(radius, 1e-6)
        # In a small face the rim's pixels are half white.
        irises.append(colours[(share > 0.4) & (share < (0.88 if radius > _LARGE_IRIS_PX else 0.7))])
        whites.append(colours[share > 1.15])
    iris = np.concatenate(irises)
    tint = _BROWN * np.clip(bright / 0.3, 0.3, 1.5)
    if len(iris) >= 12:
        order = np.argsort(luminance(iris))
        # Highlights above, lashes and the lid's shadow below.
        middle = iris[order[len(iris) * 3 // 10 : max(len(iris) * 7 // 10, 1)]]
        tint = np.median(middle, axis=0).astype(np.float64)
        bare = max(float(luminance(tint.astype(np.float32))), 1e-4)
        # Irises are duller than what compression and sharpening make of a few pixels.
        tint = (0.85 * tint + 0.15 * bare) * float(np.clip(1.15 * bare, *_IRIS_LUMINANCE)) / bare
    around = np.concatenate(whites)
    if len(around) >= 12:
        order = np.argsort(luminance(around))
        seen = np.median(around[order[len(around) // 2 :]], axis=0).astype(np.float64)
        white = _as_white(seen, bright)
    teeth, _ = _inside(photo, points[list(MOUTH)], points[13])
    enamel = 0.92 * white * _ENAMEL
    if len(teeth) >= 40:
        y = luminance(teeth)
        light = teeth[y > max(float(np.percentile(y, 70)), 0.7 * bright)]
        if len(light) >= 12:
            enamel = 0.5 * enamel + 0.5 * _as_white(np.median(light, axis=0).astype(np.float64), bright)
    return Tints(tint, float(np.clip(np.mean(radii), *_IRIS_MM)), white, enamel)


def _as_white(colour: Float64, bright: float) -> Float64:
    """A colour held to what eyes' whites and teeth can be beside skin of luminance ``bright``."""
    y = max(float(colour @ np.array([0.2126, 0.7152, 0.0722])), 1e-4)
    held = float(np.clip(y, np.clip(1.0 * bright, 0.18, 0.6), np.clip(2.6 * bright, 0.35, 0.8)))
    tint = np.clip(colour / y, 0.85, 1.15)
    return held * tint


def _inside(photo: PhotoView, ring: Float64, centre: Float64) -> tuple[Float32, Float64]:
    """Linear colours (P, 3) of the pixels in a polygon, and their distances (P,) in pixels from a point."""
    pixels = photo.photo.pixels
    low = np.clip(np.floor(ring.min(0)).astype(int) - 1, 0, [pixels.shape[1] - 1, pixels.shape[0] - 1])
    high = np.clip(np.ceil(ring.max(0)).astype(int) + 1, low + 1, [pixels.shape[1], pixels.shape[0]])
    part = pixels[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(part.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint((ring - low - 0.5) * 16).astype(np.int32)], 1, shift=4)
    row, column = np.nonzero(mask)
    at = np.stack([column, row], 1) + low + 0.5
    return decode(part[row, column]), np.linalg.norm(at - centre, axis=1)


def paint_inner(
    atlas: Atlas, albedo: Float32, photo: Float32, light: Float32, side: float, tints: Tints, skin: Float32
) -> None:
    """Draw everything but the skin into the whole atlas's maps, in place.

    Args:
        atlas: Of the head model.
        albedo: (N, N, 3) float32 linear.
        photo: (N, N, 3) float32 linear, with the photo's light.
        light: (3,) float32, the photo's light around the eyes.
        side: Which side the light comes from: positive for the subject's left.
        tints: Colours.
        skin: (3,) float32 linear albedo of the skin.
    """
    model, raster = atlas.model, atlas.raster
    rest = raster.covered.copy()
    rest[: len(atlas.skin)] &= ~atlas.skin
    triangle, weights = raster.triangle[rest], raster.barycentric[rest]
    corners = model.triangles[triangle]
    points = np.einsum("pkc,pk->pc", model.mean[corners], weights)
    # Where a cavity begins its rim has the colour of the skin that it continues.
    rim = np.asarray(atlas.to_vertices @ atlas.pack(albedo[: len(atlas.skin)]), np.float32)
    rim /= np.maximum(np.asarray(atlas.to_vertices.sum(1), np.float32), np.float32(1e-6))
    colours = np.einsum("pkc,pk->pc", _vertex_colours(model, tints, skin, rim)[corners], weights)
    glint = np.zeros(len(colours), np.float32)
    joints = model.joints(model.mean)
    for name, (iris, _) in IRISES.items():
        here = model.part(name)[corners[:, 0]]
        centre = joints[model.joint_names.index(name)]
        axis = model.landmarks(model.mean)[iris] - centre
        axis = axis / np.linalg.norm(axis)
        colours[here] = _eye(points[here] - centre, axis, tints)
        glint[here] = _glint(points[here] - centre, axis, tints.iris_mm, side)
    albedo[rest] = colours
    photo[rest] = colours * light + glint[:, None] * (_GLINT - colours * light)


def _eye(points: Float32, axis: Float32, tints: Tints) -> Float32:
    """(P, 3) colours of points (P, 3) mm around an eyeball's centre that looks along ``axis``."""
    along = points @ axis
    across = points - along[:, None] * axis
    off = np.linalg.norm(across, axis=1)
    share = np.where(along > 0, off / tints.iris_mm, 9.0).astype(np.float32)
    angle = np.arctan2(across[:, 1], across[:, 0])
    fibre = _fibres(angle, share)
    iris = tints.iris[None] * (1 + 0.28 * fibre[:, None])
    # Lighter around the pupil, dark at the rim, as irises are.
    iris *= (1.25 - 0.35 * smoothstep((share - 0.4) / 0.45))[:, None]
    iris *= (1 - 0.62 * smoothstep((share - 0.8) / 0.2))[:, None]
    pupil = smoothstep((PUPIL + 0.05 - share) / 0.09)[:, None]
    iris = iris * (1 - pupil) + 0.004 * pupil
    rim = np.clip((off - 1.2 * tints.iris_mm) / 9, 0, 1)[:, None].astype(np.float32)
    pink = np.array([1.0, 0.80, 0.76])
    white = tints.sclera[None] * (1 - rim + rim * pink) * (1 - 0.28 * rim)
    outside = smoothstep((share - 0.93) / 0.15)[:, None]
    colour = np.clip(iris, 0, 1) * (1 - outside) + white * outside
    # The upper lid and its lashes throw a shadow.
    return np.asarray(colour * (1 - 0.4 * smoothstep((across[:, 1:2] - 1.5) / 5.5)), np.float32)


def _glint(points: Float32, axis: Float32, iris_mm: float, side: float) -> Float32:
    """(P,) opacity of the light's reflection on the cornea, above the pupil and towards the light."""
    at = np.array([0.30 if side >= 0 else -0.30, 0.42]) * iris_mm
    across = points - (points @ axis)[:, None] * axis
    off = np.linalg.norm(across[:, :2] - at, axis=1) / iris_mm
    return np.asarray(0.8 * smoothstep((0.2 - off) / 0.1) * (points @ axis > 0), np.float32)


def _fibres(angle: Float32, share: Float32) -> Float32:
    """(P,) noise that varies around the iris and little along its radius."""
    rows, columns = 64, 256
    noise = grain((rows, columns), 0.0, 21)
    smooth = cv2.GaussianBlur(np.concatenate([noise, noise, noise], 1), (0, 0), sigmaX=1.3, sigmaY=9.0)
    x = (angle / (2 * np.pi) % 1 * columns + columns).astype(np.int32)
    y = (np.clip(share, 0, 1) * (rows - 1)).astype(np.int32)
    return np.asarray(np.clip(smooth[y, x] / smooth.std(), -2.2, 2.2), np.float32)


def _vertex_colours(model: HeadModel, tints: Tints, skin: Float32, rim: Float32) -> Float32:
    """(V, 3) float32 colours of teeth, gums, tongue and cavities, darker the deeper they lie; ``rim`` elsewhere."""
    out = rim.astype(np.float64)
    exposure = float(np.clip(luminance(tints.sclera.astype(np.float32)) / 0.6, 0.3, 1.2))
    z = model.mean[:, 2].astype(np.float64)
    lips = model.mean[model.region("lip_upper") | model.region("lip_lower"), 2]
    depth = lips.mean() - z
    inside = np.exp(-np.clip(depth - 4, 0, None) / 16)[:, None]
    # Light goes through teeth, so that the lips' shadow on them is faint; the tip of the row gets the most.
    enamel = np.clip(_TEETH_GLOW * tints.enamel, 0, 0.88)
    for name, tint in (("teeth", enamel), ("gums", _GUM * exposure), ("tongue", _TONGUE * exposure)):
        part = model.part(name)
        out[part] = (tint * (0.10 + 0.90 * inside))[part]
    part = model.part("mouth")
    out[part] = (_CAVITY * exposure * (0.04 + 0.96 * inside))[part]
    part = model.part("eye_socket")
    lids = model.mean[model.region("eyelids_left"), 2].mean()
    out[part] = (skin * np.array([0.7, 0.45, 0.4]) * np.exp(-np.clip(lids - z, 0, None) / 6)[:, None])[part]
    return np.asarray(out, np.float32)
