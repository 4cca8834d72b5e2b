"""Nearest places on a surface that face the same way, and how much of the sky a surface sees."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from maquette.geometry.raster import Scene
from maquette.geometry.surface import unit, vertex_normals

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_NORMAL_LENGTH = 12.0
"""mm that a normal turned by one radian counts for when the closest point is looked for."""

_SAMPLE_STEP = 1.6
"""mm between the points that stand for a surface in the search."""


class ClosestPoints:
    """Finds, for points with normals, the nearest place of a surface that faces the same way.

    Thin parts such as ears and lips have two sides within a millimetre; position alone would take either.
    """

    def __init__(self, points: Array, triangles: Index) -> None:
        self._points, self._triangles = points, triangles
        normals = vertex_normals(points, triangles)
        parents, weights = _lattice(points, triangles, _SAMPLE_STEP)
        corners = triangles[parents]
        at = np.einsum("nkc,nk->nc", points[corners], weights)
        facing = unit(np.einsum("nkc,nk->nc", normals[corners], weights))
        self._parents, self._normals = parents, normals
        self._tree = cKDTree(np.c_[at, facing * _NORMAL_LENGTH])

    def __call__(self, points: Array, normals: NDArray[np.floating]) -> tuple[Index, Array, Array, Array]:
        """Look up (N, 3) points with unit normals.

        Returns:
            Triangle (N,), barycentric weights (N, 3), position (N, 3) and cosine between the normals (N,).
        """
        _, near = self._tree.query(np.c_[points, normals * _NORMAL_LENGTH], k=6)
        parents = self._parents[near]
        corners = self._points[self._triangles[parents]]
        weights = closest_on_triangles(points[:, None], corners)
        position = np.einsum("nmkc,nmk->nmc", corners, weights)
        facing = unit(np.einsum("nmkc,nmk->nmc", self._normals[self._triangles[parents]], weights))
        cosine = (facing * normals[:, None]).sum(2)
        cost = np.linalg.norm(position - points[:, None], axis=2) + _NORMAL_LENGTH * (1 - cosine)
        rows, best = np.arange(len(points)), cost.argmin(1)
        return parents[rows, best], weights[rows, best], position[rows, best], cosine[rows, best]


def sky_seen(points: Array, triangles: Index, vertices: Index) -> Array:
    """(N,) share of the sky that some vertices of a mesh see, weighted by the cosine (ambient occlusion)."""
    normals = vertex_normals(points, triangles)[vertices]
    # A Fibonacci sphere about the tip of each normal is a cosine-weighted hemisphere.
    n = 96
    k = np.arange(n) + 0.5
    polar, around = np.arccos(1 - 2 * k / n), np.pi * (1 + 5**0.5) * k
    ball = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], 1)
    rays = unit(normals[:, None] + 0.999 * ball)
    origins = points[vertices][:, None] + 0.05 * normals[:, None]
    return np.asarray(1 - Scene(points, triangles).cast(origins, rays).covered.mean(1), np.float64)


def closest_on_triangles(points: Array, corners: Array) -> Array:
    """Barycentric weights (..., 3) of the nearest point of each triangle.

    Inside by projection, otherwise on the nearest edge (Ericson 2005, Real-Time Collision Detection, 5.1.5).

    Args:
        points: (..., 3), broadcast against the triangles.
        corners: (..., 3, 3).
    """
    a, b, c = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
    p = np.broadcast_to(points, a.shape)
    ab, ac, ap = b - a, c - a, p - a
    d00, d01, d11 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    area = np.maximum(d00 * d11 - d01 * d01, 1e-18)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    inside = np.stack([1 - v - w, v, w], -1)
    candidates, gaps = [], []
    for i, j in ((0, 1), (1, 2), (2, 0)):
        start, way = corners[..., i, :], corners[..., j, :] - corners[..., i, :]
        t = np.clip(((p - start) * way).sum(-1) / np.maximum((way * way).sum(-1), 1e-18), 0, 1)
        weights = np.zeros_like(inside)
        weights[..., i], weights[..., j] = 1 - t, t
        candidates.append(weights)
        gaps.append(((start + t[..., None] * way - p) ** 2).sum(-1))
    nearest = np.stack(gaps).argmin(0)
    on_edge = np.take_along_axis(np.stack(candidates), nearest[None, ..., None], 0)[0]
    return np.where((inside >= 0).all(-1, keepdims=True), inside, on_edge)


def _lattice(points: Array, triangles: Index, step: float) -> tuple[Index, Array]:
    """Points spread over triangles: parent (S,) and barycentric weights (S, 3)."""
    corner = points[triangles]
    longest = np.linalg.norm(corner - np.roll(corner, 1, 1), axis=2).max(1)
    parts = np.clip(np.ceil(longest / step), 1, 12).astype(int)
    parents, weights = [], []
    for n in np.unique(parts):
        i, j = np.meshgrid(np.arange(n + 1), np.arange(n + 1))
        inside = i + j <= n
        grid = np.stack([i[inside], j[inside], n - (i + j)[inside]], 1) / n
        # Shrunk a little, so that neighbours do not repeat the points of a common edge.
        grid = grid * (1 - 0.3 / n) + 0.1 / n
        members = np.flatnonzero(parts == n)
        parents.append(np.repeat(members, len(grid)))
        weights.append(np.tile(grid, (len(members), 1)))
    return np.concatenate(parents), np.concatenate(weights)
