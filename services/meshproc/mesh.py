"""A head's mesh with texture coordinates, sorted into the parts that files tell apart."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from maquette.errors import MeshInvalid
from maquette.geometry.surface import vertex_normals
from maquette.headmodel import HeadModel
from maquette.types import Float32, Int32

PARTS: dict[str, tuple[str, ...]] = {
    "skin": ("skin", "eye_socket"),
    "eyes": ("eye_left", "eye_right"),
    "teeth": ("teeth",),
    "gums": ("gums", "mouth"),
    "tongue": ("tongue",),
}
"""Components of the head model in each part."""


@dataclass(frozen=True, eq=False)
class HeadMesh:
    """A head of the model's own faces or of finer ones.

    Attributes:
        vertices: (V, 3) float32 mm, head frame.
        quads: (Q, 4) int32; a triangle repeats its last corner.
        uv: (T, 2) float32 in 0..1, v upwards.
        uv_quads: (Q, 4) int32 into ``uv``.
        part: (Q,) int32, index into ``PARTS`` of each quad.
        source: (Q,) int32, the model's quad that each came from.
    """

    vertices: Float32
    quads: Int32
    uv: Float32
    uv_quads: Int32
    part: Int32
    source: Int32

    @cached_property
    def triangles(self) -> Int32:
        """(F, 3) int32, the quads in their order, cut along their first diagonal."""
        return fan(self.quads)

    @cached_property
    def uv_triangles(self) -> Int32:
        """(F, 3) int32 into ``uv``."""
        return fan(self.uv_quads)

    @cached_property
    def triangle_part(self) -> Int32:
        """(F,) int32, index into ``PARTS`` of each triangle."""
        return np.repeat(self.part, 2 - (self.quads[:, 2] == self.quads[:, 3]))

    @cached_property
    def normals(self) -> Float32:
        """(V, 3) float32 unit normals of the vertices."""
        return vertex_normals(self.vertices, self.triangles)

    @cached_property
    def vertex_uv(self) -> Float32:
        """(V, 2) float32, texture coordinates of each vertex; one side's where a seam runs through it."""
        out = np.zeros((len(self.vertices), 2), np.float32)
        # Written backwards, so that the first face of a vertex has the last word.
        out[self.quads.ravel()[::-1]] = self.uv[self.uv_quads.ravel()[::-1]]
        return out


def model_mesh(model: HeadModel, vertices: Float32) -> HeadMesh:
    """A head of the model's own faces.

    Args:
        model: The model that the head is of.
        vertices: (V, 3) float32 mm.

    Raises:
        MeshInvalid: The vertices are not the model's, or not finite.
    """
    if vertices.shape != model.mean.shape:
        raise MeshInvalid(f"expected vertices of shape {model.mean.shape} ({model.topology}), found {vertices.shape}")
    if not np.isfinite(vertices).all():
        raise MeshInvalid("expected finite vertices, found undefined ones")
    vertices = np.asarray(vertices, np.float32)
    every = np.arange(len(model.quads), dtype=np.int32)
    return HeadMesh(vertices, model.quads, model.uv, model.uv_quads, quad_parts(model), every)


def fan(quads: Int32) -> Int32:
    """(F, 3) int32 triangles of (Q, 4) quads, in their order; one that repeats its last corner gives one triangle."""
    both = quads[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)
    return np.asarray(both[both[:, 1] != both[:, 2]], np.int32)


def quad_components(model: HeadModel) -> Int32:
    """(Q,) int32 component of each of the model's quads; a face between two belongs to the one further inside."""
    # Components are numbered from the outside in.
    return np.asarray(model.component[model.quads].max(1), np.int32)


@lru_cache(maxsize=4)
def quad_parts(model: HeadModel) -> Int32:
    """(Q,) int32 index into ``PARTS`` of each of the model's quads."""
    part = np.full(len(model.component_names), -1, np.int32)
    for k, names in enumerate(PARTS.values()):
        part[[model.component_names.index(n) for n in names]] = k
    assert (part >= 0).all(), "a component of the model belongs to no part"
    return part[quad_components(model)]
