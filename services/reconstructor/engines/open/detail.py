"""Wrinkles, lids and folds: relief from shading, in the UV atlas."""

from dataclasses import dataclass

import numpy as np

from maquette.geometry.surface import unit
from maquette.headmodel import HeadModel
from maquette.types import Float32, UInt8
from services.reconstructor.engines.open.atlas import Atlas, blur, resized, smoothstep, weighted_blur
from services.reconstructor.engines.open.lighting import harmonics, harmonics_gradient
from services.reconstructor.engines.open.linear import log, luminance
from services.reconstructor.engines.open.sampling import Sample
from services.reconstructor.engines.open.tissue import BROWS, LIDS, LIPS, Tissue

GRID = 1024
"""Side of the relief in texels at most: about half a millimetre each on the face."""

LIMIT_MM = 1.0
_GAIN = 0.85
_SMOOTHNESS = 0.05
_SIZE = 0.002
_ITERATIONS = 60
_ALBEDO_MM = 5.0
_BROADEST_MM = 8.0
_CLIP = 0.5
_DARK_IS_DEEP = 0.25


@dataclass(frozen=True, eq=False)
class _Metric:
    """How a texel step moves on the surface.

    Attributes:
        u: (h, w, 3) float32 mm per texel to the right.
        v: (h, w, 3) float32 mm per texel down.
        uu: (h, w) float32, u·u.
        uv: (h, w) float32, u·v.
        vv: (h, w) float32, v·v.
        det: (h, w) float32, uu·vv − uv².
    """

    u: Float32
    v: Float32
    uu: Float32
    uv: Float32
    vv: Float32
    det: Float32

    @classmethod
    def of(cls, atlas: Atlas, posed: Float32, box: tuple[slice, slice]) -> "_Metric":
        shape, side = _grid(atlas)
        u, v = vertex_tangents(atlas.model, posed)
        both = resized(atlas.image(np.concatenate([u, -v], 1)), shape)[box] / np.float32(side)
        u, v = both[..., :3], both[..., 3:]
        uu, uv, vv = (np.einsum("hwc,hwc->hw", a, b) for a, b in ((u, u), (u, v), (v, v)))
        uu, vv = uu + np.float32(1e-6), vv + np.float32(1e-6)
        return cls(u, v, uu, uv, vv, np.maximum(uu * vv - uv * uv, np.float32(1e-3) * uu * vv))


def relief(atlas: Atlas, sample: Sample, tissue: Tissue, posed: Float32) -> tuple[Float32, Float32]:
    """Displacement of the skin along its normal that explains a photo's fine shading.

    Linear shape from shading: what is left of the log luminance after the light and after a low pass of
    ``_ALBEDO_MM`` (taken for albedo) is explained by tilting the normals, ``n − ∇d``; least squares with a penalty on
    the slope and on the size, by conjugate gradients.

    Args:
        atlas: Of the head model.
        sample: The photo from the texels.
        tissue: Its light and its skin; brows, lashes, eyes, hair, beards and glasses get no relief.
        posed: (V, 3) float32 mm, head frame.

    Returns:
        (M, M) float32 mm, at most ``LIMIT_MM`` up or down, and (M, M) float32, 0 to 1, how much it can be trusted.
    """
    shape, side = _grid(atlas)
    weight = resized(_trusted(atlas, sample, tissue), shape)
    out, sure = np.zeros((side, side), np.float32), np.zeros((side, side), np.float32)
    rows, columns = np.flatnonzero(weight.max(1) > 0.02), np.flatnonzero(weight.max(0) > 0.02)
    if not len(rows):
        return out, sure
    box = np.s_[max(rows[0] - 8, 0) : rows[-1] + 9, max(columns[0] - 8, 0) : columns[-1] + 9]
    w = weight[box]
    metric = _Metric.of(atlas, posed, box)
    normals = resized(atlas.image(sample.normals), shape)[box]
    normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
    texel = atlas.texel_mm * atlas.size / side
    light = tissue.light.mean(1)
    shade = np.maximum((harmonics(normals) @ light).astype(np.float32), np.float32(0.15))
    residual, w = _residual(resized(sample.linear, shape)[box], shade, w, texel)
    tilt = harmonics_gradient(normals, light).astype(np.float32) / shade[..., None]
    # Only the part in the tangent plane tilts; the rest would change the normal's length.
    tilt = tilt - normals * np.einsum("hwc,hwc->hw", tilt, normals)[..., None]
    found = _solve(residual, w, tilt, metric, texel)
    found -= weighted_blur(found, w + np.float32(1e-3), _BROADEST_MM / texel)
    found *= _GAIN * np.clip(np.float32(1.5) * w, 0, 1)
    out[: shape[0]][box] = LIMIT_MM * np.tanh(found / LIMIT_MM)
    sure[: shape[0]][box] = w
    return out, sure


