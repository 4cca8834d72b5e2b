"""A bijective, mirror-symmetric map of the skin to the plane, cut along the back of the head.

It serves twice: the mesh is laid out in it, and the texture atlas is made of it.
"""

from dataclasses import dataclass

import igl
import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from numpy.typing import NDArray

from maquette.geometry.surface import boundary_edges, edges

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Flattening:
    """The skin in the plane.

    Attributes:
        source: (N,) vertex of the shape library that each vertex here is; seam vertices come twice.
        points: (N, 3) mm.
        triangles: (F, 3) of the skin, cut along the seam, with holes at the eyes and the mouth.
        plane: (N, 2): x > 0 on the subject's left, y up, front midline at x = 0, free of overlaps.
    """

    source: Index
    points: Array
    triangles: Index
    plane: Array


def flatten_skin(vertices: Array, triangles: Index, *, iterations: int = 120) -> Flattening:
    """Map a symmetric skin with a rim, a mouth hole and two eye holes to the plane.

    Tutte's embedding of a disk (holes filled by fans) gives a start without overlaps; scalable locally injective
    mappings (Rabinovich et al. 2017) lower its symmetric Dirichlet energy without ever making one. Lengths are scaled
    by ``density`` first, so that eyes, lips, nose and ears get more of the plane.

    Args:
        vertices: (V, 3) mm, symmetric to rounding.
        triangles: (F, 3) of the skin.
        iterations: Rounds of minimisation.
    """
    source, local = np.unique(triangles, return_inverse=True)
    tri = local.reshape(-1, 3)
    x = vertices[source].copy()
    mirror = _mirror(x)
    middle = np.flatnonzero(mirror == np.arange(len(x)))
    crown = int(middle[np.argmax(x[middle, 1])])
    seam = middle[x[middle, 2] < x[crown, 2] - 1e-6]
    n = len(x)
    copy = np.full(n, -1)
    copy[seam] = n + np.arange(len(seam))
    right = (x[tri][:, :, 0].mean(1) < 0)[:, None] & (copy[tri] >= 0)
    tri = np.where(right, copy[tri], tri)
    x = np.concatenate([x, x[seam]])
    source = np.concatenate([source, source[seam]])
    mirror = np.concatenate([mirror, seam])
    mirror[seam] = copy[seam]
    loops = sorted(boundary_loops(tri), key=len)
    filled, all_tri = x, [tri]
    centres = []
    for loop in loops[:-1]:
        centres.append(x[loop].mean(0))
        all_tri.append(np.stack([np.roll(loop, -1), loop, np.full(len(loop), len(filled))], 1))
        filled = np.concatenate([filled, centres[-1][None]])
    c = np.array(centres)
    partner = np.linalg.norm(c[:, None] * [-1, 1, 1] - c[None], axis=2).argmin(1)
    mirror = np.concatenate([mirror, len(x) + partner])
    closed = np.concatenate(all_tri)
    rest = _scaled(filled, closed, density(filled))
    plane = _tutte(rest, closed, loops[-1], crown)
    data = igl.slim_precompute(
        np.asfortranarray(rest),
        np.asfortranarray(closed.astype(np.int32)),
        np.asfortranarray(plane),
        igl.MappingEnergyType.SYMMETRIC_DIRICHLET,
        np.zeros(0, np.int32),
        np.asfortranarray(np.zeros((0, 2))),
        0.0,
    )
    plane = np.asarray(igl.slim_solve(data, iterations), np.float64)[:, :2]
    front = np.setdiff1d(middle, seam)
    centre = plane[front].mean(0)
    axis = np.linalg.svd(plane[front] - centre)[2][0]
    axis = axis * np.sign(axis @ (plane[crown] - centre))
    plane = (plane - centre) @ np.array([[axis[1], axis[0]], [-axis[0], axis[1]]])
    plane = (plane + plane[mirror] * [-1, 1]) / 2
    plane = plane[: len(x)]
    area = _signed_areas(plane, tri)
    if (area <= 0).any():
        raise ValueError(f"{(area <= 0).sum()} triangles of the flattening are turned over")
    return Flattening(source, x, tri, plane)


