"""How things that sit on the skin go with it when it moves."""

from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from maquette.geometry.surface import edges
from maquette.headmodel import HeadModel
from maquette.types import Float32, Hair, Int32

_NEIGHBOURS = 4
_ROOT_MM = 2.5


class Anchors:
    """Which skin each vertex of a piece of hair goes with: that at its root, however far the strand reaches.

    Attributes:
        on_face: Whether the piece is a brow, a lash or a beard: most of it sits on the region ``face``.
    """

    def __init__(self, model: HeadModel, vertices: Float32, piece: Hair) -> None:
        """Find the skin at the roots.

        Args:
            model: The model of the head.
            vertices: (V, 3) float32 mm, the head that the piece sits on.
            piece: The hair.
        """
        skin = np.flatnonzero(model.part("skin"))
        distance, nearest = cKDTree(vertices[skin]).query(piece.vertices, _NEIGHBOURS)
        root = _roots(piece, distance[:, 0])
        near = 1 / (distance[root] + 0.5)
        self._vertex: Int32 = skin[nearest[root]].astype(np.int32)
        self._weight = np.asarray(near / near.sum(1, keepdims=True), np.float32)
        self.on_face = bool(model.region("face")[self._vertex[:, 0]].mean() > 0.5)

    def moved(self, piece: Hair, field: Float32) -> Hair:
        """The piece after the head has moved by a (V, 3) field."""
        return replace(piece, vertices=piece.vertices + self.carry(field))

    def carry(self, field: Float32) -> Float32:
        """(H, 3) float32 of a (V, 3) field on the head, such as what an expression adds."""
        return np.asarray(np.einsum("hkc,hk->hc", field[self._vertex], self._weight), np.float32)


def _roots(piece: Hair, distance: Float32) -> Int32:
    """(H,) int32, the nearest vertex along the mesh that is next to the skin; a loose strand has its own."""
    pairs = edges(piece.triangles)
    length = np.linalg.norm(piece.vertices[pairs[:, 0]] - piece.vertices[pairs[:, 1]], axis=1) + 1e-3
    count = len(piece.vertices)
    graph = sparse.coo_array((length, pairs.T), shape=(count, count)).tocsr()
    close = np.flatnonzero(distance < max(_ROOT_MM, 1.5 * float(distance.min())))
    _, _, source = dijkstra(graph, directed=False, indices=close, min_only=True, return_predecessors=True)
    return np.where(source >= 0, source, np.arange(count)).astype(np.int32)
