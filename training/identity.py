"""The identity basis: principal components of what the shape libraries say about heads."""

import numpy as np
from numpy.typing import NDArray

from maquette.geometry.surface import triangle_normals

Float = NDArray[np.float32]
Array = NDArray[np.float64]


def vertex_areas(points: Array, triangles: NDArray[np.integer]) -> Array:
    """(V,) a third of the area of the triangles around each vertex, mm²."""
    area = np.linalg.norm(triangle_normals(points, triangles), axis=1) / 6
    return np.asarray(np.bincount(triangles.ravel(), np.repeat(area, 3), len(points)), np.float64)


def principal_modes(libraries: list[tuple[Float, float]], weight: Array, count: int) -> Float:
    """Joint modes of several zero-mean Gaussian libraries on one mesh.

    Each library is ``sum_k z_k mode_k`` with z ~ N(0, 1); the joint covariance is their mixture's. Its eigenvectors are
    found in the span of all modes, so nothing is sampled.

    Args:
        libraries: Modes (K_i, V, 3) in mm of one standard deviation each, and the library's share of the mixture.
        weight: (V,) importance of each vertex in the metric; every vertex is carried along whatever its weight.
        count: Modes to keep.

    Returns:
        (count, V, 3) mm, one standard deviation each, by falling variance.
    """
    stacked = np.concatenate([m * np.float32(np.sqrt(share)) for m, share in libraries])
    k = len(stacked)
    metric = np.sqrt(weight / weight.mean()).astype(np.float32)
    flat = (stacked * metric[:, None]).reshape(k, -1)
    # With covariance FᵀF, the eigenvectors of FFᵀ turn the stacked modes into the principal ones.
    values, vectors = np.linalg.eigh(flat.astype(np.float64) @ flat.astype(np.float64).T)
    order = np.argsort(values)[::-1][:count]
    if values[order[-1]] < 1e-9 * values[order[0]]:
        raise ValueError(f"the libraries span fewer than {count} modes")
    turned = np.tensordot(vectors[:, order].T, stacked, 1)
    # Signs by the largest component, so that a rerun gives the same file.
    flat_turned = turned.reshape(count, -1)
    peak = flat_turned[np.arange(count), np.abs(flat_turned).argmax(1)]
    return np.asarray(turned * np.sign(peak)[:, None, None], np.float32)
