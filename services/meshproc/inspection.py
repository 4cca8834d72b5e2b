"""Figures about a mesh of any origin: how large it is, what holds it together, whether it bounds a solid."""

from dataclasses import dataclass
from functools import cached_property

import manifold3d
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from maquette.geometry.surface import triangle_normals
from maquette.types import Bool, Float64, Int32
from services.meshproc.files import TriangleMesh

_FLAT = 1e-7
"""Height of a triangle by its longest side below which it has no area: about what single precision tells."""


@dataclass(frozen=True)
class MeshFigures:
    """Figures about a mesh, its vertices merged where they coincide.

    Attributes:
        vertices: Distinct vertices that triangles have.
        triangles: Triangles.
        components: Parts that no edge connects.
        boundary_edges: Edges with one triangle: the rims of holes.
        non_manifold_edges: Edges with more than two triangles.
        degenerate_triangles: Triangles without area; those of fewer than three vertices count nowhere else.
        watertight: No boundary and no non-manifold edge.
        oriented: Neighbouring triangles face the same way.
        solid: It bounds a solid, by the judgement of manifold3d.
        area_mm2: Area.
        volume_mm3: Volume; None when it is not watertight, or its triangles do not face one way.
        lower_mm: Lowest corner of the box around it.
        upper_mm: Highest corner of that box.
    """

    vertices: int
    triangles: int
    components: int
    boundary_edges: int
    non_manifold_edges: int
    degenerate_triangles: int
    watertight: bool
    oriented: bool
    solid: bool
    area_mm2: float
    volume_mm3: float | None
    lower_mm: tuple[float, float, float]
    upper_mm: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Edges:
    """Sides of triangles, grouped into edges.

    Attributes:
        triangles: (F, 3) int32.
        edge: (3F,) int64, the edge of each side; side k of triangle f is at 3f + k and runs from corner k to the next.
        forward: (3F,) bool, whether the side runs from the lower to the higher vertex.
        count: (E,) int64, sides of each edge.
    """

    triangles: Int32
    edge: NDArray[np.int64]
    forward: Bool
    count: NDArray[np.int64]

    @cached_property
    def balance(self) -> NDArray[np.int64]:
        """(E,) int64, sides that run forwards minus those that run backwards."""
        way = np.where(self.forward, 1, -1)
        return np.bincount(self.edge, way, len(self.count)).astype(np.int64)

    @cached_property
    def oriented(self) -> bool:
        """Whether neighbours face the same way: around an edge as many sides run forwards as backwards."""
        shared = self.count > 1
        return bool((np.abs(self.balance[shared]) <= self.count[shared] % 2).all())

    @cached_property
    def parts(self) -> tuple[int, Int32]:
        """Number of parts that no edge connects, and (F,) int32, the part of each triangle, in their order."""
        order = np.argsort(self.edge, kind="stable")
        same = np.flatnonzero(self.edge[order[1:]] == self.edge[order[:-1]])
        one, other = order[same] // 3, order[same + 1] // 3
        size = len(self.triangles)
        graph = sparse.coo_matrix((np.ones(len(one), np.int8), (one, other)), shape=(size, size))
        count, labels = connected_components(graph.tocsr(), directed=False)
        return int(count), np.asarray(labels, np.int32)


def edges_of(triangles: Int32) -> Edges:
    """Group the sides of (F, 3) triangles, each of three different vertices, into edges."""
    ends = np.stack([triangles, np.roll(triangles, -1, 1)], -1).reshape(-1, 2).astype(np.int64)
    low, high = ends.min(1), ends.max(1)
    _, edge, count = np.unique(low << 32 | high, return_inverse=True, return_counts=True)
    return Edges(triangles, edge.reshape(-1), ends[:, 0] < ends[:, 1], count)


def merged(mesh: TriangleMesh) -> TriangleMesh:
    """A mesh whose vertices are in different places and all belong to triangles; order is kept otherwise."""
    # Adding zero turns -0.0 into 0.0, which is in the same place.
    rows = np.ascontiguousarray(mesh.vertices + 0.0)
    _, first, place = np.unique(rows.view("V24").ravel(), return_index=True, return_inverse=True)
    return compact(TriangleMesh(rows, np.asarray(first[place.reshape(-1)][mesh.triangles], np.int32)))


def compact(mesh: TriangleMesh) -> TriangleMesh:
    """A mesh without the vertices that belong to no triangle."""
    used, local = np.unique(mesh.triangles, return_inverse=True)
    return TriangleMesh(mesh.vertices[used], np.asarray(local.reshape(mesh.triangles.shape), np.int32))


def proper(triangles: Int32) -> Bool:
    """(F,) bool, triangles of three different vertices."""
    a, b, c = triangles.T
    return np.asarray((a != b) & (b != c) & (c != a), np.bool_)


def degenerate(mesh: TriangleMesh) -> Bool:
    """(F,) bool, triangles without area."""
    corners = mesh.vertices[mesh.triangles]
    longest = np.linalg.norm(corners - np.roll(corners, -1, 1), axis=2).max(1)
    double = np.linalg.norm(triangle_normals(mesh.vertices, mesh.triangles), axis=1)
    return np.asarray(double <= _FLAT * longest**2, np.bool_)


def volume_of(mesh: TriangleMesh) -> float:
    """Volume in mm³ that a closed surface encloses; negative when it faces inwards."""
    # About the middle, where the terms are small.
    points: Float64 = mesh.vertices - mesh.vertices.mean(0)
    normals = triangle_normals(points, mesh.triangles)
    return float(np.einsum("fc,fc->", points[mesh.triangles[:, 0]], normals) / 6)


def inspect(mesh: TriangleMesh) -> MeshFigures:
    """Look at a mesh."""
    mesh = merged(mesh)
    surface = TriangleMesh(mesh.vertices, mesh.triangles[proper(mesh.triangles)])
    edges = edges_of(surface.triangles)
    boundary, crowded = int((edges.count == 1).sum()), int((edges.count > 2).sum())
    closed = len(surface.triangles) > 0 and not boundary and not crowded
    area = np.linalg.norm(triangle_normals(surface.vertices, surface.triangles), axis=1).sum() / 2
    low, high = mesh.vertices.min(0).tolist(), mesh.vertices.max(0).tolist()
    return MeshFigures(
        vertices=len(mesh.vertices),
        triangles=len(mesh.triangles),
        components=edges.parts[0],
        boundary_edges=boundary,
        non_manifold_edges=crowded,
        degenerate_triangles=int(degenerate(mesh).sum()),
        watertight=closed,
        oriented=edges.oriented,
        solid=closed and edges.oriented and _solid(surface),
        area_mm2=float(area),
        volume_mm3=volume_of(surface) if closed and edges.oriented else None,
        lower_mm=(low[0], low[1], low[2]),
        upper_mm=(high[0], high[1], high[2]),
    )


def _solid(mesh: TriangleMesh) -> bool:
    shape = manifold3d.Manifold(
        manifold3d.Mesh64(np.ascontiguousarray(mesh.vertices), np.ascontiguousarray(mesh.triangles, np.uint64))
    )
    return bool(shape.status() == manifold3d.Error.NoError and not shape.is_empty() and shape.volume() > 0)