def _grid(atlas: Atlas) -> tuple[tuple[int, int], int]:
    """Shape of the skin's rows in the relief's grid, and the side of all of it."""
    side = min(GRID, atlas.size)
    return (round(atlas.skin.shape[0] * side / atlas.size), side), side


def _trusted(atlas: Atlas, sample: Sample, tissue: Tissue) -> Float32:
    """(N, N) float32, 1 on well-seen bare skin."""
    mm = 1 / atlas.texel_mm
    around = weighted_blur(tissue.skin, sample.weight + np.float32(1e-3), 2 * mm)
    bare = tissue.skin * smoothstep((around - np.float32(0.45)) / np.float32(0.4))
    hairy = np.clip(2.2 * atlas.region(*BROWS, soften=4), 0, 1)
    # Lashes and the openings' edges; the lids' creases further out stay.
    edges = np.clip(2.0 * atlas.region(*LIDS, soften=1) - 0.6, 0, 1)
    lips = atlas.region(*LIPS, soften=2)
    weight = sample.weight * bare * (1 - hairy) * (1 - edges) * (1 - 0.6 * lips)
    return np.asarray(np.minimum(weight, blur(weight, mm) * 1.15), np.float32)


def _residual(linear: Float32, shade: Float32, weight: Float32, texel: float) -> tuple[Float32, Float32]:
    """What shading must explain, (h, w), and the weights, lowered where a change of colour betrays one of albedo."""
    left = log(luminance(linear), 3e-3) - log(shade)
    floor = weight + np.float32(1e-4)
    left = left - weighted_blur(left, floor, _ALBEDO_MM / texel)
    log_c = log(linear, 3e-3)
    tints = np.stack([log_c[..., 0] - log_c[..., 1], log_c[..., 2] - log_c[..., 1]], -1)
    tints -= weighted_blur(tints, floor, _ALBEDO_MM / texel)
    # Skin in shadow is a little redder; more than this is a freckle, a mole or make-up.
    odd = np.square(tints / np.array([0.10, 0.16], np.float32)).sum(-1)
    weight = weight / (1 + 0.5 * odd)
    left = weighted_blur(np.clip(left, -_CLIP, _CLIP), weight + np.float32(1e-4), 0.8)
    return left * np.clip(1.2 * weight, 0, 1), weight


def _solve(residual: Float32, weight: Float32, tilt: Float32, metric: _Metric, texel: float) -> Float32:
    """(h, w) displacement in mm: Jacobi-preconditioned conjugate gradients on the normal equations."""
    gu, gv = np.einsum("hwc,hwc->hw", tilt, metric.u), np.einsum("hwc,hwc->hw", tilt, metric.v)
    limit = 3 / texel
    au = np.clip(-(metric.vv * gu - metric.uv * gv) / metric.det, -limit, limit)
    av = np.clip(-(metric.uu * gv - metric.uv * gu) / metric.det, -limit, limit)
    ww = weight * weight
    cu, cv = _SMOOTHNESS / metric.uu, _SMOOTHNESS / metric.vv
    size = _SIZE + 0.5 * (1 - weight)
    band = _DARK_IS_DEEP * 3 * (blur(residual, 1.0) - blur(residual, 3 / texel))
    across, mixed, down = ww * au * au + cu, ww * au * av, ww * av * av + cv

    def apply(x: Float32) -> Float32:
        xu, xv = _forward(x, 1), _forward(x, 0)
        return _backward(across * xu + mixed * xv, 1) + _backward(mixed * xu + down * xv, 0) + size * x

    right = _backward(au * ww * residual, 1) + _backward(av * ww * residual, 0) + _SIZE * 6 * weight * band
    scale = 1 / (2 * across + 2 * down + size)
    x = np.asarray(band * weight, np.float32)
    left = right - apply(x)
    z = scale * left
    p = z
    power = float(np.vdot(left, z))
    for _ in range(_ITERATIONS):
        ap = apply(p)
        step = np.float32(power / (float(np.vdot(p, ap)) + 1e-20))
        x = x + step * p
        left = left - step * ap
        z = scale * left
        before, power = power, float(np.vdot(left, z))
        p = z + np.float32(power / (before + 1e-20)) * p
    return x


