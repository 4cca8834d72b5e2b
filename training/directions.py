"""What other libraries say about shape, on the model's mesh: GNM's identity modes and MakeHuman's artist-made targets.

The targets become interpretable directions of the model: identity coefficients whose displacement is nearest to the
target's.
"""

from pathlib import Path

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from numpy.typing import NDArray

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
    "african": {"race_african": 1.0},
    "asian": {"race_asian": 1.0},
    "caucasian": {"race_caucasian": 1.0},
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
    "eye_opening": {
        f"{side}-eye-height{k}|incr": 1.0 for side in "lr" for k in (1, 2, 3)
    },
    "eye_distance": {"l-eye-trans|out": 1.0, "r-eye-trans|out": 1.0},
    "nose_width": {"nose-scale-horiz|incr": 1.0, "nose-nostrils-width|incr": 1.0},
    "nose_length": {"nose-scale-vert|incr": 1.0},
    "nose_depth": {"nose-scale-depth|incr": 1.0},
    "nose_hump": {"nose-hump|incr": 1.0},
    "nose_tip_up": {"nose-point|up": 1.0},
    "mouth_width": {"mouth-scale-horiz|incr": 1.0},
    "mouth_height": {"mouth-trans|up": 1.0},
    "lip_fullness": {
        f"mouth-{lip}lip-{what}|incr": 1.0 for lip in ("upper", "lower") for what in ("height", "volume")
    },
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
    place = cKDTreeParts(template)
    for members, side in place.eyes:
        name = f"{side}_eye"
        own = source.part == name
        out[:, members] = _ball_motion(registration.aligned[own], turned[:, own], template.points[members])
    own = np.isin(source.part, ["upper_teeth_and_gums", "lower_teeth_and_gums", "tongue"])
    out[:, place.inner] = _affine_motion(registration.aligned[own], turned[:, own], template.points[place.inner])
    return out.astype(np.float32)