def density(points: Array) -> Array:
    """(N,) how much each neighbourhood is enlarged, by where it lies on the ICT mean head (mm)."""
    ax, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    p = np.stack([ax, y, z], 1)

    def bump(centre: tuple[float, float, float], radius: tuple[float, float, float], height: float) -> Array:
        return np.asarray(height * np.exp(-0.5 * (((p - centre) / radius) ** 2).sum(1)), np.float64)

    front = np.clip((z - 25) / 45, 0, 1) * np.clip((y + 105) / 40, 0, 1)
    rho = 0.62 + 0.75 * front * front * (3 - 2 * front)
    rho += bump((32.5, 35, 88), (15, 9, 25), 3.6)  # eyes
    rho += bump((11, -11, 103), (8, 6, 12), 1.6)  # nostrils
    rho += bump((8, -34, 98), (22, 11, 30), 1.6)  # mouth
    rho += bump((7, -3, 108), (13, 13, 25), 0.9)  # nose
    rho += bump((84, 22, -2), (13, 34, 22), 1.8)  # ears
    return np.asarray(rho * np.where(y < -95, np.clip(1 + (y + 95) / 60, 0.6, 1), 1), np.float64)


def boundary_loops(triangles: Index) -> list[Index]:
    """Closed boundary loops, each in the direction of its triangles."""
    following = {int(a): int(b) for a, b in boundary_edges(triangles)}
    loops = []
    while following:
        start, loop = next(iter(following)), []
        at = start
        while True:
            loop.append(at)
            at = following.pop(at)
            if at == start:
                break
        loops.append(np.array(loop))
    return loops


def _mirror(x: Array) -> Index:
    key = {tuple(k): i for i, k in enumerate(np.round(x * 1e3).astype(np.int64).tolist())}
    other = np.round(x * [-1, 1, 1] * 1e3).astype(np.int64).tolist()
    try:
        return np.array([key[tuple(k)] for k in other])
    except KeyError as e:
        raise ValueError(f"the skin is not symmetric at {e} µm") from e


def _scaled(x: Array, tri: Index, rho: Array) -> Array:
    """Enlarge by ``rho`` in the gradient domain: the Poisson solve nearest to gradients scaled triangle by triangle."""
    g = igl.grad(x, tri)
    mass = sp.diags(np.tile(igl.doublearea(x, tri) / 2, 3))
    wanted = (g @ x) * np.tile(rho[tri].mean(1), 3)[:, None]
    system = (g.T @ mass @ g + 1e-9 * sp.eye(len(x))).tocsc()
    return np.asarray(spl.splu(system).solve(g.T @ mass @ wanted), np.float64)


def _tutte(rest: Array, tri: Index, outer: Index, top: int) -> Array:
    """Embed a disk with its boundary on a circle, by arc length, ``top`` uppermost."""
    step = np.linalg.norm(rest[outer] - rest[np.roll(outer, 1)], axis=1)
    s = np.cumsum(step) / step.sum()
    angle = 2 * np.pi * (s - s[np.flatnonzero(outer == top)[0]]) + np.pi / 2
    radius = np.sqrt(igl.doublearea(rest, tri).sum() / 2 / np.pi)
    plane = np.zeros((len(rest), 2))
    plane[outer] = radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    e = edges(tri)
    n = len(rest)
    a = sp.coo_matrix((np.ones(2 * len(e)), (np.r_[e[:, 0], e[:, 1]], np.r_[e[:, 1], e[:, 0]])), shape=(n, n)).tocsr()
    laplacian = (sp.diags(np.asarray(a.sum(1)).ravel()) - a).tocsr()
    inner = np.setdiff1d(np.arange(n), outer)
    plane[inner] = spl.splu(laplacian[inner][:, inner].tocsc()).solve(-laplacian[inner][:, outer] @ plane[outer])
    return plane


def _signed_areas(plane: Array, tri: Index) -> Array:
    a, b, c = plane[tri[:, 0]], plane[tri[:, 1]], plane[tri[:, 2]]
    return np.asarray((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0], np.float64)
