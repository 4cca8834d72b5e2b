"""Mouth and eyes of the skin: how a closed solid is cut there, so that lips and lids may overlap.

A skin whose lips or lids pass through each other bounds no solid. So the ring of skin around each opening is taken out
and becomes two solids of its own, an upper and a lower one, each closed by a cone from its edges to a tip inside the
head. The union of the two is what the skin bounds there, whatever the lips or lids do, but for a wedge from the opening
to the tip; without the cone from its outer edge it fits back into the hole.

Everything here depends on the model's faces alone and is worked out once, on its mean.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components, dijkstra

from maquette.geometry.surface import boundary_edges
from maquette.headmodel import HeadModel
from maquette.types import Bool, Float64, Int32
from services.meshproc.mesh import HeadMesh, fan, quad_components

_CALM = ("brow_left", "brow_right", "cheek_left", "cheek_right", "forehead", "scalp")
"""Regions where nothing is near enough to be crossed."""

_RINGS = {"mouth": (8, 7, 6, 5, 4), "eye": (6, 5, 7, 4, 3)}
"""How many rings of faces around an opening are taken out, the best first."""


@dataclass(frozen=True, eq=False)
class Opening:
    """One opening of the skin.

    Attributes:
        name: ``mouth``, ``eye_left`` or ``eye_right``.
        tip: Index of the point inside the head that the inner cones run to, after the mesh's vertices.
        loop: (L,) int32, vertices of the skin's edge.
        border: (M, 2) int32, directed edges of the ring's outer edge.
        upper: (F, 3) int32, skin of the upper solid.
        lower: (F, 3) int32, skin of the lower solid.
    """

    name: str
    tip: int
    loop: Int32
    border: Int32
    upper: Int32
    lower: Int32


@dataclass(frozen=True, eq=False)
class Openings:
    """The skin of a mesh, cut around its openings.

    Attributes:
        rest: (F, 3) int32, the skin beyond the rings.
        calm: (F,) bool, those of its faces that cross nothing, whatever the head.
        rim: (R,) int32, the edge of the bust, in the direction of the skin's faces.
        openings: Mouth, left eye, right eye.
    """

    rest: Int32
    calm: Bool
    rim: Int32
    openings: tuple[Opening, ...]


@lru_cache(maxsize=8)
def openings_of(model: HeadModel, mesh: HeadMesh) -> Openings:
    """Cut the skin of a mesh of a model; only its faces matter."""
    component = quad_components(model)
    skin = np.flatnonzero(component == model.component_names.index("skin")).astype(np.int32)
    left = np.zeros(len(model.quads), bool)
    left[skin] = True
    openings: list[Opening] = []
    for name, loop in _loops(model, skin, component):
        ring = _ring(model, skin, loop, _RINGS["mouth" if name == "mouth" else "eye"])
        assert left[ring.quads].all(), "openings of the skin are too near to each other"
        left[ring.quads] = False
        openings.append(_cut(mesh, name, ring, len(mesh.vertices) + len(openings)))
    beyond = np.flatnonzero(left[mesh.source])
    rest = fan(mesh.quads[beyond])
    calm = np.logical_or.reduce([model.region(r) for r in _CALM])[model.quads].all(1)[mesh.source[beyond]]
    corners = 3 + (mesh.quads[beyond, 2] != mesh.quads[beyond, 3])
    edge = open_edges(rest)
    rim = edge[~np.isin(edge, np.concatenate([o.border[:, 0] for o in openings])).all(1)]
    return Openings(rest, np.repeat(calm, corners - 2), _in_order(rim), tuple(openings))


@dataclass(frozen=True, eq=False)
class _Ring:
    """Quads of the model around an opening, and whether each is above it."""

    quads: Int32
    upper: Bool
    loop: Int32


def _loops(model: HeadModel, skin: Int32, component: Int32) -> list[tuple[str, Int32]]:
    """Name and vertices of each opening's edge, where the skin meets its linings."""
    outside = np.unique(model.quads[skin])
    found = []
    for lining in ("mouth", "eye_socket"):
        inside = model.quads[component == model.component_names.index(lining)]
        shared = np.intersect1d(outside, inside)
        if lining == "mouth":
            found.append(("mouth", shared))
            continue
        left = model.mean[shared, 0] > 0
        found += [("eye_left", shared[left]), ("eye_right", shared[~left])]
    return [(name, loop.astype(np.int32)) for name, loop in found]


def _ring(model: HeadModel, skin: Int32, loop: Int32, widths: tuple[int, ...]) -> _Ring:
    """The ring of the first width whose outer edge is one loop."""
    quads = model.quads[skin]
    depth = np.full(len(model.mean), 99)
    depth[loop] = 0
    for step in range(1, max(widths) + 1):
        near = np.unique(quads[(depth[quads] < step).any(1)])
        depth[near] = np.minimum(depth[near], step)
    for width in widths:
        chosen = skin[depth[quads].max(1) <= width]
        outer = _outer_edge(model.quads[chosen], loop)
        if outer is not None:
            return _Ring(chosen, _halve(model, chosen, loop, outer), loop)
    raise AssertionError("no ring of skin around an opening has a simple edge")


