"""The detailed mesh: the head model's faces made finer and moved by the displacement map."""

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from maquette.errors import MeshInvalid
from maquette.geometry.surface import vertex_normals
from maquette.headmodel import HeadModel
from maquette.types import Bool, Float32, Int32
from services.meshproc.mesh import HeadMesh, model_mesh, quad_components
from services.meshproc.refinement import Refinement, refine, touched_edges

_REFINED = ("skin", "mouth", "eye_socket", "eye_left", "eye_right")
_FINER_REGION = "face"
_ROW = 1024


@dataclass(frozen=True, eq=False)
class Grid:
    """The detailed mesh without its shape, the same for every head of a model.

    Attributes:
        steps: How its vertices come from the model's.
        mesh: Its faces, with the model's mean as its shape.
        displaced: (N,) bool, the vertices that the displacement map moves.
        pairs: (P, 2) int32, each vertex with each of its texture vertices.
    """

    steps: tuple[Refinement, ...]
    mesh: HeadMesh
    displaced: Bool
    pairs: Int32


def detailed_mesh(model: HeadModel, vertices: Float32, displacement: Float32 | None) -> HeadMesh:
    """Make a head's mesh finer, round it, and move its skin along the normals by the displacement map.

    Faces of the region ``face`` are split in sixteen, those of the other skin and of the eyes in four, those inside
    the mouth not at all. The first V vertices correspond to the model's.

    Args:
        model: The model that the head is of.
        vertices: (V, 3) float32 mm.
        displacement: (M, M) float32 mm in the model's UV atlas, row 0 at v = 1; None only refines.

    Raises:
        MeshInvalid: The vertices are not the model's, or the map is not square or not finite.
    """
    coarse = model_mesh(model, vertices)
    grid = grid_of(model)
    fine = coarse.vertices
    for step in grid.steps:
        fine = step.smooth(fine)
    if displacement is not None:
        shift = np.where(grid.displaced, _at_vertices(grid, displacement), np.float32(0))
        fine = fine + vertex_normals(fine, grid.mesh.triangles) * shift[:, None]
    return replace(grid.mesh, vertices=np.asarray(fine, np.float32))


def refined(model: HeadModel, values: Float32) -> Float32:
    """Values at the detailed mesh's vertices, (N, C) float32, from those at the model's (V, C), by averages."""
    for step in grid_of(model).steps:
        values = step.linear(values)
    return values


@lru_cache(maxsize=4)
def grid_of(model: HeadModel) -> Grid:
    """The detailed mesh of a model."""
    mesh = model_mesh(model, model.mean)
    component = quad_components(model)
    skin = component == model.component_names.index("skin")
    refined = np.isin(component, [model.component_names.index(c) for c in _REFINED])
    finer = skin & model.region(_FINER_REGION)[mesh.quads].all(1)
    steps = []
    for faces in (refined, finer):
        chosen = faces[mesh.source]
        touched = touched_edges(mesh.quads, chosen)
        step = refine(mesh.quads, len(mesh.vertices), chosen, touched)
        flat = refine(mesh.uv_quads, len(mesh.uv), chosen, touched)
        old = step.source
        assert np.array_equal(old, flat.source), "texture coordinates that do not follow their faces"
        mesh = HeadMesh(
            step.linear(mesh.vertices),
            step.quads,
            flat.linear(mesh.uv),
            flat.quads,
            mesh.part[old],
            mesh.source[old],
        )
        steps.append(step)
    displaced = np.zeros(len(mesh.vertices), bool)
    displaced[mesh.quads[skin[mesh.source]]] = True
    pairs = np.unique(mesh.quads.ravel().astype(np.int64) * len(mesh.uv) + mesh.uv_quads.ravel())
    return Grid(tuple(steps), mesh, displaced, np.stack(np.divmod(pairs, len(mesh.uv)), 1).astype(np.int32))


def _at_vertices(grid: Grid, displacement: Float32) -> Float32:
    """(V,) map values at the vertices; the mean of both sides where a seam runs through one."""
    size = len(displacement)
    if displacement.shape != (size, size) or not np.isfinite(displacement).all():
        raise MeshInvalid(f"expected a finite square displacement map, found shape {displacement.shape}")
    x = (grid.mesh.uv[:, 0] * size - 0.5).astype(np.float32)
    y = ((1 - grid.mesh.uv[:, 1]) * size - 0.5).astype(np.float32)
    # OpenCV takes no more than 32767 rows, so that the points stand in rows of some length.
    shape = (-(-len(x) // _ROW), _ROW)
    source = np.ascontiguousarray(displacement, np.float32)
    sampled = cv2.remap(
        source, np.resize(x, shape), np.resize(y, shape), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    values = np.asarray(sampled, np.float32).ravel()[: len(x)]
    owner, texel = grid.pairs.T
    count = len(grid.displaced)
    total = np.bincount(owner, values[texel], count)
    return np.asarray(total / np.maximum(np.bincount(owner, minlength=count), 1), np.float32)
