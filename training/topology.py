"""The head model's own mesh: quads laid out on a source surface, each vertex bound to a point of it.

One half of the skin is meshed with quads in its flattening, where the edge flow follows the openings and the midline;
the other half is its mirror image. Mouth, eye sockets and eyeballs are rings of quads; gums and tongue are meshed like
the skin; teeth are simplified triangles.
"""

from dataclasses import dataclass

import igl
import numpy as np
import pynanoinstantmeshes
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from numpy.typing import NDArray

from maquette.geometry.raster import Scene
from maquette.geometry.surface import boundary_edges, edges
from training.flattening import Flattening, boundary_loops
from training.interior import relax
from training.sources import ShapeLibrary

Array = NDArray[np.float64]
Index = NDArray[np.int64]

# Degrees from the gaze axis. On ICT-FaceKit's eyeball the fifth lies 5.85 mm from it: the iris.
_EYE_RINGS = (4.5, 8.0, 12.0, 16.0, 20.5, 25.0, 32.0, 43.0, 56.0, 72.0, 90.0, 112.0, 135.0, 158.0)
EYE_SEGMENTS = 24
IRIS_RING = 4  # index into the rings: the edge of the iris
PUPIL_RING = 1


@dataclass
class Part:
    """A patch of the mesh under construction.

    Attributes:
        corners: (N, 3) source vertices that carry each vertex.
        weights: (N, 3) barycentric.
        quads: (Q, 4) local; a triangle repeats its last corner.
        uv: (N, 2) layout of the patch in its own plane, or None.
    """

    corners: Index
    weights: Array
    quads: Index
    uv: Array | None = None

    def points(self, vertices: NDArray[np.floating]) -> Array:
        """Positions on some vertices of the source: (N, 3)."""
        return np.asarray(np.einsum("nkc,nk->nc", vertices[self.corners].astype(np.float64), self.weights), np.float64)


def mesh_half(layout: Array, triangles: Index, source: Index, fixed: Index, vertex_goal: int) -> Part:
    """Quad-mesh a patch with boundaries (Jakob et al. 2015, Instant Field-Aligned Meshes).

    Args:
        layout: (N, 3) positions to mesh in; a flat patch has z = 0.
        triangles: (F, 3) into ``layout``.
        source: (N,) source vertex of each.
        fixed: Boundary vertices of the patch that the result must contain.
        vertex_goal: Vertices before the last subdivision, about a quarter of the result's.
    """
    vertices, quads = pynanoinstantmeshes.remesh(
        layout.astype(np.float32),
        triangles.astype(np.uint32),
        vertex_count=vertex_goal,
        rosy=4,
        posy=4,
        align_to_boundaries=True,
        extrinsic=True,
        smooth_iter=3,
        deterministic=True,
    )
    q = quads.astype(np.int64)
    p = vertices.astype(np.float64)
    flat = np.ptp(layout[:, 2]) == 0
    if flat:
        p[:, 2] = layout[0, 2]
    rims = _place_rims(p, q, layout, triangles, fixed)
    if flat:
        inner = np.ones(len(p), bool)
        inner[[v for v, *_ in rims]] = False
        p = relax(p, edges(np.concatenate([q[:, :3], q[:, [0, 2, 3]]])), inner, 2)
    _, face, closest = igl.point_mesh_squared_distance(p, layout, triangles)
    corners = triangles[face].copy()
    weights = barycentric(closest, layout, corners)
    for vertex, start, end, t in rims:
        corners[vertex] = (start, end, start)
        weights[vertex] = (1 - t, t, 0)
    moved = np.einsum("nkc,nk->nc", layout[corners], weights)
    return Part(source[corners], weights, q, moved[:, :2])


def barycentric(points: Array, vertices: Array, triangles: Index) -> Array:
    """(N, 3) weights of points that lie on their triangles (N, 3), clipped to these."""
    ends = (np.asfortranarray(vertices[triangles[:, k]]) for k in range(3))
    w = np.clip(igl.barycentric_coordinates(np.asfortranarray(points), *ends), 0, 1)
    return np.asarray(w / w.sum(1, keepdims=True), np.float64)


