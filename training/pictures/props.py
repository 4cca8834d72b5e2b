"""Glasses, beards and cropped hair, made here: meshes for ``shot.Stage``."""

import numpy as np

from maquette.geometry.raster import Scene
from maquette.geometry.surface import vertex_normals
from maquette.headmodel import HeadModel
from maquette.types import Float32, Float64, Int32
from training.pictures.shot import Prop
from training.pictures.subject import Subject

_OUTLINE = 40
"""Points around a lens."""

_RINGS = 5
_LENS_RADIUS = 110.0
"""mm, curvature of a lens's front."""

_ROUND = 6
"""Sides of a tube."""


def draw_glasses(model: HeadModel, subject: Subject, rng: np.random.Generator) -> tuple[Prop, ...]:
    """Random glasses on a head: frames, bridge, temples and lenses."""
    face = subject.vertices
    marks = model.landmarks(face).astype(np.float64)
    eyes = [marks[473], marks[468]]
    width, height = rng.uniform(42, 56), 0.0
    height = width * rng.uniform(0.6, 1.0)
    power = rng.choice([2.0, 2.5, 3.5, 5.0])
    drop = rng.uniform(0, 5)
    gap = rng.uniform(-1, 2)
    turn = np.linspace(0, 2 * np.pi, _OUTLINE, endpoint=False)
    outline = np.sign(np.stack([np.cos(turn), np.sin(turn)], 1)) * np.abs(
        np.stack([np.cos(turn), np.sin(turn)], 1)
    ) ** (2 / power)
    outline *= [width / 2, height / 2]
    wrap, tilt = rng.uniform(0.0015, 0.004), rng.uniform(0.03, 0.14)
    middle = (eyes[0] + eyes[1]) / 2
    rims = []
    for eye, sign in zip(eyes, (1, -1), strict=True):
        away = max(abs(eye[0] - middle[0]) + gap, width / 2 + 7)
        x = middle[0] + sign * (away + outline[:, 0])
        y = middle[1] - drop + outline[:, 1] - 0.12 * height * (outline[:, 1] < 0)
        rims.append(np.stack([x, y, -wrap * (x - middle[0]) ** 2 + tilt * (y - middle[1])], 1))
    depth = _clear(model, face, np.concatenate(rims), 2.0)
    depth = min(max(depth, eyes[0][2] + 10), eyes[0][2] + 26)
    rims = [r + np.array([0, 0, depth]) for r in rims]
    thick = float(np.exp(rng.uniform(np.log(0.6), np.log(2.6))))
    tubes = [_tube(np.concatenate([r, r[:1]]), thick) for r in rims]
    inner = [r[np.abs(r[:, 0] - middle[0]).argmin()] for r in rims]
    high = height * rng.uniform(0.0, 0.3)
    arch = np.linspace(inner[0] + [0, high, 0], inner[1] + [0, high, 0], 9)
    arch[:, 1] += 2.5 * np.sin(np.linspace(0, np.pi, 9))
    arch[:, 2] += 1.5 * np.sin(np.linspace(0, np.pi, 9))
    tubes.append(_tube(arch, thick * 0.9))
    for rim, side in zip(rims, ("left", "right"), strict=True):
        sign = 1 if side == "left" else -1
        hinge = rim[(sign * rim[:, 0] + 0.8 * rim[:, 1]).argmax()]
        ear = face[model.region(f"ear_{side}")].astype(np.float64)
        top = ear[ear[:, 1] > np.quantile(ear[:, 1], 0.8)]
        rest = top[(sign * top[:, 0]).argmin()] + [sign * 3, 2, 0]
        shoulder = hinge + np.array([sign * 3, 0, -6])
        tubes.append(_tube(np.stack([hinge, shoulder, (shoulder + rest) / 2 + [sign * 2, 0, 0], rest]), thick * 0.9))
    vertices, triangles = _joined(tubes)
    dark = rng.choice(["black", "brown", "metal", "colour"], p=[0.45, 0.25, 0.2, 0.1])
    colour = {
        "black": np.array([0.01, 0.01, 0.012]),
        "brown": np.array([0.09, 0.04, 0.02]) * rng.uniform(0.4, 1.5),
        "metal": np.array([0.35, 0.33, 0.3]),
        "colour": rng.uniform(0.02, 0.4, 3),
    }[str(dark)]
    frame = Prop(vertices, triangles, np.zeros((len(vertices), 2), np.float32), _plain(1.0), colour, 2.5, False)
    lenses, facets = _joined([_fan(r) for r in rims])
    if rng.random() < 0.12:
        tint, opacity, gloss = rng.uniform(0.003, 0.05, 3), rng.uniform(0.6, 0.95), 4.0
    else:
        tint, opacity = np.full(3, 0.02), rng.uniform(0.04, 0.15)
        gloss = rng.uniform(0.2, 2.5) / opacity
    glass = Prop(
        lenses, facets, np.zeros((len(lenses), 2), np.float32), _plain(opacity), tint, gloss, False, None, 400.0
    )
    return frame, glass