def _outer_edge(quads: Int32, loop: Int32) -> Int32 | None:
    """Vertices of the outer edge of a ring, None if it is not one loop that stays clear of the inner one."""
    edge = open_edges(fan(quads))
    inner = np.isin(edge, loop)
    if (inner.any(1) != inner.all(1)).any() or inner.all(1).sum() != len(loop):
        return None
    outer = edge[~inner.all(1)]
    start = outer[:, 0]
    simple = len(np.unique(start)) == len(start) == len(_in_order(outer))
    return start if simple else None


def _halve(model: HeadModel, chosen: Int32, loop: Int32, outer: Int32) -> Bool:
    """Whether each face of a ring is above, when it is cut from both corners of the opening outwards along edges."""
    mean, quads = model.mean.astype(np.float64), model.quads[chosen]
    after = np.roll(quads, -1, 1)
    pairs = np.unique(np.sort(np.stack([quads.ravel(), after.ravel()], 1), 1), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    cut: set[tuple[int, int]] = set()
    for side in (1.0, -1.0):
        cut |= {(min(a, b), max(a, b)) for a, b in pairwise(_path(mean, pairs, loop, outer, side))}
    edges: dict[tuple[int, int], list[int]] = {}
    for q, corner in enumerate(quads):
        for a, b in zip(corner, np.roll(corner, -1), strict=True):
            if a != b:
                edges.setdefault((min(a, b), max(a, b)), []).append(q)
    joined = np.array([e for key, e in edges.items() if len(e) == 2 and key not in cut])
    graph = sparse.coo_array((np.ones(len(joined)), joined.T), shape=(len(quads), len(quads)))
    count, half = connected_components(graph, directed=False)
    assert count == 2, f"an opening's ring fell into {count} pieces, expected 2"
    height = [mean[quads[half == k]][..., 1].mean() for k in (0, 1)]
    return np.asarray(half == int(np.argmax(height)))


def _path(mean: Float64, pairs: Int32, loop: Int32, outer: Int32, side: float) -> list[int]:
    """Shortest way along edges from an opening's corner, between its edges, to the sideward end of the outer one."""
    start = int(loop[np.argmax(side * mean[loop, 0])])
    enter, leave = np.ones(len(mean), bool), np.ones(len(mean), bool)
    enter[loop] = False
    leave[np.concatenate([loop, outer])] = False
    leave[start] = True
    ways = np.concatenate([pairs, pairs[:, ::-1]])
    ways = ways[leave[ways[:, 0]] & enter[ways[:, 1]]]
    length = np.linalg.norm(mean[ways[:, 0]] - mean[ways[:, 1]], axis=1)
    graph = sparse.coo_array((length, ways.T), shape=(len(mean), len(mean))).tocsr()
    distance, before = dijkstra(graph, indices=start, return_predecessors=True)
    ends = outer[np.isfinite(distance[outer])]
    path = [int(ends[np.argmax(side * mean[ends, 0])])]
    while path[-1] != start:
        path.append(int(before[path[-1]]))
    return path[::-1]


def _cut(mesh: HeadMesh, name: str, ring: _Ring, tip: int) -> Opening:
    """The two halves of a ring, on any mesh of the model."""
    half = np.full(int(mesh.source.max()) + 1, -1)
    half[ring.quads] = np.where(ring.upper, 0, 1)
    upper, lower = (fan(mesh.quads[half[mesh.source] == k]) for k in (0, 1))
    edge = open_edges(np.concatenate([upper, lower]))
    loop = _in_order(edge, int(ring.loop[0]))
    return Opening(name, tip, loop, edge[~np.isin(edge, loop).all(1)], upper, lower)


def cone(edges: Int32, tip: int) -> Int32:
    """(N, 3) triangles from directed edges to a point, closing what the edges bound."""
    return np.stack([edges[:, 1], edges[:, 0], np.full(len(edges), tip)], 1).astype(np.int32)


def open_edges(triangles: Int32) -> Int32:
    """(N, 2) int32 directed edges of triangles that have no opposite."""
    return np.asarray(boundary_edges(triangles), np.int32)


def _in_order(edges: Int32, start: int | None = None) -> Int32:
    """Vertices of the closed line of directed edges that runs through a vertex, by default the first."""
    following = {int(a): int(b) for a, b in edges}
    line = [int(edges[0, 0]) if start is None else start]
    while (to := following[line[-1]]) != line[0]:
        line.append(to)
    return np.array(line, np.int32)
