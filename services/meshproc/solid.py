"""A head as one closed solid on a flat base, to be printed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import manifold3d
import numpy as np
from scipy.spatial import cKDTree

from maquette.errors import MeshInvalid
from maquette.headmodel import HeadModel
from maquette.types import Bool, Float32, Int32
from services.meshproc.crossings import drawn_apart
from services.meshproc.detail import grid_of
from services.meshproc.fillings import filling, manifold, tip_of
from services.meshproc.mesh import HeadMesh, model_mesh
from services.meshproc.openings import Opening, Openings, cone, open_edges, openings_of

BASE_MM = 6.0
"""Height of the base below the lowest point of the bust's edge."""

_SEPTUM_MM = 0.35
_NOSTRIL_MM = 6.0


@dataclass(frozen=True, eq=False)
class Solid:
    """A closed, orientable surface without edges.

    Attributes:
        vertices: (V, 3) float32 mm, head frame.
        triangles: (F, 3) int32.
    """

    vertices: Float32
    triangles: Int32


def build_solid(model: HeadModel, mesh: HeadMesh) -> Solid:
    """Make a head solid: the skin with the eyeballs in it, the mouth closed between the lips, a base below the bust.

    Left away are the linings of mouth and eyes, what is in the mouth, and hair, whose sheets have no thickness. The
    wall below the bust's edge is vertical and ends in a plane. Lips and lids that pass through each other are united,
    and hollows between them that nothing leads to are filled.

    Args:
        model: The model that the head is of.
        mesh: The head, of the model's faces or of the detailed mesh's.

    Raises:
        MeshInvalid: The parts bound no solid.
    """
    grid = grid_of(model).mesh if len(mesh.vertices) != len(model.mean) else _coarse(model)
    cut = openings_of(model, grid)
    mesh = replace(mesh, vertices=_nostrils_apart(model, grid, mesh.vertices))
    points = np.concatenate([mesh.vertices, *(tip_of(model, mesh.vertices, o)[None] for o in cut.openings)])
    united = [filling(model, mesh, points, opening) for opening in cut.openings]
    base, walls = _base(points, cut.rim)
    points = np.concatenate([points, base])
    insets = [_inset(points, *pair) for pair in zip(cut.openings, united, strict=True)]
    vertices, faces = [points], [cut.rest, walls]
    count = len(points)
    for inset in insets:
        if inset is None:
            return _whole(points, cut, walls, united)
        faces.append(np.where(inset.triangles < 0, -1 - inset.triangles, inset.triangles + count))
        vertices.append(inset.vertices)
        count += len(inset.vertices)
    return _tidy(Solid(np.concatenate(vertices), np.concatenate(faces)), cut.calm)


def _nostrils_apart(model: HeadModel, grid: HeadMesh, vertices: Float32) -> Float32:
    """Vertices of a nose whose sides stay on their side of its middle, where a narrow one's nostrils would meet."""
    middle = np.flatnonzero(model.region("nose") & (model.mirror == np.arange(len(model.mirror))))
    low, high = model.mean[middle].min(0), model.mean[middle].max(0)
    place = grid.vertices
    near = (np.abs(place[:, 0]) > 2 * _SEPTUM_MM) & (np.abs(place[:, 0]) < _NOSTRIL_MM)
    near &= ((place[:, 1:] > low[1:] - _NOSTRIL_MM) & (place[:, 1:] < high[1:] + _NOSTRIL_MM)).all(1)
    side = np.flatnonzero(near)
    line = vertices[middle]
    centre = line[cKDTree(line[:, 1:]).query(vertices[side, 1:])[1], 0]
    sign = np.sign(place[side, 0])
    out = vertices.copy()
    out[side, 0] = centre + sign * np.maximum(sign * (vertices[side, 0] - centre), _SEPTUM_MM)
    return out