def _forward(x: Float32, axis: int) -> Float32:
    """Forward differences, 0 at the last row or column."""
    out = np.zeros_like(x)
    if axis:
        np.subtract(x[:, 1:], x[:, :-1], out=out[:, :-1])
    else:
        np.subtract(x[1:], x[:-1], out=out[:-1])
    return out


def _backward(x: Float32, axis: int) -> Float32:
    """The transpose of ``_forward``."""
    out = np.empty_like(x)
    if axis:
        out[:, 0] = -x[:, 0]
        np.subtract(x[:, :-2], x[:, 1:-1], out=out[:, 1:-1])
        out[:, -1] = x[:, -2]
    else:
        out[0] = -x[0]
        np.subtract(x[:-2], x[1:-1], out=out[1:-1])
        out[-1] = x[-2]
    return out


def vertex_tangents(model: HeadModel, vertices: Float32) -> tuple[Float32, Float32]:
    """(V, 3) each: mm per unit of u and of v at the skin's vertices, the mean of the triangles around by their area."""
    skin = model.part_triangles("skin")
    corners, uv = model.triangles[skin], model.uv[model.uv_triangles[skin]]
    points = vertices[corners]
    e1, e2 = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    d1, d2 = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    det = d1[:, 0] * d2[:, 1] - d2[:, 0] * d1[:, 1]
    area = np.linalg.norm(np.cross(e1, e2), axis=1)
    safe = np.where(np.abs(det) < 1e-12, 1, det)[:, None]
    weight = np.where(np.abs(det) < 1e-12, 0, area)
    u = (e1 * d2[:, 1:] - e2 * d1[:, 1:]) / safe * weight[:, None]
    v = (e2 * d1[:, :1] - e1 * d2[:, :1]) / safe * weight[:, None]
    n = len(vertices)
    flat = corners.ravel()
    total = np.maximum(np.bincount(flat, np.repeat(weight, 3), n), 1e-12)[:, None]
    return tuple(  # type: ignore[return-value]
        (np.stack([np.bincount(flat, np.repeat(f[:, k], 3), n) for k in range(3)], 1) / total).astype(np.float32)
        for f in (u, v)
    )


def normal_map(atlas: Atlas, posed: Float32, displacement: Float32) -> UInt8:
    """Tangent-space normal map of a displacement (OpenGL convention: green is up), flat off the skin.

    The tangent is the direction of u made orthogonal to the smooth normal, the bitangent their cross product, as in
    glTF 2.0.

    Args:
        atlas: Of the head model.
        posed: (V, 3) float32 mm.
        displacement: (M, M) float32 mm along the normal, as ``relief`` makes it.

    Returns:
        (M, M, 3) uint8.
    """
    shape, side = _grid(atlas)
    out = np.full((side, side, 3), (128, 128, 255), np.uint8)
    rows, columns = np.flatnonzero(displacement.any(1)), np.flatnonzero(displacement.any(0))
    if not len(rows):
        return out
    box = np.s_[max(rows[0] - 2, 0) : rows[-1] + 3, max(columns[0] - 2, 0) : columns[-1] + 3]
    metric = _Metric.of(atlas, posed, box)
    u, v = metric.u, metric.v
    on_skin = resized(atlas.skin.astype(np.float32), shape)[box] > 0.999
    d = displacement[: shape[0]][box]
    normal, tangent = unit(np.cross(u, -v)), unit(u)
    bitangent = np.cross(normal, tangent)
    du, dv = _central(d, 1), _central(d, 0)
    # The slope (p, q) along tangent and bitangent has du = p u·t + q u·b and dv = p v·t + q v·b; u·b is 0.
    ut = np.maximum(np.einsum("hwc,hwc->hw", u, tangent), 1e-6)
    vt, vb = np.einsum("hwc,hwc->hw", v, tangent), np.einsum("hwc,hwc->hw", v, bitangent)
    p = du / ut
    q = (dv - p * vt) / np.where(np.abs(vb) < 1e-6, -1e-6, vb)
    n = np.stack([np.where(on_skin, -p, 0), np.where(on_skin, -q, 0), np.ones_like(p)], -1)
    n /= np.linalg.norm(n, axis=-1, keepdims=True)
    # 128 is exactly flat, as most readers take it.
    out[: shape[0]][box] = np.clip(np.rint(n * 127 + 128), 0, 255).astype(np.uint8)
    return out


def _central(x: Float32, axis: int) -> Float32:
    return np.asarray(np.gradient(x, axis=axis), np.float32)
