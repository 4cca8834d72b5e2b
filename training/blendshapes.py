"""The 52 ARKit blendshapes on the model's mesh, from ICT-FaceKit's expressions."""

import numpy as np
from numpy.typing import NDArray

from maquette.headmodel import ARKIT_NAMES

Float = NDArray[np.float32]

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


def blendshapes(expressions: dict[str, Float], mean: NDArray[np.float64], tongue: NDArray[np.bool_]) -> Float:
    """(52, V, 3) mm in the order of ``ARKIT_NAMES``.

    Args:
        expressions: ICT-FaceKit's, carried to the mesh: (V, 3) mm each.
        mean: (V, 3) mm.
        tongue: (V,) the tongue's vertices.
    """
    shapes = [
        sum((expressions[n] for n in ict_names(name)), np.zeros(mean.shape, np.float32)) for name in ARKIT_NAMES
    ]
    shapes[ARKIT_NAMES.index("tongueOut")] = tongue_out(mean, tongue)
    return np.stack(shapes).astype(np.float32)


def tongue_out(mean: NDArray[np.float64], tongue: NDArray[np.bool_]) -> Float:
    """(V, 3) mm: the tongue slides forward, its tip most, and dips over the lower lip.

    No source here carries a tongue that leaves the mouth, so this one is drawn: a stretch along z from the root to
    34 mm at the tip, lowered by 5 mm there. With the jaw closed it would go through the teeth; as in ARKit, it is used
    together with ``jawOpen``.
    """
    out = np.zeros(mean.shape, np.float32)
    z = mean[tongue, 2]
    t = np.clip((z - z.min()) / np.ptp(z), 0, 1)
    out[tongue, 2] = 34 * t**1.5
    out[tongue, 1] = -5 * t**3
    return out
