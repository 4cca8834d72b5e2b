"""Splitting faces into finer ones: which new points there are, and between which old ones they lie."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from maquette.types import Bool, Float32, Int32

_MOST_PULL = 1.5
"""Limit of the weight 4 / n of points with less than three faces."""


@dataclass(frozen=True, eq=False)
class Refinement:
    """One step of splitting some faces of a mesh, for any positions of its points.

    Points of the finer mesh are, in this order: the old points, one in the middle of each split edge, one in the
    middle of each face that is split or touches a split edge.

    Attributes:
        edges: (E, 2) int32, ends of each split edge.
        corners: (C, 4) int32, corners of each face that gets a middle; a triangle repeats its last.
        sides: (C, 4) int32, the split edge after each corner of such a face, -1 where that edge is whole.
        quads: (Q, 4) int32, faces of the finer mesh; a triangle repeats its last corner.
        source: (Q,) int32 rising, the old face that each came from.
        fixed: (N,) bool, points on an open rim or of a face that came through in one or two pieces.
    """

    edges: Int32
    corners: Int32
    sides: Int32
    quads: Int32
    source: Int32
    fixed: Bool

    def linear(self, values: Float32) -> Float32:
        """Values at the finer mesh's points, (N, C) from those at the old points, by averages."""
        middles = values[self.edges].mean(1)
        return np.concatenate([values, middles, self._centres(values)]).astype(np.float32)

    def smooth(self, vertices: Float32) -> Float32:
        """Positions of the finer mesh's points on the smooth surface that the old faces suggest.

        Averages first, then each point is drawn towards the middles of its faces, which together is a step of Catmull
        and Clark's subdivision (Warren and Schaefer, "A factored approach to subdivision surfaces", 2004). Old points
        move too: a surface through them would keep every small unevenness and make ripples of it. ``fixed`` points
        stay in the middle of their edges and faces.

        Args:
            vertices: (V, 3) float32, the old points.
        """
        points = self.linear(vertices)
        corners = self._corners
        middles = (corners.T @ points) / corners.sum(0)[:, None]
        valence = np.maximum(corners.sum(1), 1)
        near = (corners @ middles) / valence[:, None]
        pull = np.where(self.fixed, 0, np.minimum(4 / valence, _MOST_PULL)).astype(np.float32)
        return np.asarray(points + pull[:, None] * (near - points), np.float32)

    @cached_property
    def _corners(self) -> csr_array:
        """(N, Q) float32, 1 where a point of the finer mesh is a corner of a face of it."""
        real = ~_collapsed(self.quads)
        face = np.broadcast_to(np.arange(len(self.quads))[:, None], real.shape)[real]
        at = (self.quads[real], face)
        return csr_array((np.ones(len(face), np.float32), at), shape=(len(self.fixed), len(self.quads)))

    @property
    def _triangular(self) -> Bool:
        return np.asarray(self.corners[:, 2] == self.corners[:, 3])

    def _centres(self, values: Float32) -> Float32:
        weights = np.where(self._triangular[:, None], np.array([1, 1, 0.5, 0.5]) / 3, 0.25)
        return np.asarray(np.einsum("fkc,fk->fc", values[self.corners], weights), np.float32)


def touched_edges(quads: Int32, split: Bool) -> Bool:
    """Which edges are cut in two when some faces are split.

    Args:
        quads: (Q, 4) int32; a triangle repeats its last corner.
        split: (Q,) bool.

    Returns:
        (Q, 4) bool, for the edge after each corner.
    """
    keys = _edge_keys(quads)
    return np.asarray(np.isin(keys, np.unique(keys[split])) & ~_collapsed(quads))


def refine(quads: Int32, count: int, split: Bool, touched: Bool) -> Refinement:
    """Split faces into four (triangles into three) and fit their neighbours to them.

    A mesh and its texture coordinates are split alike by two calls with the same ``split`` and ``touched``: their
    faces keep corresponding.

    Args:
        quads: (Q, 4) int32; a triangle repeats its last corner.
        count: Number of points that ``quads`` are indices of.
        split: (Q,) bool, the faces to split.
        touched: (Q, 4) bool, see ``touched_edges``.
    """
    keys = _edge_keys(quads)
    _, first, number = np.unique(keys[touched], return_index=True, return_inverse=True)
    edges = np.stack([quads[touched], np.roll(quads, -1, 1)[touched]], 1)[first]
    sides = np.full(quads.shape, -1, np.int64)
    sides[touched] = number.ravel()
    middle = np.where(touched, count + sides, -1)
    holder = np.asarray(touched.any(1), bool)
    centre = np.full(len(quads), -1, np.int64)
    centre[holder] = count + len(edges) + np.arange(holder.sum())

    whole = np.flatnonzero(~holder)
    collapsed: Bool = _collapsed(quads)
    faces, source = [quads[whole]], [whole]
    for k in range(4):
        real = np.flatnonzero(np.logical_not(collapsed[:, k]))
        before = (k - 1) % 4
        cut = real[split[real]]
        back = middle[cut, before]
        # In a triangle the edge before its repeated corner has no length; the one before that meets the corner.
        back = np.where(back < 0, middle[cut, (before - 1) % 4], back)
        faces.append(np.stack([quads[cut, k], middle[cut, k], centre[cut], back], 1))
        source.append(cut)
        beside = real[holder[real] & ~split[real]]
        a, b, m, o = quads[beside, k], quads[beside, (k + 1) % 4], middle[beside, k], centre[beside]
        halves = m >= 0
        faces.append(np.stack([a, np.where(halves, m, b), o, o], 1))
        faces.append(np.stack([m, b, o, o], 1)[halves])
        source += [beside, beside[halves]]
    origin = np.concatenate(source)
    order = np.argsort(origin, kind="stable")
    finer = np.concatenate(faces)[order]
    fixed = np.zeros(count + len(edges) + int(holder.sum()), bool)
    fixed[finer[~split[origin[order]]]] = True
    _, inverse, uses = np.unique(keys, return_inverse=True, return_counts=True)
    rim = (uses[inverse.reshape(keys.shape)] == 1) & ~collapsed
    fixed[quads[rim]] = fixed[np.roll(quads, -1, 1)[rim]] = True
    fixed[middle[rim & touched]] = True
    return Refinement(
        edges.astype(np.int32),
        quads[holder].astype(np.int32),
        sides[holder].astype(np.int32),
        finer.astype(np.int32),
        origin[order].astype(np.int32),
        fixed,
    )


def _collapsed(quads: Int32) -> Bool:
    return np.asarray(quads == np.roll(quads, -1, 1), bool)


def _edge_keys(quads: Int32) -> np.ndarray:
    after = np.roll(quads, -1, 1)
    low, high = np.minimum(quads, after).astype(np.int64), np.maximum(quads, after).astype(np.int64)
    return low * (int(quads.max(initial=0)) + 1) + high
