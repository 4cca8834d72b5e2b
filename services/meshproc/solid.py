"""A head as one closed solid on a flat base, to be printed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import manifold3d
import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from maquette.errors import MeshInvalid
from maquette.geometry.raster import Scene
from maquette.headmodel import HeadModel
from maquette.types import Bool, Float32, Int32
from services.meshproc.detail import grid_of
from services.meshproc.mesh import HeadMesh, fan, model_mesh, quad_components
from services.meshproc.openings import Opening, Openings, cone, open_edges, openings_of

BASE_MM = 6.0
"""Height of the base below the lowest point of the bust's edge."""

_MOUTH_DEPTH_MM = 20.0
"""How far the mouth's tip lies behind the hole around the lips."""

_EYE_DEPTH_MM, _EYE_INWARDS_MM = 35.0, 14.0
"""Where an eye's tip lies, from the middle of the eyeball: deep enough to look at the side of the nose from within."""

_PLUG_DEPTH, _PLUG_LIMITS_MM = 0.6, (1.0, 10.0)
"""Depth of an open mouth by its height."""

_HIDDEN_MM = 0.02

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
    points = np.concatenate([mesh.vertices, *(_tip(model, mesh.vertices, o)[None] for o in cut.openings)])
    united = [
        manifold3d.Manifold.batch_boolean(_solids(model, mesh, points, opening), manifold3d.OpType.Add)
        for opening in cut.openings
    ]
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
    return _tidy(Solid(np.concatenate(vertices), np.concatenate(faces)))


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


def _tip(model: HeadModel, vertices: Float32, opening: Opening) -> Float32:
    """(3,) float32 mm, the point inside the head that the cones of an opening run to."""
    if opening.name == "mouth":
        tip = vertices[opening.loop].mean(0)
        tip[2] = vertices[opening.border[:, 0], 2].min() - _MOUTH_DEPTH_MM
        return np.asarray(tip, np.float32)
    middle = vertices[: len(model.mean)][model.part(opening.name)].mean(0)
    inwards = -np.sign(middle[0]) * _EYE_INWARDS_MM
    return np.asarray(middle + np.array([inwards, 0, -_EYE_DEPTH_MM]), np.float32)


def _solids(model: HeadModel, mesh: HeadMesh, points: Float32, opening: Opening) -> list[manifold3d.Manifold]:
    """The two halves of the skin around an opening, and what fills it."""
    skins = [_uncurled(points, half, opening) for half in (opening.upper, opening.lower)]
    if opening.name != "mouth":
        ball = quad_components(model)[mesh.source] == model.component_names.index(opening.name)
        skins.append(_front(points, fan(mesh.quads[ball]), opening))
    solids = [
        _manifold(points, np.concatenate([skin, cone(open_edges(skin), opening.tip)]), opening.name) for skin in skins
    ]
    if opening.name == "mouth":
        solids.append(_plug(points, skins[0], skins[1], opening))
    return solids


def _plug(points: Float32, upper: Int32, lower: Int32, opening: Opening) -> manifold3d.Manifold:
    """What closes the mouth from behind: the further back, the wider it stands open.

    Args:
        points: (N, 3) float32 mm.
        upper: (F, 3) int32, skin of the upper lip up to the line where it turns inwards.
        lower: (F, 3) int32, the same of the lower lip.
        opening: The mouth.
    """
    ends = np.concatenate([np.intersect1d(upper, lower), opening.border[:, 0]])
    above, below = (points[np.setdiff1d(open_edges(lip), ends)].astype(np.float64) for lip in (upper, lower))
    line = np.concatenate([above, below])
    centre, width = line[:, 0].mean(), np.ptp(line[:, 0])
    heights = [side[np.abs(side[:, 0] - centre) < width / 4, 1].mean() for side in (above, below)]
    back = float(np.clip((heights[0] - heights[1]) * _PLUG_DEPTH, *_PLUG_LIMITS_MM))
    tip = points[opening.tip].astype(np.float64)
    length = np.linalg.norm(line - tip, axis=1, keepdims=True)
    return manifold3d.Manifold.hull_points(np.concatenate([line + (tip - line) * (back / length), tip[None]]))


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
    bust = _manifold(points, np.concatenate([cut.rest, *caps, walls]), "bust")
    return _tidy(_largest(bust + manifold3d.Manifold.batch_boolean(list(united), manifold3d.OpType.Add)))


