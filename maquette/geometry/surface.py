"""Quantities on triangle meshes."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_F = TypeVar("_F", bound=np.floating)


def triangle_normals(vertices: NDArray[np.floating], triangles: NDArray[np.integer]) -> NDArray[np.floating]:
    """(F, 3) cross products, twice the triangles' areas long."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def vertex_normals(vertices: NDArray[np.floating], triangles: NDArray[np.integer]) -> NDArray[np.floating]:
    """(V, 3) unit normals, the area-weighted mean of the triangles around each vertex."""
    n = triangle_normals(vertices, triangles)
    sums = [np.bincount(triangles.ravel(), np.repeat(n[:, k], 3), len(vertices)) for k in range(3)]
    return unit(np.stack(sums, 1).astype(np.float64)).astype(vertices.dtype)


def edges(triangles: NDArray[np.integer]) -> NDArray[np.int64]:
    """(E, 2) unique undirected edges, smaller index first."""
    e = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).astype(np.int64)
    return np.unique(np.sort(e, 1), axis=0)


def boundary_edges(triangles: NDArray[np.integer]) -> NDArray[np.int64]:
    """(B, 2) directed edges that have no opposite."""
    e = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).astype(np.int64)
    n = int(e.max()) + 1 if len(e) else 1
    return e[~np.isin(e[:, 0] * n + e[:, 1], e[:, 1] * n + e[:, 0])]


def unit(vectors: NDArray[_F]) -> NDArray[_F]:
    """(..., 3) vectors of length one; those of no length stay so."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), vectors.dtype)
