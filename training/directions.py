"""What other libraries say about shape, on the model's mesh: GNM's identity modes and MakeHuman's artist-made targets.

The targets become interpretable directions of the model: identity coefficients whose displacement is nearest to the
target's.
"""

from pathlib import Path

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from maquette.geometry.surface import edges
from training.identity import vertex_areas
from training.registration import Registration, Template, register_gnm, register_makehuman
from training.sources import MakeHuman, load_gnm, load_makehuman

Array = NDArray[np.float64]
Float = NDArray[np.float32]
Index = NDArray[np.int64]

_ARTIST_SMOOTHING = 8.0
_SCAN_SMOOTHING = 0.3

_RIDGE = 0.02
"""Prior weight of a coefficient of one, against a squared displacement of one mm² averaged over the skin's area."""

_LEAST_EXPLAINED = 0.5

TARGETS: dict[str, dict[str, float]] = {
    "age": {"old": 1.0},
    "child": {"child": 1.0},
    "weight": {"weight": 1.0, "head-fat|incr": 1.0},
    "gender": {"gender": 1.0},
    "muscle": {"muscle": 1.0},
    "head_width": {"head-scale-horiz|incr": 1.0},
    "head_depth": {"head-scale-depth|incr": 1.0},
    "head_height": {"head-scale-vert|incr": 1.0},
    "face_round": {"head-round": 1.0},
    "face_square": {"head-square": 1.0},
    "forehead_height": {"forehead-scale-vert|incr": 1.0},
    "forehead_forward": {"forehead-trans|forward": 1.0},
    "brow_height": {"eyebrows-trans|up": 1.0},
    "brow_forward": {"eyebrows-trans|forward": 1.0},
    "eye_size": {"l-eye-scale|incr": 1.0, "r-eye-scale|incr": 1.0},
    "eye_opening": {f"{side}-eye-height{k}|incr": 1.0 for side in "lr" for k in (1, 2, 3)},
    "eye_distance": {"l-eye-trans|out": 1.0, "r-eye-trans|out": 1.0},
    "nose_width": {"nose-scale-horiz|incr": 1.0, "nose-nostrils-width|incr": 1.0},
    "nose_length": {"nose-scale-vert|incr": 1.0},
    "nose_depth": {"nose-scale-depth|incr": 1.0},
    "nose_hump": {"nose-hump|incr": 1.0},
    "nose_tip_up": {"nose-point|up": 1.0},
    "mouth_width": {"mouth-scale-horiz|incr": 1.0},
    "mouth_height": {"mouth-trans|up": 1.0},
    "lip_fullness": {f"mouth-{lip}lip-{what}|incr": 1.0 for lip in ("upper", "lower") for what in ("height", "volume")},
    "chin_forward": {"chin-prominent|incr": 1.0},
    "chin_height": {"chin-height|incr": 1.0},
    "jaw_width": {"chin-bones|incr": 1.0, "chin-width|incr": 1.0},
    "jaw_forward": {"chin-prognathism|incr": 1.0},
    "cheek_volume": {"l-cheek-volume|incr": 1.0, "r-cheek-volume|incr": 1.0},
    "cheek_bones": {"l-cheek-bones|incr": 1.0, "r-cheek-bones|incr": 1.0},
    "double_chin": {"neck-double|incr": 1.0},
    "ear_size": {"l-ear-scale|incr": 1.0, "r-ear-scale|incr": 1.0},
    "ear_wing": {"l-ear-wing|incr": 1.0, "r-ear-wing|incr": 1.0},
    "neck_width": {"neck-scale-horiz|incr": 1.0, "neck-scale-depth|incr": 1.0},
}
"""Name of a direction, and the MakeHuman targets that make it up."""


def directions(template: Template, modes: Float, heads: Path) -> tuple[tuple[str, ...], Float]:
    """Interpretable directions that the model's basis spans.

    Args:
        template: The model's mean.
        modes: (K, V, 3) mm, identity modes of one standard deviation.
        heads: Folder with the shape libraries.

    Returns:
        Names, and identity coefficients (D, K) of one unit of each: the target at full strength, without its rigid
        motion. Targets of which the basis explains less than half are left out.
    """
    names, coefficients, share = explained(template, modes, heads)
    keep = share >= _LEAST_EXPLAINED
    return tuple(n for n, k in zip(names, keep, strict=True) if k), coefficients[keep]