def _place_rims(
    p: Array, quads: Index, layout: Array, triangles: Index, fixed: Index
) -> list[tuple[int, int, int, float]]:
    """Put the rims of a new mesh onto those of the layout, evenly and in order; moves ``p``.

    Returns:
        Per rim vertex: itself, the ends of the layout's boundary edge that carries it, and where on it (0 to 1).
    """
    out = []
    loops = boundary_loops(triangles)
    for rim in boundary_loops(np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]])):
        gaps = [np.linalg.norm(p[rim, None] - layout[loop], axis=2).min(1).mean() for loop in loops]
        loop = loops[int(np.argmin(gaps))]
        a, b = layout[loop], layout[np.roll(loop, -1)]
        length = np.linalg.norm(b - a, axis=1)
        start = np.cumsum(length) - length
        total = length.sum()
        t = np.clip(((p[rim, None] - a) * (b - a)).sum(2) / length**2, 0, 1)
        edge = np.linalg.norm(a + t[..., None] * (b - a) - p[rim, None], axis=2).argmin(1)
        s = start[edge] + t[np.arange(len(rim)), edge] * length[edge]
        step = (np.diff(s, append=s[0]) + total / 2) % total - total / 2
        s = s[0] + np.r_[0, np.cumsum(step[:-1])]  # unwrapped, once around
        pinned = np.zeros(len(rim), bool)
        for vertex in fixed[np.isin(fixed, loop)]:
            at = start[np.flatnonzero(loop == vertex)[0]]
            i = int(np.abs((s - at + total / 2) % total - total / 2 + 1e9 * pinned).argmin())
            s[i] += (at - s[i] + total / 2) % total - total / 2
            pinned[i] = True
        for _ in range(12):
            mean = (np.r_[s[-1] - total, s[:-1]] + np.r_[s[1:], s[0] + total]) / 2
            s = np.where(pinned, s, 0.5 * s + 0.5 * mean)
        if (np.diff(s, append=s[0] + total) <= 0).any():
            raise ValueError("a rim folds over itself")
        place = s % total
        edge = np.clip(np.searchsorted(start, place, side="right") - 1, 0, len(loop) - 1)
        t_edge = np.clip((place - start[edge]) / length[edge], 0, 1)
        p[rim] = a[edge] + t_edge[:, None] * (b - a)[edge]
        for v, e, f in zip(rim, edge, t_edge, strict=True):
            out.append((int(v), int(loop[e]), int(loop[(e + 1) % len(loop)]), float(f)))
    return out


def skin_half(flat: Flattening, vertex_goal: int) -> Part:
    """The subject's left half of the skin; ``uv`` is its place in the flattening."""
    tri = flat.triangles[flat.points[flat.triangles][:, :, 0].mean(1) > 0]
    used, local = np.unique(tri, return_inverse=True)
    tri = local.reshape(-1, 3)
    x, plane = flat.points[used], flat.plane[used]
    layout = np.c_[plane, np.zeros(len(plane))]
    border = np.unique(boundary_edges(tri))
    middle = np.isin(np.arange(len(x)), border) & (np.abs(x[:, 0]) < 1e-9)
    loop = max(boundary_loops(tri), key=len)
    on = middle[loop]
    # Corners: where the outline changes between midline, mouth and rim, the crown, and the sharpest turns.
    change = np.flatnonzero(on != np.roll(on, 1))
    ends = [loop[i] if on[i] else loop[i - 1] for i in change]
    crown = loop[np.argmax(np.where(on & (np.abs(plane[loop, 0]) < 1e-6), plane[loop, 1], -np.inf))]
    return mesh_half(layout, tri, flat.source[used], np.unique([*ends, crown]), vertex_goal)


def weld_mirror(half: Part, library: ShapeLibrary) -> tuple[Part, Index]:
    """Join a half with its mirror image along x = 0.

    Returns:
        The whole part (``uv`` is that of the half for the left and its mirror image for the right; midline vertices
        keep the left one) and, for each vertex, its mirror vertex.
    """
    points = half.points(library.vertices)
    n = len(points)
    single = np.abs(points[:, 0]) < 1e-6
    twin = np.where(single, np.arange(n), n + np.cumsum(~single) - 1)
    sided = np.flatnonzero(~single)
    corners = np.concatenate([half.corners, library.mirror[half.corners[sided]]])
    weights = np.concatenate([half.weights, half.weights[sided]])
    mirrored = flip(twin[half.quads])
    uv = None if half.uv is None else np.concatenate([half.uv, half.uv[sided] * [-1, 1]])
    mirror = np.concatenate([twin, sided])
    return Part(corners, weights, np.concatenate([half.quads, mirrored]), uv), mirror


