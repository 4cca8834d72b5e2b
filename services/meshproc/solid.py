"""A head as one closed solid on a flat base, to be printed."""

from dataclasses import dataclass
from functools import lru_cache

import manifold3d
import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from maquette.errors import MeshInvalid
from maquette.geometry.raster import Scene
from maquette.headmodel import HeadModel
from maquette.types import Bool, Float32, Int32
from services.meshproc.detail import grid_of
from services.meshproc.mesh import HeadMesh, fan, model_mesh, quad_components
from services.meshproc.openings import Opening, Openings, cone, open_edges, openings_of

BASE_MM = 6.0
"""Height of the base below the lowest point of the bust's edge."""

_MOUTH_DEPTH_MM = 10.0
"""How far the mouth's tip lies behind the hole around the lips."""

_EYE_DEPTH_MM, _EYE_INWARDS_MM = 20.0, 8.0
"""Where an eye's tip lies, from the middle of the eyeball: deep enough to look at the side of the nose from within."""

_HIDDEN_MM = 0.02
_SEPARATION_MM, _SEPARATIONS = 0.002, 8


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

    Linings of mouth and eyes and what is in the mouth are left away. The wall below the bust's edge is vertical and
    ends in a plane. Skin that passes through itself at the lips and lids is united, and hollows without a way out are
    filled.

    Args:
        model: The model that the head is of.
        mesh: The head, of the model's faces or of the detailed mesh's.

    Raises:
        MeshInvalid: The parts bound no solid.
    """
    fine = len(mesh.vertices) != len(model.mean)
    cut = openings_of(model, grid_of(model).mesh if fine else _coarse(model))
    points = np.concatenate([mesh.vertices, *(_tip(model, mesh.vertices, o)[None] for o in cut.openings)])
    small = []
    for opening in cut.openings:
        for half in (opening.upper, opening.lower):
            small.append(_manifold(points, _star(points, half, opening), opening.name))
        if opening.name == "mouth":
            small.append(_plug(points, opening))
        else:
            ball = quad_components(model)[mesh.source] == model.component_names.index(opening.name)
            small.append(_manifold(points, fan(mesh.quads[ball]), opening.name))
    # Small solids first: uniting with the large one costs the most.
    inserts = manifold3d.Manifold.batch_boolean(small, manifold3d.OpType.Add)
    return _largest(_bust(points, cut) + inserts)


def _tip(model: HeadModel, vertices: Float32, opening: Opening) -> Float32:
    """(3,) float32 mm, the point inside the head that the cones of an opening run to."""
    if opening.name == "mouth":
        tip = vertices[opening.loop].mean(0)
        tip[2] = vertices[opening.outer, 2].min() - _MOUTH_DEPTH_MM
        return np.asarray(tip, np.float32)
    middle = vertices[: len(model.mean)][model.part(opening.name)].mean(0)
    inwards = -np.sign(middle[0]) * _EYE_INWARDS_MM
    return np.asarray(middle + np.array([inwards, 0, -_EYE_DEPTH_MM]), np.float32)


def _star(points: Float32, skin: Int32, opening: Opening) -> Int32:
    """(F, 3) faces of half a ring of skin and the cone from its edges to the tip.

    Skin that curls inwards beyond the line where lip or lid turns away would cross the cone; it is left away, from the
    opening up to that line, where the cone runs on smoothly.
    """
    used, local = np.unique(skin, return_inverse=True)
    faces = local.reshape(-1, 3).astype(np.int32)
    turned = _turned(points[used] - points[opening.tip], faces)
    curled = _connected(faces, turned, np.isin(used, opening.loop))
    kept = skin[_connected(faces, ~curled, np.isin(used, opening.outer))]
    return np.concatenate([kept, cone(open_edges(kept), opening.tip)])


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


def _plug(points: Float32, opening: Opening) -> manifold3d.Manifold:
    """What closes the mouth: everything between the edge of its lining and the tip."""
    return manifold3d.Manifold.hull_points(points[np.append(opening.loop, opening.tip)].astype(np.float64))


def _bust(points: Float32, cut: Openings) -> manifold3d.Manifold:
    """The skin around the openings, its holes closed, on its base."""
    rim = cut.rim
    after = np.roll(rim, -1)
    low = len(points) + np.arange(len(rim), dtype=np.int32)
    low_after = np.roll(low, -1)
    floor_points = points[rim].copy()
    floor_points[:, 1] = points[rim, 1].min() - BASE_MM
    walls = np.concatenate([np.stack([after, rim, low], 1), np.stack([after, low, low_after], 1)])
    # The floor faces down: in its plane x and z turn the right way as seen from below.
    plan = floor_points[::-1][:, [0, 2]].astype(np.float64)
    if _area(plan) < 0:
        raise MeshInvalid("expected the edge of the bust to run around it, found it turned over")
    floor = low[::-1][np.asarray(manifold3d.triangulate([plan]))]
    faces = np.concatenate([cut.rest, walls, floor])
    return _manifold(np.concatenate([points, floor_points]), faces, "bust")


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
    triangles = np.asarray(mesh.tri_verts, np.int32)
    return Solid(_separated(np.asarray(mesh.vert_properties[:, :3], np.float32), triangles), triangles)


def _separated(vertices: Float32, triangles: Int32) -> Float32:
    """Vertices of which no two are in one place, as readers of formats without indices take such for one vertex.

    Where surfaces touch, or come nearer than single precision tells apart, each vertex moves a little towards its
    neighbours.
    """
    out = vertices.copy()
    for _ in range(_SEPARATIONS):
        _, first, count = np.unique(out.view(np.dtype((np.void, 12))).ravel(), return_inverse=True, return_counts=True)
        alike = count[first.ravel()] > 1
        if not alike.any():
            return out
        corner = np.flatnonzero(alike[triangles].any(1))
        own = triangles[corner]
        near = np.zeros((len(out), 3))
        for k in range(3):
            for other in (own[:, (k + 1) % 3], own[:, (k + 2) % 3]):
                np.add.at(near, own[:, k], out[other] - out[own[:, k]])
        length = np.linalg.norm(near, axis=1, keepdims=True)
        step = near / np.maximum(length, 1e-9) * _SEPARATION_MM
        out[alike] += step[alike].astype(np.float32)
    raise MeshInvalid("expected a solid whose vertices can be told apart, found some that cannot")


@lru_cache(maxsize=4)
def _coarse(model: HeadModel) -> HeadMesh:
    return model_mesh(model, model.mean)
