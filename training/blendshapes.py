"""The 52 ARKit blendshapes on the model's mesh, from ICT-FaceKit's expressions."""

import numpy as np
from numpy.typing import NDArray

from maquette.geometry.raster import Scene
from maquette.geometry.transform import rotation_x, rotation_y
from maquette.headmodel import ARKIT_NAMES
from training.interior import Lining, grow

Float = NDArray[np.float32]

GAZE_DEGREES = {"Up": 25.0, "Down": 28.0, "In": 32.0, "Out": 32.0}
"""How far a full ``eyeLook`` blendshape turns the eyeball."""

# ARKit names that ICT-FaceKit keeps as a left and a right half.
_JOINED = {"browInnerUp": ("browInnerUp_L", "browInnerUp_R"), "cheekPuff": ("cheekPuff_L", "cheekPuff_R")}


def ict_names(name: str) -> tuple[str, ...]:
    """Which of ICT-FaceKit's expressions add up to an ARKit blendshape; none for ``tongueOut``."""
    if name in _JOINED:
        return _JOINED[name]
    if name == "tongueOut":
        return ()
    for side in ("Left", "Right"):
        if name.endswith(side) and name not in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
            return (f"{name.removesuffix(side)}_{side[0]}",)
    return (name,)


def blendshapes(expressions: dict[str, Float], tongue_out: Float) -> Float:
    """(52, V, 3) mm in the order of ``ARKIT_NAMES``.

    Args:
        expressions: ICT-FaceKit's, carried to the mesh: (V, 3) mm each.
        tongue_out: (V, 3) mm, the one shape that it lacks.
    """
    none = np.zeros_like(tongue_out)
    shapes = [sum((expressions[n] for n in ict_names(name)), none) for name in ARKIT_NAMES]
    shapes[ARKIT_NAMES.index("tongueOut")] = tongue_out
    return np.stack(shapes).astype(np.float32)


def draw_tongue_out(
    mean: NDArray[np.float64], edges: NDArray[np.int64], tongue: NDArray[np.bool_], between: NDArray[np.bool_]
) -> Float:
    """(V, 3) mm: the tongue slides forward, its tip most, and dips over the lower lip.

    No source here carries a tongue that leaves the mouth, so this one is drawn: the root is stretched along z, the
    front moves 30 mm out and 5 mm down as it is. With the jaw closed it would go through the teeth; as in ARKit, it is
    used together with ``jawOpen``.

    Args:
        mean: (V, 3) mm.
        edges: (E, 2) of the mesh.
        tongue: (V,) vertices that follow the stretch.
        between: (V,) vertices that join them smoothly to what stays.
    """
    out = np.zeros(mean.shape)
    z = mean[tongue, 2]
    t = np.clip((z - z.min()) / (0.62 * np.ptp(z)), 0, 1)
    t = t * t * (3 - 2 * t)
    out[tongue, 2] = 30 * t
    out[tongue, 1] = -5 * t
    return Lining(edges, between & ~tongue).fill(out).astype(np.float32)


def clear_eyeball(
    mean: NDArray[np.float64],
    shape: Float,
    lids: NDArray[np.int64],
    eye_triangles: NDArray[np.int64],
    centre: NDArray[np.float64],
    clearance: float = 0.3,
) -> None:
    """Lift the lids out of the eyeball where a full blendshape pushes them in; changes ``shape``.

    Args:
        mean: (V, 3) mm.
        shape: (V, 3) mm, the blendshape.
        lids: Vertices to keep outside.
        eye_triangles: (F, 3) of the eyeball.
        centre: (3,) mm, its centre.
        clearance: Least distance between lid and eyeball along the ray from the centre, mm.
    """
    posed = mean + shape
    arm = posed[lids] - centre
    length = np.linalg.norm(arm, axis=1)
    direction = arm / length[:, None]
    surface = 60 - Scene(posed, eye_triangles).cast(centre + 60 * direction, -direction).distance
    lift = np.where(np.isfinite(surface), np.clip(surface + clearance - length, 0, 3), 0)
    shape[lids] += (lift[:, None] * direction).astype(np.float32)


def close_lids(mean: NDArray[np.float64], shape: Float, rim: NDArray[np.int64], edges: NDArray[np.int64]) -> None:
    """Make a full blink close: both lids' rims come half as close to one line near the lower lid; changes ``shape``.

    Args:
        mean: (V, 3) mm.
        shape: (V, 3) mm, the blendshape.
        rim: Vertices around the eye opening, in order.
        edges: (E, 2) of the mesh.
    """
    x = mean[rim, 0]
    inner, outer = int(np.abs(x).argmin()), int(np.abs(x).argmax())
    t = (x - x[inner]) / (x[outer] - x[inner])
    ring = np.arange(len(rim))
    one = (ring - inner) % len(rim) <= (outer - inner) % len(rim)
    upper = one if mean[rim[one], 1].mean() > mean[rim[~one], 1].mean() else ~one
    posed = mean[rim] + shape[rim]
    grid = np.linspace(0, 1, 41)
    ends = (ring == inner) | (ring == outer)

    def curve(side: NDArray[np.bool_]) -> NDArray[np.float64]:
        keep = np.flatnonzero(side | ends)
        keep = keep[np.argsort(t[keep])]
        return np.stack([np.interp(grid, t[keep], posed[keep, k]) for k in range(3)], 1)

    line = 0.25 * curve(upper) + 0.75 * curve(~upper)
    for _ in range(6):
        line[1:-1] = (line[:-2] + 2 * line[1:-1] + line[2:]) / 4
    target = np.stack([np.interp(np.clip(t, 0, 1), grid, line[:, k]) for k in range(3)], 1)
    move = np.zeros(mean.shape)
    # The rims are the inner edges of the lids: half of the way, the outer edges meet.
    move[rim] = 0.5 * (target - posed)
    around = np.zeros(len(mean), bool)
    around[rim] = True
    band = grow(around, edges, 6) & ~around
    shape += Lining(edges, band).fill(move).astype(np.float32)


def turn_eyeball(mean: NDArray[np.float64], centre: NDArray[np.float64], name: str) -> Float:
    """(V, 3) mm displacement of an eyeball's vertices by a full ``eyeLook`` blendshape.

    The library's shapes move the lids alone.

    Args:
        mean: (V, 3) mm, the eyeball's vertices.
        centre: (3,) mm.
        name: ``eyeLook{Up,Down,In,Out}_{L,R}``.
    """
    left = 1 if name.endswith("_L") else -1
    turn = {
        "Up": rotation_x(-GAZE_DEGREES["Up"]),
        "Down": rotation_x(GAZE_DEGREES["Down"]),
        "In": rotation_y(-left * GAZE_DEGREES["In"]),
        "Out": rotation_y(left * GAZE_DEGREES["Out"]),
    }[name.removeprefix("eyeLook")[:-2]]
    arm = mean - centre
    return np.asarray(arm @ turn.T - arm, np.float32)