def disk_rings(library: ShapeLibrary, triangles: Index, loop: Part, rings: int) -> Part:
    """Line a bag-shaped patch with rings of quads that start at a loop on its boundary.

    Args:
        library: Source of the patch.
        triangles: (F, 3) source triangles of the patch, a disk.
        loop: The vertices to start from, in order; bound to the patch's boundary edges. An even number.
        rings: Rings between the loop and the bottom.

    Returns:
        ``rings`` times the loop's vertices, outermost first, and the bottom vertex; the quads index the loop's own
        vertices as 0..n-1 and the new ones from n on. ``uv`` of the new vertices in the unit disk.
    """
    used, local = np.unique(triangles, return_inverse=True)
    tri = local.reshape(-1, 3)
    x = library.vertices[used]
    border = boundary_loops(tri)[0]
    step = np.linalg.norm(x[border] - x[np.roll(border, 1)], axis=1)
    angle = np.zeros(len(x))
    angle[border] = -2 * np.pi * np.cumsum(step) / step.sum()
    disk = np.zeros((len(x), 2))
    disk[border] = np.stack([np.cos(angle[border]), np.sin(angle[border])], 1)
    e = edges(tri)
    n = len(x)
    a = sp.coo_matrix((np.ones(2 * len(e)), (np.r_[e[:, 0], e[:, 1]], np.r_[e[:, 1], e[:, 0]])), shape=(n, n)).tocsr()
    laplacian = (sp.diags(np.asarray(a.sum(1)).ravel()) - a).tocsr()
    inner = np.setdiff1d(np.arange(n), border)
    disk[inner] = spl.splu(laplacian[inner][:, inner].tocsc()).solve(-laplacian[inner][:, border] @ disk[border])
    place = {int(v): i for i, v in enumerate(used)}
    # A loop vertex lies on a boundary edge: its direction is that of the weighted mean of the edge's ends.
    ends = np.array([[place.get(int(v), -1) for v in row] for row in loop.corners])
    direction = np.einsum("nkc,nk->nc", disk[ends], loop.weights * (ends >= 0))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    flat = np.c_[disk, np.zeros(n)]

    def locate(p: Array) -> tuple[Index, Array]:
        _, face, c = igl.point_mesh_squared_distance(np.c_[p, np.zeros(len(p))], flat, tri)
        return tri[face], barycentric(c, flat, tri[face])

    # Radii that space the rings evenly along the surface, averaged over the directions.
    fine = np.concatenate([np.linspace(1, 0.1, 60), np.geomspace(0.1, 1e-3, 60)[1:], [0.0]])
    depth = np.zeros(len(fine))
    for d in direction[:: max(1, len(direction) // 12)]:
        t, w = locate(fine[:, None] * d)
        q = np.einsum("nkc,nk->nc", x[t], w)
        path = np.r_[0, np.cumsum(np.linalg.norm(np.diff(q, axis=0), axis=1))]
        depth += path / path[-1]
    depth /= depth[-1]
    radii = np.interp(np.arange(1, rings + 1) / (rings + 1), depth, fine)
    inside = np.concatenate([r * direction for r in radii] + [np.zeros((1, 2))])
    t, w = locate(inside)
    m = len(direction)
    layers = np.arange((rings + 1) * m).reshape(rings + 1, m)
    following = np.roll(layers, -1, 1)
    quads = [np.stack([layers[:-1], following[:-1], following[1:], layers[1:]], -1).reshape(-1, 4)]
    last, bottom = layers[-1], (rings + 1) * m
    i = np.arange(0, m, 2)
    quads.append(np.stack([last[i], last[(i + 1) % m], last[(i + 2) % m], np.full(len(i), bottom)], 1))
    ring = np.repeat(1 - np.arange(1, rings + 1) / (rings + 1.5), m)
    uv = np.concatenate([ring[:, None] * np.tile(direction, (rings, 1)), np.zeros((1, 2))])
    return Part(used[t], w, np.concatenate(quads), uv)


def eyeball(library: ShapeLibrary, name: str) -> Part:
    """Rings of quads around the gaze axis of one eyeball; vertex 0 is the front pole, the last the back pole."""
    tri = library.triangles[(library.part[library.triangles] == name).all(1)]
    x = library.vertices[np.unique(tri)]
    a = np.c_[2 * x, np.ones(len(x))]
    back = x[:, 2] < np.median(x[:, 2])  # the front carries the cornea's bulge
    centre = np.linalg.lstsq(a[back], (x[back] ** 2).sum(1), rcond=None)[0][:3]
    sign = -1.0 if centre[0] < 0 else 1.0
    polar = np.deg2rad(np.array(_EYE_RINGS))[:, None]
    around = 2 * np.pi * np.arange(EYE_SEGMENTS)[None] / EYE_SEGMENTS
    direction = np.stack(
        [sign * np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar) + 0 * around], -1
    )
    direction = np.concatenate([[[0.0, 0.0, 1.0]], direction.reshape(-1, 3), [[0.0, 0.0, -1.0]]])
    # From outside inwards: the first hit is the outer surface.
    hit = Scene(library.vertices, tri).cast(centre + 60 * direction, -direction)
    if not hit.covered.all():
        raise ValueError(f"{name} has holes")
    k, m = len(_EYE_RINGS), EYE_SEGMENTS
    layers = 1 + np.arange(k * m).reshape(k, m)
    following = np.roll(layers, -1, 1)
    quads = [np.stack([layers[:-1], layers[1:], following[1:], following[:-1]], -1).reshape(-1, 4)]
    i = np.arange(0, m, 2)
    quads.append(np.stack([layers[0][i], layers[0][(i + 1) % m], layers[0][(i + 2) % m], np.zeros(len(i), int)], 1))
    last = np.full(m, k * m + 1)
    quads.append(np.stack([following[-1], layers[-1], last, last], 1))
    q = np.concatenate(quads)
    if sign < 0:
        q = flip(q)
    # Most of the map for the front, where the iris is.
    radius = np.r_[0, np.repeat((np.array(_EYE_RINGS) / 180) ** 0.62, m), 1]
    spin = np.r_[0, np.tile(around[0], k), 0]
    uv = radius[:, None] * np.stack([sign * np.cos(spin), np.sin(spin)], 1)
    uv[-1] = 0  # the back pole gets corners of its own in the atlas
    return Part(tri[hit.triangle], hit.barycentric.astype(np.float64), q, uv)


def gums_half(library: ShapeLibrary, vertex_goal: int) -> Part:
    """The left half of gums and tongue."""
    tri = library.triangles[(library.part[library.triangles] == "gums").all(1)]
    tri = tri[library.vertices[tri][:, :, 0].mean(1) > 0]
    used, local = np.unique(tri, return_inverse=True)
    tri = local.reshape(-1, 3)
    x = library.vertices[used].copy()
    border = np.unique(boundary_edges(tri))
    middle = border[np.abs(x[border, 0]) < 0.5]
    x[middle, 0] = 0
    loop = max(boundary_loops(tri), key=len)
    on = np.isin(loop, middle)
    ends = [loop[i] if on[i] else loop[i - 1] for i in np.flatnonzero(on != np.roll(on, 1))]
    half = mesh_half(x, tri, used, np.unique(ends), vertex_goal)
    half.uv = None
    return half


def teeth_half(library: ShapeLibrary, triangles_each: int) -> Part:
    """The left teeth, simplified to about ``triangles_each`` triangles each (quadric error metric)."""
    import open3d as o3d
    from scipy.sparse.csgraph import connected_components

    tri = library.triangles[(library.part[library.triangles] == "teeth").all(1)]
    e = edges(tri)
    n = len(library.vertices)
    label = connected_components(sp.coo_matrix((np.ones(len(e)), (e[:, 0], e[:, 1])), shape=(n, n)), directed=False)[1]
    parts = []
    for component in np.unique(label[tri]):
        own = tri[label[tri[:, 0]] == component]
        if library.vertices[own][:, :, 0].mean() < 0:
            continue
        used, local = np.unique(own, return_inverse=True)
        mesh = o3d.geometry.TriangleMesh(
            o3d.utility.Vector3dVector(library.vertices[used]), o3d.utility.Vector3iVector(local.reshape(-1, 3))
        ).simplify_quadric_decimation(triangles_each)
        p = np.asarray(mesh.vertices)
        _, face, c = igl.point_mesh_squared_distance(p, library.vertices[used], local.reshape(-1, 3))
        t = own[face]
        w = barycentric(c, library.vertices, t)
        q = np.asarray(mesh.triangles).astype(np.int64)
        parts.append(Part(t, w, np.c_[q, q[:, 2]]))
    return join(parts)[0]


def flip(quads: Index) -> Index:
    """Turn quads over, keeping the diagonal that the loader cuts them along."""
    real = quads[:, 2] != quads[:, 3]
    return np.where(real[:, None], quads[:, [0, 3, 2, 1]], quads[:, [0, 2, 1, 1]])


def join(parts: list[Part]) -> tuple[Part, list[int]]:
    """Put parts side by side; returns the whole (without ``uv``) and each part's first vertex."""
    first = np.cumsum([0, *(len(p.corners) for p in parts)])
    quads = np.concatenate([p.quads + f for p, f in zip(parts, first, strict=False)])
    whole = Part(np.concatenate([p.corners for p in parts]), np.concatenate([p.weights for p in parts]), quads)
    return whole, [int(f) for f in first[:-1]]
