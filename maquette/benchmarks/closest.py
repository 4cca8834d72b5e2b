"""Exact closest points on a triangle mesh."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from maquette.geometry.surface import unit
from maquette.types import Float64


class Surface:
    """A triangle mesh that answers which of its points is nearest.

    Triangles that are large for the mesh are cut into smaller pieces of the same plane, so that a search by the pieces'
    centres needs few candidates. A search is over when no piece farther away than those looked at can hold a nearer
    point: the answers are exact.
    """

    def __init__(self, vertices: NDArray[np.floating], triangles: NDArray[np.integer]) -> None:
        """Build the search structure.

        Args:
            vertices: (V, 3), any unit.
            triangles: (F, 3) vertex indices.
        """
        corners = np.asarray(vertices, np.float64)[triangles]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        self._normals = unit(normals)
        self._pieces, self._owner = _cut(corners)
        centres = self._pieces.mean(1)
        self._radius = np.linalg.norm(self._pieces - centres[:, None], axis=2).max(1)
        self._reach = float(self._radius.max())
        self._tree = cKDTree(centres)

    def closest(self, points: Float64) -> tuple[Float64, Float64]:
        """Nearest surface points of (N, 3) points.

        Returns:
            (N, 3) points on the surface and the (N, 3) unit normals of their triangles.
        """
        at, piece = np.empty_like(points), np.zeros(len(points), np.intp)
        best = np.full(len(points), np.inf)
        left, k, done = np.arange(len(points)), min(8, len(self._pieces)), 0
        while len(left):
            far, pieces = self._tree.query(points[left], k=k)
            far, pieces = far.reshape(len(left), k), pieces.reshape(len(left), k)
            for column in range(done, k):
                # One candidate at a time: each nearer one found rules out more of those after it.
                row = np.flatnonzero(far[:, column] - self._radius[pieces[:, column]] < best[left])
                which, candidate = left[row], pieces[row, column]
                foot = closest_on_triangles(points[which], self._pieces[candidate])
                distance = np.linalg.norm(foot - points[which], axis=1)
                nearer = distance < best[which]
                which = which[nearer]
                at[which], piece[which], best[which] = foot[nearer], candidate[nearer], distance[nearer]
            open_ = (best[left] > far[:, -1] - self._reach) & (k < len(self._pieces))
            left, k, done = left[open_], min(2 * k, len(self._pieces)), k
        return at, self._normals[self._owner[piece]]


def closest_on_triangles(points: Float64, triangles: Float64) -> Float64:
    """(N, 3) nearest point of each of (N, 3, 3) triangles to each of (N, 3) points.

    The foot of the perpendicular where it lies in the triangle, the nearest point of an edge elsewhere.
    """
    a = triangles[:, 0]
    ab, ac, ap = triangles[:, 1] - a, triangles[:, 2] - a, points - a
    bb, bc, cc = (ab * ab).sum(1), (ab * ac).sum(1), (ac * ac).sum(1)
    pb, pc = (ap * ab).sum(1), (ap * ac).sum(1)
    area = bb * cc - bc * bc
    area = np.where(area < 1e-18, 1e-18, area)
    v, w = (cc * pb - bc * pc) / area, (bb * pc - bc * pb) / area
    out = a + v[:, None] * ab + w[:, None] * ac
    outside = np.flatnonzero((v < 0) | (w < 0) | (v + w > 1))
    best = np.full(len(outside), np.inf)
    here = points[outside]
    for k in range(3):
        start = triangles[outside, k]
        edge = triangles[outside, (k + 1) % 3] - start
        t = ((here - start) * edge).sum(1) / np.maximum((edge * edge).sum(1), 1e-18)
        foot = start + np.clip(t, 0, 1)[:, None] * edge
        distance = ((here - foot) ** 2).sum(1)
        nearer = distance < best
        best[nearer] = distance[nearer]
        out[outside[nearer]] = foot[nearer]
    return np.asarray(out, np.float64)


def _cut(corners: Float64) -> tuple[Float64, NDArray[np.intp]]:
    """Halve triangles at their longest edge until none is longer than half of them are.

    Returns:
        (P, 3, 3) pieces and the (P,) triangles they are of.
    """
    owner = np.arange(len(corners))
    lengths = np.linalg.norm(corners - np.roll(corners, -1, 1), axis=2)
    limit = float(np.median(lengths.max(1)))
    done: list[tuple[Float64, NDArray[np.intp]]] = []
    while len(corners):
        longest = lengths.argmax(1)
        large = lengths.max(1) > limit
        done.append((corners[~large], owner[~large]))
        t, owner, longest = corners[large], owner[large], longest[large]
        row = np.arange(len(t))
        a, b, c = (t[row, (longest + k) % 3] for k in range(3))
        middle = (a + b) / 2
        corners = np.concatenate([np.stack([a, middle, c], 1), np.stack([middle, b, c], 1)])
        owner = np.concatenate([owner, owner])
        lengths = np.linalg.norm(corners - np.roll(corners, -1, 1), axis=2)
    return np.concatenate([d[0] for d in done]), np.concatenate([d[1] for d in done])
