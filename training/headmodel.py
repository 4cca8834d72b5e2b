"""Make the head model file: ``python -m training.headmodel --heads FOLDER --landmarks FILE -o head.npz``."""

import argparse
from pathlib import Path

import igl
import numpy as np
from numpy.typing import NDArray

from maquette.geometry.surface import edges, unit
from maquette.headmodel.model import FORMAT, pack
from training.atlas import Atlas, boxed_uv, disk_uv, skin_uv
from training.blendshapes import GAZE_DEGREES, blendshapes, clear_eyeball, close_lids, draw_tongue_out, turn_eyeball
from training.directions import directions, gnm_modes
from training.flattening import boundary_loops, flatten_skin
from training.identity import principal_modes, vertex_areas
from training.interior import Lining, affine, relax, rotation, scaling
from training.registration import Template
from training.rig import IBUG68, JOINTS, PARENTS, joint_regressor, regions, skin_weights
from training.sources import ShapeLibrary, load_ict
from training.topology import (
    EYE_SEGMENTS,
    IRIS_RING,
    Part,
    barycentric,
    disk_rings,
    eyeball,
    flip,
    gums_half,
    join,
    skin_half,
    teeth_half,
    weld_mirror,
)

Array = NDArray[np.float64]
Index = NDArray[np.int64]

TOPOLOGY = "maquette-head-1"
COMPONENTS = ("skin", "eye_left", "eye_right", "teeth", "gums", "tongue", "mouth", "eye_socket")
SOURCES = (
    "ICT-FaceKit light, USC Institute for Creative Technologies, MIT",
    "GNM Head v3, Google, Apache-2.0",
    "MakeHuman base mesh and targets, the MakeHuman team, CC0-1.0",
)
# NoW's seven points as vertices of ICT-FaceKit.
_NOW7_ICT = (1507, 1528, 3742, 3721, 1147, 5708, 6213)
_EQUATOR_RING = 10
_GNM_SHARE = 0.25
"""Share of GNM's variation in the identity prior; the rest is ICT-FaceKit's."""


