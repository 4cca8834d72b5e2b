"""What closes mouth and eyes of a solid: pieces of skin around them, eyeballs and a plug, each a solid of its own."""

from dataclasses import dataclass

import manifold3d
import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from maquette.errors import MeshInvalid
from maquette.geometry.raster import Scene
from maquette.headmodel import HeadModel
from maquette.types import Bool, Float32, Float64, Int32
from services.meshproc.mesh import HeadMesh, fan, quad_components
from services.meshproc.openings import Opening, cone, open_edges

_MOUTH_DEPTH_MM = 20.0
"""How far the mouth's tip lies behind the hole around the lips."""

_EYE_DEPTH_MM, _EYE_INWARDS_MM = 35.0, 14.0
"""Where an eye's tip lies, from the middle of the eyeball: deep enough to look at the side of the nose from within."""

_PLUG_DEPTH, _PLUG_LIMITS_MM = 0.75, (1.0, 10.0)
"""Depth of an open mouth by its height."""

_OPEN_MM = 2.0
"""Height from which on an open mouth shows its teeth."""

_SOCKET_MM = 2.0
"""Depth of the gap that may stay between lids and eyeball."""

_INTO_SKIN_MM, _TEETH_INTO_LIPS_MM = 1.5, 3.0
"""How far a plug and teeth reaches into lips and lids: surfaces that run along each other cannot be united cleanly."""

_PLUG_EDGE_MM = 4.0
"""Length of the edges of a mouth's plug: longer ones could not be bent out of a way."""

_HIDDEN_MM = 0.02


def tip_of(model: HeadModel, vertices: Float32, opening: Opening) -> Float32:
    """(3,) float32 mm, the point inside the head that the cones of an opening run to."""
    if opening.name == "mouth":
        tip = vertices[opening.loop].mean(0)
        tip[2] = vertices[opening.border[:, 0], 2].min() - _MOUTH_DEPTH_MM
        return np.asarray(tip, np.float32)
    middle = vertices[: len(model.mean)][model.part(opening.name)].mean(0)
    inwards = -np.sign(middle[0]) * _EYE_INWARDS_MM
    return np.asarray(middle + np.array([inwards, 0, -_EYE_DEPTH_MM]), np.float32)


def filling(model: HeadModel, mesh: HeadMesh, points: Float32, opening: Opening) -> manifold3d.Manifold:
    """The union of the two halves of the skin around an opening, and of what fills it.

    Args:
        model: The model that the head is of.
        mesh: The head.
        points: (N, 3) float32 mm, its vertices and the tips.
        opening: The opening.

    Raises:
        MeshInvalid: A part bounds no solid.
    """
    skins = [_uncurled(points, half, opening) for half in (opening.upper, opening.lower)]
    turn = _turn(points, skins[0], skins[1], opening)
    component = quad_components(model)[mesh.source]
    if opening.name == "mouth":
        depth = float(np.clip(turn.gap * _PLUG_DEPTH, *_PLUG_LIMITS_MM))
        solids = [turn.wedge(_INTO_SKIN_MM, depth).refine_to_length(_PLUG_EDGE_MM)]
        if turn.gap > _OPEN_MM:
            teeth = component == model.component_names.index("teeth")
            solids.append(_teeth(points, fan(mesh.quads[teeth]), turn))
    else:
        solids = [turn.wedge(_INTO_SKIN_MM, _SOCKET_MM)]
        ball = component == model.component_names.index(opening.name)
        skins.append(_front(points, fan(mesh.quads[ball]), opening))
    for skin in skins:
        solids.append(manifold(points, np.concatenate([skin, cone(open_edges(skin), opening.tip)]), opening.name))
    return manifold3d.Manifold.batch_boolean(solids, manifold3d.OpType.Add)


def manifold(points: Float32, faces: Int32, name: str) -> manifold3d.Manifold:
    """A solid that can be united with others.

    Args:
        points: (N, 3) float32 mm; more than ``faces`` use.
        faces: (F, 3) int32, closed.
        name: What an error calls it.

    Raises:
        MeshInvalid: The faces bound no solid.
    """
    # Points that no face uses would be kept; marking is cheaper than sorting all corners.
    used = np.zeros(len(points), bool)
    used[faces] = True
    number = np.cumsum(used, dtype=np.uint32) - np.uint32(1)
    solid = manifold3d.Manifold(manifold3d.Mesh(np.ascontiguousarray(points[used]), number[faces]))
    if solid.status() != manifold3d.Error.NoError:
        raise MeshInvalid(f"expected the {name} to bound a solid, found {solid.status().name}")
    return solid


