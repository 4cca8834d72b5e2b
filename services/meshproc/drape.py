"""How things that sit on the skin go with it when it moves."""

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from maquette.headmodel import HeadModel
from maquette.types import Float32, Hair, Int32

_NEIGHBOURS = 4
_NEAR_MM, _FAR_MM = 6.0, 30.0


class Anchors:
    """Which skin each vertex of a piece of hair goes with.

    Attributes:
        on_face: Whether the piece is a brow, a lash or a beard: most of it sits on the region ``face``.
    """

    def __init__(self, model: HeadModel, vertices: Float32, piece: Hair) -> None:
        """Find the skin next to each vertex.

        Args:
            model: The model of the head.
            vertices: (V, 3) float32 mm, the head that the piece sits on.
            piece: The hair.
        """
        skin = np.flatnonzero(model.part("skin"))
        distance, nearest = cKDTree(vertices[skin]).query(piece.vertices, _NEIGHBOURS)
        self._vertex: Int32 = skin[nearest].astype(np.int32)
        near = 1 / (distance + 0.5)
        # What hangs far off the skin, such as a long strand, does not go with the cheek behind it.
        hold = np.clip((_FAR_MM - distance[:, :1]) / (_FAR_MM - _NEAR_MM), 0, 1)
        self._weight = np.asarray(near / near.sum(1, keepdims=True) * hold, np.float32)
        self.on_face = bool(model.region("face")[self._vertex[:, 0]].mean() > 0.5)

    def moved(self, piece: Hair, field: Float32) -> Hair:
        """The piece after the head has moved by a (V, 3) field."""
        return replace(piece, vertices=piece.vertices + self.carry(field))

    def carry(self, field: Float32) -> Float32:
        """(H, 3) float32 of a (V, 3) field on the head, such as what an expression adds."""
        return np.asarray(np.einsum("hkc,hk->hc", field[self._vertex], self._weight), np.float32)