def draw_fur(
    model: HeadModel, subject: Subject, mask: Float32, colour: Float64, length: float, density: float,
    rng: np.random.Generator,
) -> Prop:  # fmt: skip
    """A beard or cropped hair as shells over the skin with ever sparser strands.

    Args:
        model: Head model.
        subject: Whose head.
        mask: (V,) float32 where it grows, 0 to 1.
        colour: (3,) linear.
        length: mm.
        density: 0 to 1.
        rng: Source of chance.
    """
    layers = int(np.clip(round(length * 0.9), 2, 5))
    grows = (mask[model.triangles] > 0.06).all(1) & model.part("skin")[model.triangles].all(1)
    corner, local = np.unique(model.uv_triangles[grows], return_inverse=True)
    local = local.reshape(-1, 3).astype(np.int32)
    owner = np.zeros(len(model.uv), np.int64)
    owner[model.uv_triangles.ravel()] = model.triangles.ravel()
    base = owner[corner]
    face = subject.vertices
    normals = vertex_normals(face, model.triangles)
    # Hair on the face grows down and out.
    lean = normals[base] + np.array([0, -0.6, 0], np.float32) * rng.uniform(0.3, 1.2)
    lean /= np.linalg.norm(lean, axis=1, keepdims=True)
    reach = np.clip(mask[base] * 1.6, 0, 1)[:, None]
    shells = [face[base] + lean * reach * (length * (k + 1) / layers) for k in range(layers)]
    vertices = np.concatenate(shells).astype(np.float32)
    triangles = np.concatenate([local + k * len(base) for k in range(layers)]).astype(np.int32)
    repeats = 4.0
    # Each shell has its own strip of the picture.
    uv = np.concatenate(
        [np.stack([model.uv[corner, 0] * repeats, (model.uv[corner, 1] * repeats) % 0.98 / layers + k / layers], 1)
         for k in range(layers)]
    )  # fmt: skip
    side = 512
    picture = np.zeros((side, side, 2), np.float32)
    strands = rng.random((side // layers, side))
    shade = np.exp(0.35 * rng.normal(0, 1, (side // layers, side)))
    for k in range(layers):
        rows = slice(side - (k + 1) * (side // layers), side - k * (side // layers))
        there = strands < density * (1 - 0.75 * k / layers)
        picture[rows, :, 0] = shade * (0.5 + 0.5 * (k + 1) / layers)
        picture[rows, :, 1] = 0.85 * there
    opacity = np.tile(np.clip(mask[base] * 1.3, 0, 1), layers).astype(np.float32)
    return Prop(vertices, triangles, uv.astype(np.float32), picture, colour, 0.2, True, opacity)


def _clear(model: HeadModel, face: Float32, points: Float64, margin: float) -> float:
    """How far forward some points' z = 0 must be moved to lie ``margin`` mm in front of the skin."""
    scene = Scene(face, model.triangles)
    origins = np.stack([points[:, 0], points[:, 1], np.full(len(points), 400.0)], 1)
    hit = scene.cast(origins, np.broadcast_to([0.0, 0.0, -1.0], origins.shape))
    surface = 400 - hit.distance.astype(np.float64)
    return float((surface - points[:, 2])[hit.covered].max(initial=0.0) + margin)


def _tube(path: Float64, radius: float) -> tuple[Float64, Int32]:
    """A tube along a path."""
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    helper = np.where(np.abs(along[:, 2:]) < 0.8, [[0.0, 0, 1]], [[0.0, 1, 0]])
    a = np.cross(along, helper)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b = np.cross(along, a)
    turn = np.linspace(0, 2 * np.pi, _ROUND, endpoint=False)
    ring = radius * (np.cos(turn)[None, :, None] * a[:, None] + np.sin(turn)[None, :, None] * b[:, None])
    vertices = (path[:, None] + ring).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(len(path) - 1), np.arange(_ROUND), indexing="ij")
    k = (j + 1) % _ROUND
    p, q, r, s = (i * _ROUND + j, i * _ROUND + k, (i + 1) * _ROUND + j, (i + 1) * _ROUND + k)
    quads = np.stack([np.stack([p, r, q], -1), np.stack([q, r, s], -1)]).reshape(-1, 3)
    return vertices, quads.astype(np.int32)


def _fan(rim: Float64) -> tuple[Float64, Int32]:
    """A lens that fills a rim: rings on a sphere, so that it mirrors a lamp in one spot."""
    middle = rim.mean(0)
    shares = np.linspace(1, 0, _RINGS + 1)[:-1]
    rings = [middle + share * (rim - middle) for share in shares]
    reach = np.linalg.norm((rim - middle)[:, :2], axis=1).max()
    depth = (reach**2 - (np.linalg.norm((np.concatenate(rings) - middle)[:, :2], axis=1)) ** 2) / (2 * _LENS_RADIUS)
    points = np.concatenate([*rings, middle[None]])
    points[:-1, 2] += depth
    points[-1, 2] += reach**2 / (2 * _LENS_RADIUS)
    n = len(rim)
    i = np.arange(n)
    j = (i + 1) % n
    facets = [
        np.concatenate([np.stack([i, j, i + n], 1), np.stack([j, j + n, i + n], 1)]) + k * n for k in range(_RINGS - 1)
    ]
    last = np.stack([i, j, np.full(n, n)], 1) + (_RINGS - 1) * n
    return points, np.concatenate([*facets, last]).astype(np.int32)


def _joined(meshes: list[tuple[Float64, Int32]]) -> tuple[Float32, Int32]:
    starts = np.cumsum([0] + [len(v) for v, _ in meshes])
    triangles = [t + s for (_, t), s in zip(meshes, starts, strict=False)]
    return np.concatenate([v for v, _ in meshes]).astype(np.float32), np.concatenate(triangles).astype(np.int32)


def _plain(opacity: float) -> Float32:
    return np.tile(np.array([1.0, opacity], np.float32), (2, 2, 1))