class Mesh:
    """The model's mesh bound to the ICT surface.

    Attributes:
        corners: (V, 3) source vertices.
        weights: (V, 3).
        quads: (Q, 4).
        uv: (T, 2).
        uv_quads: (Q, 4).
        component: (V,) index into ``COMPONENTS``.
        mirror: (V,).
        eye_start: First vertex of each eyeball.
        eye_rim: The skin's vertices around each eye opening, in order.
    """

    def __init__(self, ict: ShapeLibrary, *, skin_goal: int = 1500, gums_goal: int = 200, tooth_triangles: int = 90):
        skin_triangles = ict.triangles[(ict.part[ict.triangles] == "skin").all(1)]
        half = skin_half(flatten_skin(ict.vertices, skin_triangles), skin_goal)
        if half.uv is None:
            raise ValueError("the skin has no layout")
        skin, skin_mirror = weld_mirror(half, ict)
        parts: list[Part] = [skin]
        mirrors: list[Index] = [skin_mirror]
        components: list[int] = [COMPONENTS.index("skin")]
        atlas = Atlas()
        atlas.add(*skin_uv(half.uv, skin.quads, skin_mirror, len(half.quads)))
        extra_quads: list[Index] = []
        count = len(skin.corners)
        points = skin.points(ict.vertices)
        flat = np.concatenate([skin.quads[:, :3], skin.quads[:, [0, 2, 3]]])
        loops = [loop[::-1] for loop in boundary_loops(flat) if points[loop, 1].mean() > -100]
        mouth = next(loop for loop in loops if abs(points[loop, 0].mean()) < 1)
        socket = next(loop for loop in loops if points[loop, 0].mean() > 1)
        for loop, name, rings, slot in ((mouth, "mouth", 6, 2), (socket, "eye_socket", 4, 3)):
            if name == "mouth":  # start on the midline, so that rings mirror into themselves
                loop = np.roll(loop, -int(np.flatnonzero(skin_mirror[loop] == loop)[0]))
            tri = ict.triangles[(ict.part[ict.triangles] == name).any(1)]
            if name == "eye_socket":
                tri = tri[ict.vertices[tri][:, :, 0].mean(1) > 0]
            bag = disk_rings(ict, tri, Part(skin.corners[loop], skin.weights[loop], np.zeros((0, 4), int)), rings)
            if bag.uv is None:
                raise ValueError("the lining has no layout")
            n, m = len(loop), len(bag.corners)
            ring_uv = np.concatenate([unit(bag.uv[:n]), bag.uv])
            if name == "mouth":
                order = np.r_[0, np.arange(n - 1, 0, -1)]
                own = np.concatenate([count + r * n + order for r in range(rings)] + [[count + rings * n]])
                _symmetrise(bag, own - count, ict)
                parts.append(bag)
                mirrors.append(own)
                components.append(COMPONENTS.index(name))
                lookup = np.concatenate([loop, count + np.arange(m)])
                extra_quads.append(lookup[bag.quads])
                atlas.add(disk_uv(ring_uv * [-1, 1], slot), bag.quads)
                count += m
            else:
                other = Part(ict.mirror[bag.corners], bag.weights, bag.quads)
                for side, piece, first in (("left", bag, count), ("right", other, count + m)):
                    rim = loop if side == "left" else skin_mirror[loop]
                    lookup = np.concatenate([rim, first + np.arange(m)])
                    quads = bag.quads if side == "left" else flip(bag.quads)
                    parts.append(piece)
                    components.append(COMPONENTS.index(name))
                    extra_quads.append(lookup[quads])
                    atlas.add(
                        disk_uv(ring_uv * ([-1, 1] if side == "left" else [1, 1]), slot + (side == "right")), quads
                    )
                mirrors += [count + m + np.arange(m), count + np.arange(m)]
                count += 2 * m
        self.eye_start = {}
        self.eye_rim = {"eye_left": socket, "eye_right": skin_mirror[socket]}
        eyes = {name: eyeball(ict, name) for name in ("eye_left", "eye_right")}
        m = len(eyes["eye_left"].corners)
        for slot, name in enumerate(eyes):
            eye = eyes[name]
            self.eye_start[name] = count
            parts.append(eye)
            components.append(COMPONENTS.index(name))
            extra_quads.append(eye.quads + count)
            atlas.add(*_eye_uv(eye, slot))
            mirrors.append(np.arange(m) + (count + m if name == "eye_left" else count - m))
            count += m
        gums, gums_mirror = weld_mirror(gums_half(ict, gums_goal), ict)
        teeth, teeth_mirror = weld_mirror(teeth_half(ict, tooth_triangles), ict)
        inner, (_, teeth_at) = join([gums, teeth])
        inner_mirror = np.concatenate([gums_mirror, teeth_mirror + teeth_at])
        uv, uv_quads, inner_quads = boxed_uv(inner.points(ict.vertices), inner.quads, inner_mirror)
        atlas.add(uv, uv_quads)
        parts += [gums, teeth]
        components += [COMPONENTS.index("gums"), COMPONENTS.index("teeth")]
        mirrors.append(inner_mirror + count)
        extra_quads.append(inner_quads + count)
        self.corners = np.concatenate([p.corners for p in parts])
        self.weights = np.concatenate([p.weights for p in parts])
        self.quads = np.concatenate([skin.quads, *extra_quads])
        self.uv, self.uv_quads = atlas.finish()
        self.component = np.repeat(np.array(components, np.uint8), [len(p.corners) for p in parts])
        self.mirror = np.concatenate(mirrors)
        if not (self.mirror[self.mirror] == np.arange(len(self.mirror))).all():
            raise ValueError("the mirror map is no involution")
        self._turn_short_diagonals(ict)

    def carry(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Per-vertex values (..., V_source, 3) of the source on this mesh."""
        return np.asarray(
            np.einsum("...nkc,nk->...nc", values[..., self.corners, :], self.weights.astype(values.dtype))
        )

    def triangles(self) -> Index:
        """(F, 3), as the loader cuts the quads."""
        t = self.quads[:, np.array([[0, 1, 2], [0, 2, 3]])].reshape(-1, 3)
        return np.asarray(t[t[:, 1] != t[:, 2]], np.int64)

    def _turn_short_diagonals(self, ict: ShapeLibrary) -> None:
        """Start each quad at the corner from which the shorter diagonal goes."""
        p = self.carry(ict.vertices)
        q = self.quads
        gap = np.linalg.norm(p[q[:, 0]] - p[q[:, 2]], axis=1) - np.linalg.norm(p[q[:, 1]] - p[q[:, 3]], axis=1)
        turn = (gap > 1e-6) & (q[:, 2] != q[:, 3])
        self.quads[turn] = np.roll(q[turn], -1, 1)
        self.uv_quads[turn] = np.roll(self.uv_quads[turn], -1, 1)


def _symmetrise(bag: Part, mirror: Index, ict: ShapeLibrary) -> None:
    """Bind the right half of a bag to the mirror image of the left half's source points."""
    x = bag.points(ict.vertices)[:, 0]
    right = np.flatnonzero((x < 0) & (mirror != np.arange(len(mirror))))
    bag.corners[right] = ict.mirror[bag.corners[mirror[right]]]
    bag.weights[right] = bag.weights[mirror[right]]


def _eye_uv(eye: Part, slot: int) -> tuple[Array, Index]:
    """The eyeball's layout, its back pole opened into one corner per quad."""
    if eye.uv is None:
        raise ValueError("the eyeball has no layout")
    uv, quads = eye.uv, eye.quads.copy()
    pole = len(uv) - 1
    cap = np.flatnonzero((quads == pole).any(1))
    ring = np.array([[c for c in row if c != pole] for row in quads[cap]])
    quads[cap] = np.where(quads[cap] == pole, pole + np.arange(len(cap))[:, None], quads[cap])
    return disk_uv(np.concatenate([uv[:-1], unit(uv[ring].mean(1))]), slot), quads


def _iris_landmarks(mesh: Mesh) -> tuple[Index, Array]:
    """Vertices of landmarks 468-477: each iris's centre and its +x, +y, -x, -y edge; the right eye first."""
    vertices = []
    for name in ("eye_right", "eye_left"):
        ring = mesh.eye_start[name] + 1 + IRIS_RING * EYE_SEGMENTS
        quarter = EYE_SEGMENTS // 4
        turn = [0, 1, 2, 3] if name == "eye_left" else [2, 1, 0, 3]
        vertices += [mesh.eye_start[name], *(ring + quarter * k for k in turn)]
    corners = np.repeat(np.array(vertices)[:, None], 3, 1)
    return corners, np.tile([1.0, 0.0, 0.0], (10, 1))


def main() -> None:
    """Run the whole chain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=Path, required=True, help="folder with the shape libraries")
    parser.add_argument("--landmarks", type=Path, required=True, help="npz: points (468, 3) on the mean, spread (468,)")
    parser.add_argument("--modes", type=int, default=95)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    ict = load_ict(args.heads)
    mesh = Mesh(ict)
    mean = mesh.carry(ict.vertices)
    mean = (mean + mean[mesh.mirror] * [-1, 1, 1]) / 2
    triangles = mesh.triangles()
    component = mesh.component
    gums, teeth = component == COMPONENTS.index("gums"), component == COMPONENTS.index("teeth")
    expressions = {n: mesh.carry(e).astype(np.float32) for n, e in ict.expressions.items()}
    identity = mesh.carry(ict.identity).astype(np.float32)
    lower = np.linalg.norm(expressions["jawOpen"], axis=1) > 3
    gap = np.linalg.norm(mean[gums, None] - mean[None, teeth & lower], axis=2).min(1)
    inside_arch = lower[gums] & (np.abs(mean[gums, 0]) < 20) & (mean[gums, 1] > -43)
    component[np.flatnonzero(gums)[(gap > 5) & inside_arch]] = COMPONENTS.index("tongue")
    joins_tongue = np.zeros(len(mean), bool)
    joins_tongue[np.flatnonzero(gums)[(gap > 2) & lower[gums]]] = True
    part = {n: component == i for i, n in enumerate(COMPONENTS)}

    links = edges(triangles)
    lined = part["mouth"] | part["eye_socket"]
    mean = relax(mean, links, lined, 12)
    lining = Lining(links, lined)
    bite = part["teeth"] | part["gums"] | part["tongue"]
    for mode in identity:
        mode[bite] = affine(mean[bite], mode[bite])
        for eye in ("eye_left", "eye_right"):
            mode[part[eye]] = scaling(mean[part[eye]], mode[part[eye]])
        mode[:] = lining.fill(mode.astype(np.float64))
    rings = {n: s + 1 + _EQUATOR_RING * EYE_SEGMENTS + np.arange(EYE_SEGMENTS) for n, s in mesh.eye_start.items()}
    for name, shape in expressions.items():
        for eye in ("eye_left", "eye_right"):
            shape[part[eye]] = rotation(mean[part[eye]], shape[part[eye]], mean[rings[eye]].mean(0))
        for hard in (part["teeth"] & lower, part["teeth"] & ~lower):
            shape[hard] = rotation(mean[hard], shape[hard], mean[hard].mean(0))
        if name.startswith("eye"):
            eye = "eye_left" if name.endswith("_L") else "eye_right"
            centre = mean[rings[eye]].mean(0)
            if name.startswith("eyeLook"):
                shape[part[eye]] = turn_eyeball(mean[part[eye]], centre, name)
            lids = np.flatnonzero(part["skin"] & (np.linalg.norm(mean - centre, axis=1) < 19))
            if name.startswith("eyeBlink"):
                close_lids(mean, shape, mesh.eye_rim[eye], links)
            clear_eyeball(mean, shape, lids, triangles[part[eye][triangles].all(1)], centre)

    with np.load(args.landmarks) as z:
        points, spread = z["points"].astype(np.float64), z["spread"].astype(np.float64)
    skin_triangles = triangles[part["skin"][triangles].all(1)]
    _, face, closest = igl.point_mesh_squared_distance(points, mean, skin_triangles)
    corners = skin_triangles[face]
    bary = barycentric(closest, mean, corners)
    iris_corners, iris_weights = _iris_landmarks(mesh)
    corners = np.concatenate([corners, iris_corners])
    bary = np.concatenate([bary, iris_weights])
    landmarks = np.einsum("lkc,lk->lc", mean[corners], bary)

    weight = vertex_areas(mean, triangles) * np.where(part["skin"], 1.0, 0.02)
    weight *= np.where((mean[:, 2] > 20) & (mean[:, 1] > -85), 1.0, 0.15)
    template = Template(mean, triangles, part, corners, bary)
    libraries = [(identity, 1 - _GNM_SHARE), (gnm_modes(template, args.heads), _GNM_SHARE)]
    modes = principal_modes(libraries, weight, args.modes)
    shapes = blendshapes(expressions, draw_tongue_out(mean, links, part["tongue"], joins_tongue))
    direction_names, direction_codes = directions(template, modes, args.heads)

    skin = np.flatnonzero(part["skin"])
    now7 = [int(skin[np.linalg.norm(mean[skin] - ict.vertices[v], axis=1).argmin()]) for v in _NOW7_ICT]

    regressor = joint_regressor(mean, part, rings, mesh.mirror)
    jaw_open = expressions["jawOpen"]
    skinning = skin_weights(mean, part, regressor @ mean, jaw_open, ~lower)
    masks = regions(mean, landmarks, part)

    meta = {
        "format": FORMAT,
        "name": "Maquette head",
        "version": "1.0.0",
        "topology": TOPOLOGY,
        "licence": "Apache-2.0",
        "sources": list(SOURCES),
        "component_names": list(COMPONENTS),
        "region_names": sorted(masks),
        "joint_names": list(JOINTS),
        "direction_names": list(direction_names),
        "gaze_degrees": GAZE_DEGREES,
    }
    arrays = {
        "mean": mean.astype(np.float32),
        "quads": mesh.quads.astype(np.int32),
        "uv": mesh.uv,
        "uv_quads": mesh.uv_quads,
        "identity_modes": modes,
        "expression_modes": shapes,
        "component": component,
        "regions": np.stack([masks[n] for n in sorted(masks)]),
        "joint_parents": np.array(PARENTS, np.int32),
        "joint_regressor": regressor.astype(np.float32),
        "skin_weights": skinning.astype(np.float32),
        "mirror": mesh.mirror.astype(np.int32),
        "landmark_vertices": corners.astype(np.int32),
        "landmark_weights": bary.astype(np.float32),
        "landmark_offset": np.zeros((478, 3), np.float32),
        "landmark_spread": np.r_[spread, np.full(10, 1.0)].astype(np.float32),
        "ibug68_vertices": corners[IBUG68].astype(np.int32),
        "ibug68_weights": bary[IBUG68].astype(np.float32),
        "now7": np.array(now7, np.int32),
        "directions": direction_codes,
    }
    pack(args.output, meta, arrays)
    print(f"{args.output}: {len(mean)} vertices, {args.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
