"""Joints, skinning weights and named regions of the head model."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, Delaunay

Array = NDArray[np.float64]
Bool = NDArray[np.bool_]

JOINTS = ("neck", "head", "jaw", "eye_left", "eye_right")
PARENTS = (-1, 0, 1, 1, 1)

# MediaPipe face mesh, by feature.
OVAL = [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]  # fmt: skip
LIPS_OUTER = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185]
EYE_RIGHT = [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246]
EYE_LEFT = [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466]
BROW_RIGHT = [46, 53, 52, 65, 55, 70, 63, 105, 66, 107]
BROW_LEFT = [276, 283, 282, 295, 285, 300, 293, 334, 296, 336]
NOSE = [
    168,
    193,
    245,
    188,
    114,
    217,
    126,
    209,
    129,
    64,
    98,
    97,
    2,
    326,
    327,
    294,
    358,
    429,
    355,
    437,
    343,
    412,
    465,
    417,
]
CHIN = [194, 140, 171, 175, 396, 369, 418, 421, 200, 201, 32, 262, 152, 148, 377]
IBUG68 = [127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356, 70, 63, 105, 66, 107, 336,
          296, 334, 293, 300, 168, 197, 5, 4, 98, 97, 2, 326, 327, 33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373,
          380, 61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87]  # fmt: skip


def joint_regressor(
    mean: Array, part: dict[str, Bool], rings: dict[str, NDArray[np.int64]], mirror: NDArray[np.int64]
) -> Array:
    """(J, V) weights of the vertices whose mean is each joint; symmetric.

    Args:
        mean: (V, 3) mm.
        part: (V,) masks ``skin``.
        rings: Vertices of each eyeball's equator, by joint name.
        mirror: (V,) mirror vertex.
    """
    skin = np.flatnonzero(part["skin"])

    def around(*points: tuple[float, float, float]) -> Array:
        row = np.zeros(len(mean))
        for p in points:
            for sign in (1, -1):
                near = skin[np.argsort(np.linalg.norm(mean[skin] - np.array(p) * [sign, 1, 1], axis=1))[:8]]
                row[near] += 1 / (16 * len(points))
        return (row + row[mirror]) / 2

    rows = [
        around((0, -105, -72), (0, -115, 30)),
        around((0, -25, -80), (0, -80, 62)),
        around((70, 12, 18)),  # in front of the ear: the axis through both joints of the jaw
    ]
    for name in ("eye_left", "eye_right"):
        row = np.zeros(len(mean))
        row[rings[name]] = 1 / len(rings[name])
        rows.append(row)
    return np.stack(rows)


def skin_weights(
    mean: Array, part: dict[str, Bool], joints: Array, jaw_open: NDArray[np.floating], upper: Bool
) -> Array:
    """(V, J) rows that sum to 1.

    The jaw's share of a vertex is how much of the lower teeth's rotation about the jaw joint its ``jawOpen``
    displacement shows.

    Args:
        mean: (V, 3) mm.
        part: (V,) masks ``eye_left``, ``eye_right``, ``teeth``.
        joints: (J, 3) mm.
        jaw_open: (V, 3) mm displacement.
        upper: (V,) True for what hangs on the skull inside the mouth.
    """
    teeth = part["teeth"] & ~upper
    arm = mean - joints[2]
    # Small rotation about x: d = w × arm, with w = (a, 0, 0): dy = -a z, dz = a y.
    turned = np.stack([0 * arm[:, 0], -arm[:, 2], arm[:, 1]], 1)
    angle = (turned[teeth] * jaw_open[teeth]).sum() / (turned[teeth] ** 2).sum()
    full = angle * turned
    jaw = np.clip((full * jaw_open).sum(1) / np.maximum((full**2).sum(1), 1e-6), 0, 1)
    jaw[np.linalg.norm(jaw_open, axis=1) < 0.02 * np.linalg.norm(jaw_open, axis=1).max()] = 0
    jaw[teeth] = 1
    jaw[upper & part["teeth"]] = 0
    level = mean[:, 1] + 0.25 * mean[:, 2]  # the neck bends along a slanted plane
    t = np.clip((level + 125) / 75, 0, 1)
    head = t * t * (3 - 2 * t)
    w = np.zeros((len(mean), len(JOINTS)))
    w[:, 2] = jaw
    w[:, 1] = head * (1 - jaw)
    w[:, 0] = (1 - head) * (1 - jaw)
    for name in ("eye_left", "eye_right"):
        w[part[name]] = 0
        w[part[name], JOINTS.index(name)] = 1
    return w


def regions(mean: Array, landmarks: Array, part: dict[str, Bool]) -> dict[str, Bool]:
    """Named vertex masks, from outlines of the landmarks seen from the front and from where things lie.

    Args:
        mean: (V, 3) mm.
        landmarks: (478, 3) mm on the mean.
        part: (V,) masks by component name.
    """
    skin = part["skin"]
    x, y, z = mean.T
    normal_front = z > landmarks[OVAL, 2].min() - 12

    def outline(indices: list[int], grow: float) -> Bool:
        p = landmarks[indices, :2]
        c = p.mean(0)
        hull = p[ConvexHull(p).vertices] - c
        hull = c + hull * (1 + grow / np.linalg.norm(hull, axis=1, keepdims=True))
        near = z > landmarks[indices, 2].min() - 12
        return np.asarray((Delaunay(hull).find_simplex(mean[:, :2]) >= 0) & skin & near & normal_front, bool)

    ears = skin & (np.abs(x) > 67) & (y > -25) & (y < 68) & (z > -38) & (z < 22)
    lips = outline(LIPS_OUTER, 1.5)
    line = landmarks[[61, 291, 13, 14], 1].mean()
    face = outline(OVAL, 0.0) & ~ears
    top = landmarks[10, 1]
    neck = skin & (y + 0.55 * z < -48) & (y > -128) & ~face
    out = {
        "face": face,
        "brow_left": outline(BROW_LEFT, 3),
        "brow_right": outline(BROW_RIGHT, 3),
        "eye_region_left": outline(EYE_LEFT, 9),
        "eye_region_right": outline(EYE_RIGHT, 9),
        "eyelids_left": outline(EYE_LEFT, 3),
        "eyelids_right": outline(EYE_RIGHT, 3),
        "nose": outline(NOSE, 2),
        "lip_upper": lips & (y >= line),
        "lip_lower": lips & (y < line),
        "chin": outline(CHIN, 3) & ~lips,
        "ear_left": ears & (x > 0),
        "ear_right": ears & (x < 0),
        "neck": neck,
        "bust": skin & (y <= -128),
    }
    middle = np.abs(x) < 26
    out["forehead"] = face & (y > landmarks[[105, 334], 1].mean() + 4)
    feature = lips | out["nose"] | out["chin"] | out["eye_region_left"] | out["eye_region_right"]
    below = face & (y < landmarks[[33, 263], 1].mean() - 8) & ~feature
    out["cheek_left"] = below & (x > 0) & (~middle | (y > line))
    out["cheek_right"] = below & (x < 0) & (~middle | (y > line))
    out["jaw"] = face & (y < line + 5) & ~lips
    hairline = top + 6 - 0.9 * np.clip(landmarks[10, 2] - z, 0, None)
    behind = (z < landmarks[[127, 356], 2].mean() - 14) & (y > -62)
    out["scalp"] = skin & ~ears & ~neck & ~face & ((y > np.maximum(hairline, 36)) | behind)
    out["skin"] = skin
    return out
