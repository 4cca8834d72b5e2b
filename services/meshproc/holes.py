"""Closing the holes of a surface."""

from collections import defaultdict

import manifold3d
import numpy as np

from maquette.types import Float64, Int32
from services.meshproc.files import TriangleMesh
from services.meshproc.inspection import edges_of


def close_holes(mesh: TriangleMesh, max_edges: int | None = None) -> TriangleMesh:
    """Close the holes of a surface; new triangles and vertices come after the old ones.

    A hole is cut into triangles in the plane that its rim lies nearest to. Where that would put a second surface on an
    edge that is there already, a vertex in the middle of the rim is joined to all of it instead.

    Args:
        mesh: Triangles of three different vertices, at most two an edge. Rims on which neighbours face different ways
            have no inside, and stay.
        max_edges: Edges around the largest hole to close; None closes all.
    """
    edges = edges_of(mesh.triangles)
    sides = np.flatnonzero(edges.count[edges.edge] == 1)
    start = mesh.triangles.ravel()[sides]
    end = np.roll(mesh.triangles, -1, 1).ravel()[sides]
    rims = [r for r in _rims(start, end) if max_edges is None or len(r) <= max_edges]
    if not rims:
        return mesh
    on_rims = np.unique(np.concatenate(rims))
    known = _edges_among(mesh.triangles, on_rims)
    vertices: list[Float64] = [mesh.vertices]
    triangles: list[Int32] = [mesh.triangles]
    count = len(mesh.vertices)
    for rim in rims:
        patch = _flat_patch(mesh.vertices[rim], rim, known)
        if patch is None:
            vertices.append(mesh.vertices[rim].mean(0, keepdims=True))
            patch = np.stack([rim, np.roll(rim, -1), np.full(len(rim), count)], 1)
            count += 1
        known.update(_keys(patch))
        triangles.append(np.asarray(patch, np.int32))
    return TriangleMesh(np.concatenate(vertices), np.concatenate(triangles))


def _rims(start: Int32, end: Int32) -> list[Int32]:
    """Loops, no vertex twice in any, against the edges that run from start to end."""
    following: dict[int, list[int]] = defaultdict(list)
    for a, b in zip(start[::-1].tolist(), end[::-1].tolist(), strict=True):
        following[b].append(a)
    rims = []
    for first in [*following]:
        path, place = [first], {first: 0}
        while following[path[-1]]:
            step = following[path[-1]].pop()
            if step not in place:
                place[step] = len(path)
                path.append(step)
                continue
            # Where the way meets itself, the loop between is cut off, and the way goes on from there.
            loop = path[place[step] :]
            rims.append(np.array(loop, np.int32))
            for vertex in loop[1:]:
                del place[vertex]
            del path[place[step] + 1 :]
    return rims


def _edges_among(triangles: Int32, vertices: Int32) -> set[int]:
    """Keys of the edges between some of the vertices."""
    inside = np.isin(triangles, vertices)
    return _keys(triangles[inside.sum(1) >= 2])


def _keys(triangles: Int32) -> set[int]:
    ends = np.stack([triangles, np.roll(triangles, -1, 1)], -1).reshape(-1, 2).astype(np.int64)
    return set((ends.min(1) << 32 | ends.max(1)).tolist())


def _flat_patch(points: Float64, rim: Int32, known: set[int]) -> Int32 | None:
    """(N - 2, 3) int32 triangles within a rim; None where one would lie along an edge that is there already."""
    if len(rim) == 3:
        return rim[None]
    flat = _projected(points)
    corners = np.asarray(manifold3d.triangulate([flat]), np.int32).reshape(-1, 3)
    if len(corners) != len(rim) - 2 or not np.array_equal(np.unique(corners), np.arange(len(rim))):
        return None
    patch = rim[corners]
    around = _keys_of_loop(rim)
    within = _keys(patch)
    return None if not around <= within or (within - around) & known else patch


def _keys_of_loop(rim: Int32) -> set[int]:
    after = np.roll(rim, -1)
    return set((np.minimum(rim, after).astype(np.int64) << 32 | np.maximum(rim, after)).tolist())


def _projected(points: Float64) -> Float64:
    """(N, 2) float64 of a loop (N, 3) in the plane square to its area, anticlockwise (Newell's method)."""
    middle = points - points.mean(0)
    normal = np.cross(middle, np.roll(middle, -1, 0)).sum(0)
    length = np.linalg.norm(normal)
    if length < 1e-12:
        # A rim without area lies nearly in any plane through its longest direction.
        return np.ascontiguousarray(np.linalg.svd(middle, full_matrices=False)[2][:2] @ middle.T).T.copy()
    normal /= length
    across = np.cross(normal, np.eye(3)[int(np.abs(normal).argmin())])
    across /= np.linalg.norm(across)
    return np.stack([middle @ across, middle @ np.cross(normal, across)], 1)