@dataclass(frozen=True, eq=False)
class _Turn:
    """The line along which lips or lids turn inwards.

    Attributes:
        above: (A, 3) float64 mm, its points on the upper lip or lid.
        below: (B, 3) float64 mm, its points on the lower one.
        tip: (3,) float64 mm, the tip behind it.
        gap: mm between both in the middle.
    """

    above: Float64
    below: Float64
    tip: Float64
    gap: float

    def wedge(self, aside: float, depth: float) -> manifold3d.Manifold:
        """The convex hull of the tip and the line, after the line has moved into lips or lids and towards the tip.

        Args:
            aside: mm into lips or lids.
            depth: mm towards the tip.
        """
        line = np.concatenate([self.above + [0, aside, 0], self.below - [0, aside, 0]])
        across = line[:, 0] - line[:, 0].mean()
        line[:, 0] += across * (2 * aside / np.ptp(across))
        line += (self.tip - line) * (depth / np.linalg.norm(line - self.tip, axis=1, keepdims=True))
        return manifold3d.Manifold.hull_points(np.concatenate([line, self.tip[None]]))


def _turn(points: Float32, upper: Int32, lower: Int32, opening: Opening) -> _Turn:
    """Find the line.

    Args:
        points: (N, 3) float32 mm.
        upper: (F, 3) int32, skin of the upper lip or lid up to it.
        lower: (F, 3) int32, the same of the lower one.
        opening: Mouth or eye.
    """
    ends = np.concatenate([np.intersect1d(upper, lower), opening.border[:, 0]])
    above, below = (points[np.setdiff1d(open_edges(half), ends)].astype(np.float64) for half in (upper, lower))
    x = np.concatenate([above, below])[:, 0]
    heights = [side[np.abs(side[:, 0] - x.mean()) < np.ptp(x) / 4, 1].mean() for side in (above, below)]
    return _Turn(above, below, points[opening.tip].astype(np.float64), float(heights[0] - heights[1]))


def _teeth(points: Float32, faces: Int32, turn: _Turn) -> manifold3d.Manifold:
    """What can be seen of the teeth, as one solid: their roots end within the lips."""
    used, local = np.unique(faces, return_inverse=True)
    a, b = local.ravel(), np.roll(local.reshape(-1, 3), 1, 1).ravel()
    graph = sparse.coo_array((np.ones(len(a)), (a, b)), shape=(len(used), len(used)))
    count, tooth = connected_components(graph, directed=False)
    owner = tooth[local.reshape(-1, 3)[:, 0]]
    teeth = [manifold(points, faces[owner == k], "tooth") for k in range(count)]
    return manifold3d.Manifold.batch_boolean(teeth, manifold3d.OpType.Add) ^ turn.wedge(_TEETH_INTO_LIPS_MM, 0)


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
    inside = _in_window(points, np.unique(ball), opening)
    corner = points[ball] - points[opening.tip]
    outwards = np.einsum("fc,fc->f", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])) > 0
    return np.asarray(ball[outwards & inside[ball].all(1)], np.int32)


def _in_window(points: Float32, which: Int32, opening: Opening) -> Bool:
    """(N,) bool, those of some points that lie inside the cone from the hole around an opening to the tip."""
    tip = points[opening.tip]
    skin = np.concatenate([opening.upper, opening.lower])
    # Only as far as lies nearer to the opening than to the hole: straight edges must not leave the cone.
    middle = points[skin].mean(1)
    inner, outer = (cKDTree(points[edge]).query(middle)[0] for edge in (opening.loop, opening.border[:, 0]))
    over = cone(np.stack([opening.loop, np.roll(opening.loop, -1)], 1), len(points))
    window = np.concatenate([points, points[opening.loop].mean(0, keepdims=True)])
    inside = np.zeros(len(points), bool)
    # Without the points of all the rest, which a scene would copy.
    used, local = np.unique(np.concatenate([skin[inner < outer], over]), return_inverse=True)
    scene = Scene(window[used], local.reshape(-1, 3))
    inside[which] = scene.cast(tip, points[which] - tip).covered
    return inside


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