def explained(template: Template, modes: Float, heads: Path) -> tuple[tuple[str, ...], Float, Array]:
    """All candidate directions.

    Args:
        template: The model's mean.
        modes: (K, V, 3) mm.
        heads: Folder with the shape libraries.

    Returns:
        Names (D), coefficients (D, K) and the share of each target's squared displacement, averaged over the skin of
        head and neck without rigid motion, that they explain (D,).
    """
    source = load_makehuman(heads)
    registration = register_makehuman(template, heads, source)
    fields = makehuman_fields(template, registration, source, TARGETS)
    skin = template.skin_vertices
    points = template.points[skin]
    weight = vertex_areas(template.points, template.triangles)[skin] * (points[:, 1] > -100)
    weight /= weight.sum()
    rigid = _rigid_motions(points)
    root = np.sqrt(weight)[None, :, None]
    basis = (_without(modes[:, skin].astype(np.float64), rigid, weight) * root).reshape(len(modes), -1)
    wanted = (_without(fields[:, skin].astype(np.float64), rigid, weight) * root).reshape(len(fields), -1)
    gram = basis @ basis.T
    scale = (wanted**2).sum(1)
    # The ridge is relative to the target's own strength: a faint target must not be shrunk to nothing.
    right = basis @ wanted.T
    found = np.stack(
        [np.linalg.solve(gram + _RIDGE * s * np.eye(len(gram)), r) for r, s in zip(right.T, scale, strict=True)]
    )
    rest = ((wanted - found @ basis) ** 2).sum(1)
    return tuple(TARGETS), found.astype(np.float32), 1 - rest / scale


def makehuman_fields(
    template: Template, registration: Registration, source: MakeHuman, recipes: dict[str, dict[str, float]]
) -> Float:
    """MakeHuman targets on all vertices of the model: (D, V, 3) mm."""
    sums = [
        np.asarray(sum(source.targets[t].astype(np.float64) * w for t, w in recipe.items()))
        for recipe in recipes.values()
    ]
    skin = registration.carry_fields(np.stack(sums))
    return spread(template, skin, registration.matched, _ARTIST_SMOOTHING)


def gnm_modes(template: Template, heads: Path) -> Float:
    """GNM's identity modes, one standard deviation each, on all vertices of the model: (24, V, 3) mm.

    The skin follows GNM's skin, each eyeball GNM's eyeball as a ball (moved and scaled), and teeth, gums and tongue the
    affine motion of GNM's. The lining of mouth and sockets is spread smoothly from the skin.
    """
    source = load_gnm(heads)
    registration = register_gnm(template, heads)
    fields = source.identity.astype(np.float64)
    out = spread(template, registration.carry_fields(fields), registration.matched, _SCAN_SMOOTHING).astype(np.float64)
    turned = fields @ (registration.scale * registration.rotation.T)
    for side in ("left", "right"):
        own, members = source.part == f"{side}_eye", template.part[f"eye_{side}"]
        out[:, members] = _ball_motion(registration.aligned[own], turned[:, own], template.points[members])
    own = np.isin(source.part, ["upper_teeth_and_gums", "lower_teeth_and_gums", "tongue"])
    inner = template.part["teeth"] | template.part["gums"] | template.part["tongue"]
    out[:, inner] = _affine_motion(registration.aligned[own], turned[:, own], template.points[inner])
    return out.astype(np.float32)


