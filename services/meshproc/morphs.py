"""The head model's blendshapes as what each adds to positions and normals, vertex by vertex."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import sparse

from maquette.geometry.surface import triangle_normals, unit
from maquette.headmodel import HeadModel
from maquette.types import Float32, Int32

STILL_MM = 0.03
"""A vertex that a full blendshape moves by less stays where it is."""


@dataclass(frozen=True, eq=False)
class Morphs:
    """Blendshapes of a model, laid end to end: M moved vertices in all.

    Attributes:
        vertex: (M,) int32, the vertices that each blendshape moves, rising within a blendshape.
        start: (53,) int64, where each blendshape's begin, and M.
        shift: (M, 3) float32 mm at full activation.
        corners: (F, 3) int32, all triangles that a blendshape bends, with the model's vertices.
        corner_shift: (F, 3, 3) float32 mm, how their corners move.
        gather: (M, F) sparse, sums triangles around vertices.
    """

    vertex: Int32
    start: np.ndarray
    shift: Float32
    corners: Int32
    corner_shift: Float32
    gather: sparse.csr_array

    def normals(self, vertices: Float32, triangles: Int32) -> Float32:
        """(M, 3) float32, what each blendshape at full activation adds to the unit normals of a head.

        Args:
            vertices: (V, 3) float32 mm, the neutral head.
            triangles: (F, 3) int32, the model's.
        """
        own = triangle_normals(vertices, triangles)
        around = np.stack(
            [np.bincount(triangles.ravel(), np.repeat(own[:, k], 3), len(vertices)) for k in range(3)], 1
        ).astype(np.float32)
        at_rest = vertices[self.corners]
        moved = at_rest + self.corner_shift
        change = _cross(moved) - _cross(at_rest)
        before = around[self.vertex]
        return unit(before + self.gather @ change) - unit(before)


@lru_cache(maxsize=4)
def morphs_of(model: HeadModel) -> Morphs:
    """Lay out the blendshapes of a model."""
    n, triangles = len(model.mean), model.triangles
    vertex, start, corners, rows, columns, corner_shift = [], [0], [], [], [], []
    bent = 0
    for mode in model.expression_modes:
        moves = np.linalg.norm(mode, axis=1) >= STILL_MM
        field = np.where(moves[:, None], mode, 0)
        faces = triangles[moves[triangles].any(1)]
        number = np.full(n, -1)
        number[moves] = start[-1] + np.arange(moves.sum())
        owner = number[faces]
        rows.append(owner[owner >= 0])
        columns.append((bent + np.repeat(np.arange(len(faces)), 3).reshape(-1, 3))[owner >= 0])
        corners.append(faces)
        corner_shift.append(field[faces])
        vertex.append(np.flatnonzero(moves))
        start.append(start[-1] + len(vertex[-1]))
        bent += len(faces)
    at = (np.concatenate(rows), np.concatenate(columns))
    gather = sparse.csr_array((np.ones(len(at[0]), np.float32), at), shape=(start[-1], bent))
    all_vertices = np.concatenate(vertex)
    shape = np.repeat(np.arange(len(vertex)), np.diff(start))
    return Morphs(
        all_vertices.astype(np.int32),
        np.asarray(start, np.int64),
        np.asarray(model.expression_modes[shape, all_vertices], np.float32),
        np.concatenate(corners).astype(np.int32),
        np.concatenate(corner_shift).astype(np.float32),
        gather,
    )


def _cross(corners: Float32) -> Float32:
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    return np.asarray(np.cross(b - a, c - a), np.float32)
