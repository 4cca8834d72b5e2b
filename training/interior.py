"""Modes of what lies inside: eyeballs, teeth, gums, tongue and the linings of mouth and sockets.

The shape libraries move these parts carelessly (nobody sees them), which turns triangles over at a few standard
deviations. Here each moves by the smoothest map that follows the library.
"""

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from numpy.typing import NDArray

Array = NDArray[np.float64]
Bool = NDArray[np.bool_]
Index = NDArray[np.int64]


def affine(mean: Array, displacement: Array) -> Array:
    """Least-squares affine map of a displacement field; both (N, 3)."""
    basis = np.c_[mean, np.ones(len(mean))]
    return np.asarray(basis @ np.linalg.lstsq(basis, displacement, rcond=None)[0], np.float64)


def scaling(mean: Array, displacement: Array) -> Array:
    """Least-squares translation and uniform scaling; both (N, 3)."""
    arm = mean - mean.mean(0)
    shift = displacement.mean(0)
    return np.asarray(shift + arm * ((displacement - shift) * arm).sum() / (arm**2).sum(), np.float64)


def rotation(mean: Array, displacement: Array, centre: Array) -> Array:
    """Least-squares linearised rotation about a centre, plus translation; (N, 3)."""
    x, y, z = (mean - centre).T
    o, one = np.zeros_like(x), np.ones_like(x)
    rows = np.stack(
        [
            np.stack([o, z, -y, one, o, o], 1),
            np.stack([-z, o, x, o, one, o], 1),
            np.stack([y, -x, o, o, o, one], 1),
        ],
        1,
    ).reshape(-1, 6)
    return np.asarray((rows @ np.linalg.lstsq(rows, displacement.ravel(), rcond=None)[0]).reshape(-1, 3), np.float64)


class Lining:
    """Harmonic extension of a field from the rest of the mesh into some vertices."""

    def __init__(self, edges: Index, inside: Bool) -> None:
        """Factor the graph Laplacian.

        Args:
            edges: (E, 2) of the mesh.
            inside: (V,) the vertices to fill.
        """
        n = len(inside)
        a, b = edges.T
        adjacency = sp.coo_matrix((np.ones(2 * len(edges)), (np.r_[a, b], np.r_[b, a])), shape=(n, n)).tocsr()
        laplacian = (sp.diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency).tocsr()
        self._inside = np.flatnonzero(inside)
        self._outside = np.flatnonzero(~inside)
        rows = laplacian[self._inside]
        self._coupling = rows[:, self._outside]
        self._solve = spl.splu(rows[:, self._inside].tocsc()).solve

    def fill(self, field: Array) -> Array:
        """(V, 3) the field with the inside replaced."""
        out = field.copy()
        out[self._inside] = self._solve(-self._coupling @ field[self._outside])
        return out


def relax(points: Array, edges: Index, inside: Bool, rounds: int) -> Array:
    """Even out some vertices by moving each towards the mean of its neighbours; (V, 3)."""
    n = len(points)
    a, b = edges.T
    adjacency = sp.coo_matrix((np.ones(2 * len(edges)), (np.r_[a, b], np.r_[b, a])), shape=(n, n)).tocsr()
    average = sp.diags(1 / np.asarray(adjacency.sum(1)).ravel()) @ adjacency
    out = points.copy()
    for _ in range(rounds):
        out[inside] = 0.5 * out[inside] + 0.5 * (average @ out)[inside]
    return out


def grow(mask: Bool, edges: Index, rings: int) -> Bool:
    """(V,) the mask and everything within so many edges of it."""
    out = mask.copy()
    for _ in range(rings):
        touched = edges[out[edges].any(1)]
        out[touched.ravel()] = True
    return out
