"""Mending meshes: vertices merged, triangles in the way removed, those that face the wrong way turned, holes closed."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order

from maquette.errors import MeshInvalid, OptionInvalid
from maquette.geometry.surface import triangle_normals
from maquette.types import Bool, Int32
from services.meshproc.files import MeshLimits, TriangleMesh
from services.meshproc.holes import close_holes
from services.meshproc.inspection import compact, edges_of, merged, proper
from services.meshproc.openlibrary import from_open3d, to_open3d

MOST_MERGE_MM = 10.0


@dataclass(frozen=True)
class RepairOptions:
    """How a mesh is mended.

    Attributes:
        merge_mm: Vertices nearer to each other than this are merged; 0 merges only those in one place.
        max_hole_edges: Holes with up to this many edges around are closed; None closes all, 0 none.
        min_component_triangles: Parts with fewer triangles are dropped; 0 drops none.
    """

    merge_mm: float = 0.0
    max_hole_edges: int | None = None
    min_component_triangles: int = 0


@dataclass(frozen=True, eq=False)
class Repaired:
    """A mended mesh.

    Attributes:
        mesh: It.
        actions: What was done: ``merged_vertices``, ``removed_degenerate_triangles``, ``removed_duplicate_triangles``,
            ``removed_non_manifold_triangles``, ``dropped_components``, ``oriented_triangles``, ``closed_holes``.
    """

    mesh: TriangleMesh
    actions: tuple[str, ...]


def repair(
    mesh: TriangleMesh, options: RepairOptions, limits: MeshLimits, check: Callable[[], None] = lambda: None
) -> Repaired:
    """Mend a mesh.

    Where more than two triangles meet at an edge the two largest are kept. A part that faces inwards is turned only if
    its own triangles did not face one way, or if the whole is inside out: a hollow inside a solid rightly does.

    Args:
        mesh: The mesh.
        options: How.
        limits: What the mended mesh has to keep within.
        check: Called between the steps; what it raises ends the work.

    Raises:
        OptionInvalid: An option is out of its range.
        MeshInvalid: Nothing of the mesh would be left, or closing its holes makes it too large.
        DependencyMissing: ``merge_mm`` is above 0, and Open3D cannot be used here.
    """
    if not (math.isfinite(options.merge_mm) and 0 <= options.merge_mm <= MOST_MERGE_MM):
        raise OptionInvalid(
            f"expected vertices to be merged within 0 to {MOST_MERGE_MM:g} mm, found {options.merge_mm:g}",
            field="merge_mm",
        )
    actions: list[str] = []
    whole = merged(mesh)
    if options.merge_mm > 0:
        check()
        whole = from_open3d(to_open3d(whole).merge_close_vertices(options.merge_mm))
    if len(whole.vertices) < len(np.unique(mesh.triangles)):
        actions.append("merged_vertices")
    vertices, triangles = whole.vertices, whole.triangles
    for action, keep in (
        ("removed_degenerate_triangles", proper),
        ("removed_duplicate_triangles", _first_of_each),
        ("removed_non_manifold_triangles", lambda t: _two_an_edge(TriangleMesh(vertices, t))),
        ("dropped_components", lambda t: _large(t, options.min_component_triangles)),
    ):
        check()
        kept = keep(triangles)
        if not kept.any():
            raise MeshInvalid(f"expected a mesh of which something is left, found none after {action}", action=action)
        if not kept.all():
            actions.append(action)
            triangles = triangles[kept]
    check()
    turned = _astray(triangles)
    triangles = np.where(turned[:, None], triangles[:, ::-1], triangles)
    check()
    closed = close_holes(TriangleMesh(vertices, triangles), options.max_hole_edges)
    limits.require_triangles(len(closed.triangles))
    check()
    touched = np.concatenate([turned, np.zeros(len(closed.triangles) - len(triangles), bool)])
    inwards = _inside_out(closed, touched)
    if (turned | inwards[: len(turned)]).any():
        actions.append("oriented_triangles")
    if len(closed.triangles) > len(triangles):
        actions.append("closed_holes")
    mended = np.where(inwards[:, None], closed.triangles[:, ::-1], closed.triangles)
    return Repaired(compact(TriangleMesh(closed.vertices, mended)), tuple(actions))


def _first_of_each(triangles: Int32) -> Bool:
    """(F,) bool, the first of the triangles that have the same vertices, in whatever order."""
    _, first = np.unique(np.sort(triangles, 1), axis=0, return_index=True)
    out = np.zeros(len(triangles), np.bool_)
    out[first] = True
    return out


def _two_an_edge(mesh: TriangleMesh) -> Bool:
    """(F,) bool, triangles without which no edge would have more than two; the largest stay."""
    edges = edges_of(mesh.triangles)
    area = np.linalg.norm(triangle_normals(mesh.vertices, mesh.triangles), axis=1)
    side_area = np.repeat(area, 3)
    crowded = np.flatnonzero(edges.count[edges.edge] > 2)
    # By edge, the largest first; then the place of each side among those of its edge.
    order = crowded[np.lexsort((crowded, -side_area[crowded], edges.edge[crowded]))]
    edge = edges.edge[order]
    begins = np.flatnonzero(np.r_[True, edge[1:] != edge[:-1]]) if len(edge) else np.zeros(0, np.int64)
    rank = np.arange(len(order)) - np.repeat(begins, np.diff(np.r_[begins, len(order)]))
    out = np.ones(len(mesh.triangles), np.bool_)
    out[order[rank >= 2] // 3] = False
    return out


def _large(triangles: Int32, least: int) -> Bool:
    """(F,) bool, triangles of parts that have at least so many."""
    count, part = edges_of(triangles).parts
    return np.asarray(np.bincount(part, minlength=count)[part] >= least, np.bool_)


def _astray(triangles: Int32) -> Bool:
    """(F,) bool, triangles to turn so that neighbours face the same way; in each part the fewer ones are turned."""
    edges = edges_of(triangles)
    if edges.oriented:
        return np.zeros(len(triangles), np.bool_)
    count, part = edges.parts
    order = np.argsort(edges.edge, kind="stable")
    pairs = np.flatnonzero(edges.edge[order[1:]] == edges.edge[order[:-1]])
    one, other = order[pairs], order[pairs + 1]
    odd = edges.forward[one] == edges.forward[other]
    size = len(triangles)
    # One more node that knows a triangle of each part, so that one search reaches all of them.
    _, first = np.unique(part, return_index=True)
    rows = np.concatenate([one // 3, np.full(count, size)])
    columns = np.concatenate([other // 3, first])
    graph = sparse.coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(size + 1, size + 1)).tocsr()
    _, parent = breadth_first_order(graph, size, directed=False)
    parent = np.asarray(parent, np.int64)
    parent[size] = size
    # Whether a triangle faces another way than its parent, by the edge between them.
    key = np.minimum(one // 3, other // 3) * (size + 1) + np.maximum(one // 3, other // 3)
    by_key = np.argsort(key, kind="stable")
    here = np.arange(size + 1)
    wanted = np.minimum(here, parent) * (size + 1) + np.maximum(here, parent)
    place = np.minimum(np.searchsorted(key[by_key], wanted), len(key) - 1)
    flip = np.where(key[by_key][place] == wanted, odd[by_key][place], False)
    # Each step doubles how far up the tree a triangle has looked.
    while (parent != size).any():
        flip = flip ^ flip[parent]
        parent = parent[parent]
    flip = flip[:size]
    turned = np.bincount(part, flip, count)
    return np.asarray(flip ^ (2 * turned > np.bincount(part, minlength=count))[part], np.bool_)


def _inside_out(mesh: TriangleMesh, touched: Bool) -> Bool:
    """(F,) bool, triangles of closed parts to turn so that the mesh encloses a positive volume."""
    edges = edges_of(mesh.triangles)
    count, part = edges.parts
    whole = np.ones(count, np.bool_)
    whole[part[np.flatnonzero(edges.count[edges.edge] != 2) // 3]] = False
    points = mesh.vertices - mesh.vertices.mean(0)
    terms = np.einsum("fc,fc->f", points[mesh.triangles[:, 0]], triangle_normals(points, mesh.triangles))
    volume = np.where(whole, np.bincount(part, terms, count), 0.0)
    changed = np.zeros(count, np.bool_)
    changed[part[touched]] = True
    turn = changed & (volume < 0)
    if np.where(turn, -volume, volume).sum() < 0:
        turn = whole & ~turn
    return np.asarray(turn[part], np.bool_)
