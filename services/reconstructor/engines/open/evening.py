"""What the fitted light leaves in the albedo: cast shadows, bounce and gloss, evened out as far as it looks right."""

import numpy as np

from maquette.types import Float32
from services.reconstructor.engines.open.atlas import Atlas, blur, resized, smoothstep, weighted_blur
from services.reconstructor.engines.open.linear import LUMINANCE, exp, log

_WIDE_MM = 15.0
_LUMINANCE_SHARE = 0.65
_TINT_SHARE = 0.45
_NEAR_SHARE = 0.85
_LIMIT = 0.6
_GLOSS_MM = 5.0
_GLOSS = 0.10
_GLOSS_KEPT = 0.4
_GLOSS_TINT = 0.7


def even_out(atlas: Atlas, albedo: Float32, plain: Float32, frontal: Float32, tone: Float32) -> Float32:
    """Draw the broad tone of plain skin towards one colour, and damp highlights.

    Only what varies over more than ``_WIDE_MM`` is changed, and what was seen obliquely over ``_GLOSS_MM``, by one
    smooth field, so that no halo can appear; brows, lips and beards have no say in it.

    Args:
        atlas: Of the head model.
        albedo: (H, N, 3) float32 linear.
        plain: (H, N) float32, 1 on plain skin.
        frontal: (H, N) float32, 0 where skin was seen obliquely or not at all: the fitted light is least sure there.
        tone: (3,) float32, the colour of the skin.
    """
    logs = log(albedo)
    half = (albedo.shape[0] // 2, albedo.shape[1] // 2)
    mm = 0.5 / atlas.texel_mm
    small = resized(logs, half)
    weight = resized((plain + np.float32(1e-3)) * atlas.skin, half)
    near = weighted_blur(small, weight, _GLOSS_MM * mm)
    goal = np.log(np.maximum(tone, 2e-3)).astype(np.float32)
    wide = weighted_blur(small, weight, _WIDE_MM * mm) - goal
    field = _TINT_SHARE * wide + ((_LUMINANCE_SHARE - _TINT_SHARE) * (wide @ LUMINANCE))[..., None]
    firm = resized(blur(frontal, 2 * _GLOSS_MM * mm), half)[..., None]
    field = field * firm + _NEAR_SHARE * (near - goal) * (1 - firm)
    field = _LIMIT * np.tanh(field / _LIMIT)

    near = resized(near, albedo.shape[:2])
    near_y = near @ LUMINANCE
    y = logs @ LUMINANCE
    gloss = np.maximum(y - near_y - np.float32(_GLOSS), 0) * plain
    # A highlight has the light's colour: under it goes the skin's.
    share = np.float32(_GLOSS_TINT) * smoothstep(gloss / 0.25)
    logs += (near + (y - near_y)[..., None] - logs) * share[..., None]
    logs -= np.float32(1 - _GLOSS_KEPT) * gloss[..., None]
    logs -= resized(np.asarray(field, np.float32), albedo.shape[:2])
    return exp(logs)