def spread(template: Template, skin: Array, trusted: NDArray[np.bool_], smoothing: float) -> Float:
    """Smooth displacements of the skin and continue them over the whole model.

    On the mesh of skin, mouth and sockets the result minimises ``|d - d₀|²`` over the trusted vertices plus
    ``smoothing |D d|²`` with D each vertex minus the mean of its neighbours. The other parts follow the skin vertices
    near them.

    Args:
        template: The model.
        skin: (K, N, 3) mm at ``template.skin_vertices``.
        trusted: (N,) which of them to believe.
        smoothing: Weight.

    Returns:
        (K, V, 3) mm.
    """
    count = len(template.points)
    outer = np.zeros(count, bool)
    outer[np.unique(template.triangles[template.part["skin"][template.triangles].any(1)])] = True
    for name in ("mouth", "eye_socket"):
        outer |= template.part.get(name, False)
    at = np.flatnonzero(outer)
    local = np.full(count, -1)
    local[at] = np.arange(len(at))
    e = local[edges(template.triangles[outer[template.triangles].all(1)])]
    ones = np.ones(2 * len(e))
    shape = (len(at), len(at))
    a = sp.coo_matrix((ones, (np.r_[e[:, 0], e[:, 1]], np.r_[e[:, 1], e[:, 0]])), shape=shape).tocsr()
    degree = np.maximum(np.asarray(a.sum(1)).ravel(), 1)
    difference = sp.eye(len(at)) - sp.diags(1 / degree) @ a
    weight = np.zeros(len(at))
    weight[local[template.skin_vertices]] = trusted
    right = np.zeros((len(at), 3 * len(skin)))
    right[local[template.skin_vertices]] = (skin * trusted[:, None]).transpose(1, 0, 2).reshape(skin.shape[1], -1)
    # A membrane carries the field over what is not trusted; without it, D alone would let borders drift.
    untrusted = sp.diags((weight == 0).astype(float))
    system = sp.diags(weight) + smoothing * difference.T @ difference + difference.T @ untrusted @ difference
    solved = spl.splu((system + 1e-9 * sp.eye(len(at))).tocsc()).solve(right)
    out = np.zeros((len(skin), count, 3))
    out[:, at] = solved.reshape(len(at), len(skin), 3).transpose(1, 0, 2)
    rest = np.flatnonzero(~outer)
    if len(rest):
        gap, near = cKDTree(template.points[at]).query(template.points[rest], k=24)
        share = np.exp(-((gap / gap.mean(1, keepdims=True)) ** 2))
        share /= share.sum(1, keepdims=True)
        out[:, rest] = np.einsum("krnc,rn->krc", out[:, at][:, near], share)
    return out.astype(np.float32)


def _ball_motion(source: Array, fields: Array, points: Array) -> Array:
    """Translation and scaling of a ball by displacement fields: (K, N, 3) at some points.

    Args:
        source: (M, 3) mm.
        fields: (K, M, 3) mm there.
        points: (N, 3) mm.
    """
    arm = source - source.mean(0)
    move = fields.mean(1)
    growth = np.einsum("kmc,mc->k", fields - move[:, None], arm) / (arm**2).sum()
    return np.asarray(move[:, None] + growth[:, None, None] * (points - points.mean(0)), np.float64)


def _affine_motion(source: Array, fields: Array, points: Array) -> Array:
    """Least-squares affine motion by displacement fields: (K, N, 3) at some points; shapes as in ``_ball_motion``."""
    design = np.c_[source - source.mean(0), np.ones(len(source))]
    solution = np.linalg.lstsq(design, fields.transpose(1, 0, 2).reshape(len(source), -1), rcond=None)[0]
    moved = np.c_[points - source.mean(0), np.ones(len(points))] @ solution
    return np.asarray(moved.reshape(len(points), len(fields), 3).transpose(1, 0, 2), np.float64)


def _rigid_motions(points: Array) -> Array:
    """(6, N, 3) translations and small rotations of points."""
    centred = points - points.mean(0)
    turns = [np.cross(axis, centred) for axis in np.eye(3)]
    return np.stack([np.broadcast_to(axis, points.shape) for axis in np.eye(3)] + turns)


def _without(fields: Array, motions: Array, weight: Array) -> Array:
    """Fields (K, N, 3) less their least-squares share of some motions."""
    root = np.sqrt(weight)[None, :, None]
    basis = (motions * root).reshape(len(motions), -1)
    flat = (fields * root).reshape(len(fields), -1)
    share = np.linalg.solve(basis @ basis.T, basis @ flat.T)
    return np.asarray(fields - np.tensordot(share.T, motions, 1), np.float64)
