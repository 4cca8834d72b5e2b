"""Hair as paint: what the skin under a hair mesh looks like, or the head when there is none."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from maquette.types import Float32, Float64
from services.reconstructor.engines.open.atlas import Atlas, blur, smoothstep, weighted_blur
from services.reconstructor.engines.open.filling import close_holes
from services.reconstructor.engines.open.hairline import Evidence
from services.reconstructor.engines.open.linear import decode, luminance
from services.reconstructor.engines.open.merging import Seen
from services.reconstructor.engines.open.surface import grain
from services.reconstructor.engines.open.tissue import BROWS, EARS, Tissue, inner_face

_HAIRY = 0.3
_COVER = 0.9
_STRANDS = 0.55
_STRAND = 5
"""Pixels of the evidence; narrower hair is a strand, and hair is taken to lie this much further."""

_ALIKE = 0.7
"""How far painted hair takes the colour of what is worn over it."""

_SOFT_MM = 3.0
_RATHER_HAIR = 0.8
_REACH_MM = 9.0
_BLACK = np.array([0.02, 0.014, 0.01], np.float32)


@dataclass(frozen=True, eq=False)
class Scalp:
    """A layer of hair to paint over skin.

    Attributes:
        colour: (H, N, 3) float32 linear albedo.
        opacity: (H, N) float32, 0 to 1.
    """

    colour: Float32
    opacity: Float32


def fallen_hair(atlas: Atlas, evidence: Evidence, posed: Float32) -> Float32:
    """(H, N) float32, 0 to 1: where a photo shows hair in front of the skin or on it.

    Args:
        atlas: Of the head model.
        evidence: What the photo shows of hair.
        posed: (V, 3) float32 mm, the head as in the photo.
    """
    at = evidence.camera.project(posed.astype(np.float64)).astype(np.float32) - np.float32(0.5)
    # Single strands look well where they are painted, and frames of glasses are no hair.
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_STRAND, _STRAND))
    locks = cv2.morphologyEx(evidence.hair, cv2.MORPH_OPEN, kernel)
    # Hair mixes with skin at its borders, and the head is a little off where the fit is.
    wide = cv2.GaussianBlur(cv2.dilate(locks, kernel), (0, 0), 0.7)
    x, y = np.ascontiguousarray(at.T[..., None])
    found = cv2.remap(wide, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return atlas.image(np.asarray(found[:, 0], np.float32))


def paint_scalp(atlas: Atlas, seen: Seen, tissues: Sequence[Tissue], colour: Float64 | None = None) -> Scalp | None:
    """Hair as short as stubble, in the photo's colour and within the photo's hairline; None on a bald head.

    Where the photos show hair well its strands show; elsewhere it is grain, because a strand that a grazing look-up
    smears over the skull looks like nothing.

    Args:
        atlas: Of the head model.
        seen: What the photos show.
        tissues: Of each photo.
        colour: (3,) sRGB of the hair that is worn over it; None to take the colour seen.
    """
    fractions = [t.hairy for t in tissues if t.hairy is not None]
    if fractions and max(fractions) < _HAIRY:
        return None
    mm, place = 1 / atlas.texel_mm, _place(atlas)
    sure = seen.weight * seen.hair * place
    # What is neither skin nor known hair is mostly hair in another light.
    share = seen.hair + np.float32(_RATHER_HAIR) * np.clip(1 - seen.hair - seen.skin, 0, 1)
    opacity = _opacity(atlas, share, seen.weight * place)
    # Where it was seen the photo's own hairline is sharper.
    close = smoothstep(seen.weight * 1.6 - 0.3) * place
    opacity = (opacity + (share - opacity) * close) * place
    tone = np.broadcast_to(_tone(atlas, seen, sure), seen.albedo.shape)
    smooth = weighted_blur(seen.albedo, sure, 3 * mm)
    strands = smoothstep(sure * 2 - 0.3)
    spots = np.clip(1 + 0.16 * grain(sure.shape, 0.35 * mm, 11) + 0.07 * grain(sure.shape, 1.6 * mm, 12), 0.4, 1.8)
    fine = np.clip(seen.albedo / np.maximum(smooth, np.float32(1e-3)), 0.4, 2.2)
    base = close_holes(atlas, seen.albedo, sure, np.ascontiguousarray(tone))
    if colour is not None:
        # Under the worn hair's edge the painted one must not stand out.
        base += _ALIKE * (decode(np.rint(colour).astype(np.uint8)) - base)
    base *= spots[..., None] + (fine - spots[..., None]) * (_STRANDS * strands)[..., None]
    ragged = opacity + 1.1 * grain(sure.shape, 0.4 * mm, 13) * opacity * (1 - opacity) * (1 - close)
    cover = _COVER + (1 - _COVER) * strands
    return Scalp(base, np.asarray(np.clip(ragged, 0, 1) * cover, np.float32))


def _opacity(atlas: Atlas, share: Float32, known: Float32) -> Float32:
    """(H, N) float32, how much hair there is: as seen, and beyond what was seen as on the model's scalp."""
    sigma = _REACH_MM / atlas.texel_mm
    scalp = weighted_blur(atlas.image(_hairline(atlas)), atlas.skin.astype(np.float32), _SOFT_MM / atlas.texel_mm)
    near = weighted_blur(share, known, sigma)
    reached = smoothstep(blur(known, sigma) * 2)
    return np.clip((scalp + (near - scalp) * reached) * 1.3 - 0.15, 0, 1)


def _place(atlas: Atlas) -> Float32:
    """(H, N) float32, 1 where head hair grows or falls: the scalp, the forehead, the temples down to the eyes."""
    model = atlas.model
    height = model.mean[:, 1]
    brows = float(height[np.any([model.region(n) for n in BROWS], 0)].max())
    eyes = float(height[model.part("eye_left", "eye_right")].mean())
    ears = np.any([model.region(n) for n in EARS], 0)
    levels = np.stack([_hairline(atlas), smoothstep((height - brows) / 10), smoothstep((height - eyes) / 12)], 1)
    for _ in range(2):
        levels = np.asarray(atlas.averaging @ (levels * ~ears[:, None]).astype(np.float32))
    scalp, forehead, temples = np.moveaxis(atlas.image(levels), -1, 0)
    return np.asarray(np.maximum(np.maximum(scalp, forehead), temples * (1 - inner_face(atlas))), np.float32)


def _hairline(atlas: Atlas) -> Float32:
    """(V,) float32, 1 where head hair grows on the model: the scalp down to a line from behind the ears to the nape."""
    model = atlas.model
    _, y, z = model.mean.T
    ear = model.mean[model.region(EARS[0])]
    back = smoothstep((ear[:, 2].mean() - z) / (ear[:, 2].mean() - z.min()))
    line = ear[:, 1].min() + 24 - 44 * back
    return np.asarray(model.region("scalp") * smoothstep((y - line) / 16), np.float32)


def _tone(atlas: Atlas, seen: Seen, sure: Float32) -> Float32:
    """(3,) colour of the hair; of the brows where no hair was seen."""
    where = sure > 0.4
    if where.sum() < 300:
        brows = (atlas.region(*BROWS) > 0.6) & (seen.weight > 0.4)
        if brows.sum() < 50:
            return _BLACK
        y = luminance(seen.albedo)
        where = brows & (y <= np.median(y[brows]))
    return np.asarray(np.median(seen.albedo[where], axis=0), np.float32)