def _inset(points: Float32, opening: Opening, united: manifold3d.Manifold) -> Solid | None:
    """What fits into the hole that the ring around an opening leaves in the skin.

    Args:
        points: (N, 3) float32 mm.
        opening: The opening.
        united: The union of its solids.

    Returns:
        New points, and faces of which index -1 - i is point i; None if something comes through the outer cone.
    """
    solid = _largest(united)
    border = opening.border[:, 0]
    at = {points[i].tobytes(): int(i) for i in border}
    number = np.arange(len(solid.vertices))
    for vertex in np.flatnonzero(np.isin(solid.vertices[:, 0], points[border, 0])):
        number[vertex] = -1 - at.pop(solid.vertices[vertex].tobytes(), -1 - vertex)
    tip = (solid.vertices == points[opening.tip]).all(1)
    outer = tip[solid.triangles].any(1) & ((number[solid.triangles] < 0).sum(1) == 2)
    kept = solid.triangles[~outer]
    edge = open_edges(kept)
    if at or len(edge) != len(border) or (number[edge] >= 0).any():
        return None
    return Solid(solid.vertices, np.asarray(number[kept], np.int32))


def _whole(points: Float32, cut: Openings, walls: Int32, united: Sequence[manifold3d.Manifold]) -> Solid:
    """The union of everything: what is always right, and slow."""
    caps = [cone(opening.border[:, ::-1], opening.tip) for opening in cut.openings]
    bust = manifold(points, np.concatenate([cut.rest, *caps, walls]), "bust")
    return _tidy(_largest(bust + manifold3d.Manifold.batch_boolean(list(united), manifold3d.OpType.Add)))


def _base(points: Float32, rim: Int32) -> tuple[Float32, Int32]:
    """Wall and floor below the bust.

    Args:
        points: (N, 3) float32 mm.
        rim: (R,) int32, the edge of the bust.

    Returns:
        (R, 3) float32 mm, points to follow the others, and (F, 3) int32 faces.
    """
    floor_points = points[rim].copy()
    floor_points[:, 1] = points[rim, 1].min() - BASE_MM
    low = len(points) + np.arange(len(rim), dtype=np.int32)
    after, low_after = np.roll(rim, -1), np.roll(low, -1)
    walls = np.concatenate([np.stack([after, rim, low], 1), np.stack([after, low, low_after], 1)])
    # The floor faces down: in its plane x and z turn the right way as seen from below.
    plan = floor_points[::-1][:, [0, 2]].astype(np.float64)
    if _area(plan) < 0:
        raise MeshInvalid("expected the edge of the bust to run around it, found it turned over")
    floor = low[::-1][np.asarray(manifold3d.triangulate([plan]))]
    return floor_points, np.concatenate([walls, floor]).astype(np.int32)


def _area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return float(0.5 * (x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def _largest(solid: manifold3d.Manifold) -> Solid:
    """The outer surface of the largest body: without loose crumbs, and without hollows that nothing leads to."""
    bodies = solid.decompose()
    if not bodies:
        raise MeshInvalid(f"expected a solid, found none ({solid.status().name})")
    mesh = max(bodies, key=lambda body: body.volume()).to_mesh()
    return Solid(np.asarray(mesh.vert_properties[:, :3], np.float32), np.asarray(mesh.tri_verts, np.int32))


def _tidy(solid: Solid, calm: Bool | None = None) -> Solid:
    """Drop points that no face uses, and draw apart what passes through itself.

    Args:
        solid: What to tidy up.
        calm: (C,) bool, which of its first faces are known to cross nothing.
    """
    used = np.zeros(len(solid.vertices), bool)
    used[solid.triangles] = True
    triangles = (np.cumsum(used) - 1).astype(np.int32)[solid.triangles]
    known = np.zeros(len(triangles), bool)
    if calm is not None:
        known[: len(calm)] = calm
    return Solid(drawn_apart(solid.vertices[used], triangles, known), triangles)


@lru_cache(maxsize=4)
def _coarse(model: HeadModel) -> HeadMesh:
    return model_mesh(model, model.mean)