def _uncurled(points: Float32, skin: Int32, opening: Opening) -> Int32:
    """(F, 3) faces of half a ring of skin without those that curl inwards, which would cross the cone to the tip.

    They are left away from the opening up to the line where lip or lid turns; from there the cone runs on smoothly.
    """
    used, local = np.unique(skin, return_inverse=True)
    faces = local.reshape(-1, 3).astype(np.int32)
    outer = np.isin(used, opening.border[:, 0])
    turned = _turned(points[used] - points[opening.tip], faces) & ~outer[faces].any(1)
    curled = _connected(faces, turned, np.isin(used, opening.loop))
    return skin[_connected(faces, ~curled, outer)]


def _front(points: Float32, ball: Int32, opening: Opening) -> Int32:
    """(F, 3) faces of an eyeball that lie in front of the tip and inside the cone from the hole to it."""
    used = np.unique(ball)
    tip = points[opening.tip]
    lid = np.concatenate([opening.upper, opening.lower])
    # Only as far as lies nearer to the opening than to the hole: straight edges must not leave the cone.
    middle = points[lid].mean(1)
    inner, outer = (cKDTree(points[edge]).query(middle)[0] for edge in (opening.loop, opening.border[:, 0]))
    lid = lid[inner < outer]
    over = cone(np.stack([opening.loop, np.roll(opening.loop, -1)], 1), len(points))
    window = np.concatenate([points, points[opening.loop].mean(0, keepdims=True)])
    inside = np.zeros(len(points), bool)
    inside[used] = Scene(window, np.concatenate([lid, over])).cast(tip, points[used] - tip).covered
    corner = points[ball] - tip
    outwards = np.einsum("fc,fc->f", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])) > 0
    return np.asarray(ball[outwards & inside[ball].all(1)], np.int32)


def _turned(away: Float32, faces: Int32) -> Bool:
    """(F,) bool, faces that turn their back on the outside as seen from the origin, or have others in front of them."""
    radius = np.linalg.norm(away, axis=1, keepdims=True)
    corner = away[faces]
    outwards = np.einsum("fc,fc->f", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])) > 0
    reach = 2 * float(radius.max())
    seen = Scene(away, faces).cast(away / radius * reach, -away / radius).distance
    hidden = reach - seen > radius[:, 0] + _HIDDEN_MM
    return np.asarray(~outwards | hidden[faces].any(1))


def _connected(faces: Int32, chosen: Bool, seeds: Bool) -> Bool:
    """(F,) bool, the chosen faces that hang together by edges with one that has a seed vertex."""
    index = np.flatnonzero(chosen)
    own = faces[index].astype(np.int64)
    ends = np.sort(np.concatenate([own[:, [0, 1]], own[:, [1, 2]], own[:, [2, 0]]]), 1)
    key = ends[:, 0] * len(seeds) + ends[:, 1]
    order = np.argsort(key, kind="stable")
    twin = np.flatnonzero(np.diff(key[order]) == 0)
    a, b = order[twin] % len(index), order[twin + 1] % len(index)
    graph = sparse.coo_array((np.ones(len(a)), (a, b)), shape=(len(index), len(index)))
    label = connected_components(graph, directed=False)[1]
    reached = np.zeros(len(faces), bool)
    reached[index[np.isin(label, label[seeds[own].any(1)])]] = True
    return reached


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


def _manifold(points: Float32, faces: Int32, name: str) -> manifold3d.Manifold:
    # Points that no face uses would be kept; marking is cheaper than sorting all corners.
    used = np.zeros(len(points), bool)
    used[faces] = True
    number = np.cumsum(used, dtype=np.uint32) - np.uint32(1)
    solid = manifold3d.Manifold(manifold3d.Mesh(np.ascontiguousarray(points[used]), number[faces]))
    if solid.status() != manifold3d.Error.NoError:
        raise MeshInvalid(f"expected the {name} to bound a solid, found {solid.status().name}")
    return solid


def _largest(solid: manifold3d.Manifold) -> Solid:
    """The outer surface of the largest body: without loose crumbs, and without hollows that nothing leads to."""
    bodies = solid.decompose()
    if not bodies:
        raise MeshInvalid(f"expected a solid, found none ({solid.status().name})")
    mesh = max(bodies, key=lambda body: body.volume()).to_mesh()
    return Solid(np.asarray(mesh.vert_properties[:, :3], np.float32), np.asarray(mesh.tri_verts, np.int32))


def _tidy(solid: Solid) -> Solid:
    """Drop points that no face uses."""
    used = np.zeros(len(solid.vertices), bool)
    used[solid.triangles] = True
    return Solid(solid.vertices[used], (np.cumsum(used) - 1).astype(np.int32)[solid.triangles])


@lru_cache(maxsize=4)
def _coarse(model: HeadModel) -> HeadMesh:
    return model_mesh(model, model.mean)
