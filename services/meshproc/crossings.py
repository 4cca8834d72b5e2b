"""Places where a surface passes through itself: finding them, and drawing it apart there."""

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from maquette.geometry.raster import Scene
from maquette.geometry.surface import boundary_edges, edges
from maquette.types import Bool, Float32, Float64, Int32

_CLEAR_MM = 1e-3
"""How far inside an edge a ray begins and ends, where it has left the triangles around the edge's ends behind."""

_HITS = 4
"""Most triangles that are looked for along one edge."""

_AROUND_MM = 4.0
"""How far around crossings the surface is looked at while it is drawn apart; nothing moves as far."""

_LONG_MM = 4.0
"""Vertices whose edges are longer than this on average stay: what they would drag along is too much."""

_ROUNDS, _SWEEPS, _WIDER = 24, 2, 2
"""Searches of the surface around crossings; smoothings after each; searches after which the zone grows by a ring."""


def crossings(vertices: Float32, triangles: Int32, ends: Int32 | None = None) -> Int32:
    """Edges that go through triangles with which they have no corner in common.

    Of two triangles that pass through each other at least one has such an edge. Surfaces that only touch do not cross.

    Args:
        vertices: (V, 3) float32.
        triangles: (F, 3) int32.
        ends: (E, 2) int32, the edges to look at; those between two triangles, and some of the rim, when None.

    Returns:
        (N, 3) int32: the two ends of an edge, and the triangle.
    """
    if ends is None:
        both = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
        ends = both[both[:, 0] < both[:, 1]]
    scene = Scene(vertices, triangles)
    start, step = vertices[ends[:, 0]], vertices[ends[:, 1]] - vertices[ends[:, 0]]
    margin = np.minimum(_CLEAR_MM / np.maximum(np.linalg.norm(step, axis=1), 1e-12), 0.49).astype(np.float32)
    live, at = np.arange(len(ends)), margin.copy()
    found = []
    for _ in range(_HITS):
        ray = step[live]
        hit = scene.cast(start[live] + ray * at[live, None], ray, reach=1 - margin[live] - at[live])
        on = hit.covered
        live, triangle = live[on], hit.triangle[on]
        found.append(np.concatenate([ends[live], triangle[:, None]], 1))
        at[live] += hit.distance[on] + margin[live]
        live = live[at[live] < 1 - margin[live]]
    pairs = np.concatenate(found)
    pairs = pairs[~(triangles[pairs[:, 2]][:, :, None] == pairs[:, None, :2]).any((1, 2))]
    return np.asarray(pairs[_through(vertices.astype(np.float64), triangles, pairs)], np.int32)


def _through(vertices: Float64, triangles: Int32, pairs: Int32) -> Bool:
    """(N,) bool, pairs of which the edge really passes from one side of the triangle to the other, between its sides.

    Rays are cast in single precision, which takes some that touch for hits.
    """
    a, b = vertices[pairs[:, 0]], vertices[pairs[:, 1]]
    corner = vertices[triangles[pairs[:, 2]]].transpose(1, 0, 2)
    normal = np.cross(corner[1] - corner[0], corner[2] - corner[0])
    before, after = (np.einsum("nc,nc->n", p - corner[0], normal) for p in (a, b))
    turns = [np.einsum("nc,nc->n", b - a, np.cross(corner[k] - a, corner[k - 2] - a)) for k in range(3)]
    inside = (np.stack(turns) > 0).all(0) | (np.stack(turns) < 0).all(0)
    return np.asarray((before * after < 0) & inside, bool)


def drawn_apart(vertices: Float32, triangles: Int32, calm: Bool) -> Float32:
    """Vertices of a closed surface that passes through itself in few places, smoothed there until it does no longer.

    Folds and thin overlaps disappear that way. Where something passes through as a whole, crossings can be left; of
    all that was tried, what has the fewest is returned.

    Args:
        vertices: (V, 3) float32 mm.
        triangles: (F, 3) int32.
        calm: (F,) bool, triangles that are known to cross nothing, so that it need not be looked for.

    Returns:
        (V, 3) float32 mm; those of clean surfaces and those away from crossings are unchanged.
    """
    suspect = triangles[~calm]
    crossing = crossings(vertices, suspect)
    if not len(crossing):
        return vertices
    patch = _around(vertices, suspect, crossing)
    used, local = np.unique(suspect[patch], return_inverse=True)
    out = vertices.copy()
    out[used] = _relaxed(vertices[used].astype(np.float64), local.reshape(-1, 3).astype(np.int32))
    return out


def _around(vertices: Float32, triangles: Int32, crossing: Int32) -> Int32:
    """(P,) triangles near to crossings."""
    spots = vertices[np.unique(np.concatenate([crossing[:, :2].ravel(), triangles[crossing[:, 2]].ravel()]))]
    corner = vertices[triangles]
    low, high = corner.min(1), corner.max(1)
    near = np.flatnonzero(((low < spots.max(0) + _AROUND_MM) & (high > spots.min(0) - _AROUND_MM)).all(1))
    middle, radius = (low[near] + high[near]) / 2, np.linalg.norm(high[near] - low[near], axis=1) / 2
    return np.asarray(near[cKDTree(spots).query(middle)[0] < radius + _AROUND_MM], np.int32)


def _relaxed(points: Float64, faces: Int32) -> Float32:
    """(N, 3) float32, points of a patch with its rim held, smoothed around crossings until there are none."""
    count, ends = len(points), edges(faces).astype(np.int32)
    length = np.linalg.norm(points[ends[:, 0]] - points[ends[:, 1]], axis=1)
    both = np.concatenate([ends, ends[:, ::-1]])
    # Weighted by the inverse of their lengths, neighbours far away do not pull (the scale-dependent umbrella of
    # Desbrun et al., "Implicit fairing", 1999).
    weight = np.tile(1 / np.maximum(length, 1e-3), 2)
    pull = sparse.csr_array((weight, both.T), shape=(count, count))
    ring = sparse.csr_array((np.ones(len(both)), both.T), shape=(count, count))
    held = np.bincount(both[:, 0], np.tile(length, 2), count) > _LONG_MM * np.bincount(both[:, 0], minlength=count)
    held[boundary_edges(faces)] = True
    best, fewest = points.astype(np.float32), len(faces)
    for k in range(_ROUNDS):
        now = points.astype(np.float32)
        crossing = crossings(now, faces, ends)
        if len(crossing) < fewest:
            best, fewest = now, len(crossing)
        if not fewest:
            break
        zone = np.zeros(count, bool)
        zone[crossing[:, :2]] = zone[faces[crossing[:, 2]]] = True
        for _ in range(1 + k // _WIDER):
            zone |= (ring @ zone) > 0
        move = np.flatnonzero(zone & ~held)
        near = pull[move]
        total = near.sum(1)[:, None]
        for _ in range(_SWEEPS):
            points[move] += 0.5 * ((near @ points) / total - points[move])
    return best
