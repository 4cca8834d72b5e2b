"""What a photo shows of hair: where it is, its colour, or that there is none."""

import itertools
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from maquette.geometry.raster import Scene
from maquette.headmodel import HeadModel
from maquette.headmodel.hair import SHADES
from maquette.rooms import PhotoView
from maquette.types import Bool, Camera, Float32, Float64, Int32, UInt8
from services.reconstructor.engines.open.headshot import head_square, square_person, square_pixels

_BALD_SKIN = 0.55
"""Share of the seen scalp that must look like skin for a bald head."""

_BALD_STEP = 6.5
"""Largest step of colour (CIELAB) between forehead and crown on a bald head; a hairline is a larger one."""

_BALD_FINENESS = 0.6
"""How much finer texture than the face a bald head may have; strands are finer than skin."""

_LEVEL = 4.0
"""mm that the outline of a head without hair may rise above the model's skull where the texture says nothing."""

_LEAST_SEEN = 60
"""Pixels of scalp that must be seen to say anything about hair."""

_BLACKEST = 24.0

_KEPT_CONTRAST, _KEPT_TINT = 0.75, 0.7
_LEAST_SHADES = np.array([0.35, 0.65, 0.97, 1.25, 1.7])
_GLISTEN = np.array([0.0, 0.0, 3.0, 11.0, 30.0])
_MOST_SHADES = np.array([0.6, 0.82, 1.03, 1.45, 2.1])

_NOSE_TIP, _NOSE_ROOT = 4, 168
"""MediaPipe landmarks."""

_BROWS = 9
_FRAME = 5
"""Pixels; what is narrower before the face below the brows is rather a frame of glasses than hair."""

_LEAST_HANGING = 300
_STRAIGHT = (0.58, 0.76)
"""Shares of the change across the strands in wavy and in straight hair."""

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


@dataclass(frozen=True)
class Evidence:
    """What a photo shows of hair, in a small square around the head.

    Attributes:
        camera: Camera of the square.
        hair: (N, N) float32, probability of hair.
        known: (N, N) bool, False outside the photo.
        bald: True when the scalp is seen and looks like skin.
        colour: (3,) float64 sRGB of the hair; a guess from the brows where none was seen.
        shades: (5, 3) float64 sRGB of its strands from the darkest to the lightest, see ``SHADES``.
        seen: How many pixels of hair were seen.
        waviness: How surely hanging hair is wavy and not straight, 0 to 1.
    """

    camera: Camera
    hair: Float32
    known: Bool
    bald: bool
    colour: Float64
    shades: Float64
    seen: int
    waviness: float


def look(view: PhotoView, camera: Camera, vertices: Float32, model: HeadModel) -> Evidence:
    """Find the hair in a photo.

    Skin is learned on the face, hair on what of the scalp is not like it; both are Gaussians in CIELAB. Hair is what is
    rather hair than skin, belongs to the person, is not in the middle of the face and hangs together with the hair on
    the scalp.
    """
    square = head_square(camera, vertices, model)
    pixels, known = square_pixels(view.photo.pixels, camera, square)
    person = square_person(view, camera, square) & known
    x = square.to_camera(vertices.astype(np.float64))
    raster = Scene(x, model.triangles).view(square)
    scalp, face, feature, upper = (
        _shown(raster.triangle, model.triangles, mask)
        for mask in (
            model.region("scalp"),
            model.region("face") | model.region("nose"),
            _features(model),
            model.region("forehead"),
        )
    )
    lab = _lab(np.asarray(cv2.medianBlur(pixels, 3), np.uint8))
    bare = face & person & ~feature & ~upper
    if bare.sum() < 50:
        bare = face & known & ~feature
    skin = Tone.of(lab[bare], (11.0, 5.0, 5.0))
    off = skin.distance(lab)
    above = _above(scalp, person)
    beside = _beside(raster.covered, person, square, vertices, model)
    seeds = (scalp | above | beside) & person
    tall = _rise(scalp, above & person, square, vertices)
    bald = _is_bald(pixels, off, scalp & person, bare, (upper | scalp | above) & known, upper, tall)
    unlike = seeds & (off > 2.3)
    source = unlike if unlike.sum() > 0.15 * max(seeds.sum(), 1) else seeds
    if bald or source.sum() < 30:
        tone = _brow_colour(raster.triangle, pixels, known, model)
        return Evidence(square, np.zeros_like(off), known, bald, tone, _shades(tone), 0, 0.0)
    hair_tone = Tone.of(lab[source], (9.0, 4.0, 4.0))
    like_hair, like_skin = hair_tone.density(lab), skin.density(lab)
    if (beside & ~above).sum() >= 40:  # hanging hair lies in another light than the crown
        like_hair = np.maximum(like_hair, 0.7 * Tone.of(lab[beside & ~above], (9.0, 4.0, 4.0)).density(lab))
    prior = np.full(off.shape, 0.9, np.float32)
    prior[raster.covered] = 0.5
    prior[scalp] = 0.85
    # A fringe of dark hair is told by its colour; light hair is more often a light forehead.
    prior[upper] = 0.4 if hair_tone.centre[0] < skin.centre[0] - 8 else 0.06
    like_hair, like_skin = prior * like_hair, (1 - prior) * like_skin
    odds = like_hair / (like_hair + like_skin + 1e-6)
    middle = _middle_of_face(raster.triangle, model)
    hair = odds * person * ~middle
    below = raster.covered & ~scalp & (np.arange(len(hair))[:, None] > _level(_BROWS, square, vertices, model))
    thick = cv2.morphologyEx((hair > 0.5).astype(np.uint8), cv2.MORPH_OPEN, np.ones((_FRAME, _FRAME), np.uint8)) > 0
    hair = np.where(below & ~thick, 0, hair)
    solid = ndimage.binary_opening(hair > 0.5, iterations=1) | ((hair > 0.5) & seeds)
    # Hair that hangs down behind an ear or a light is one with that above.
    labels, _ = ndimage.label(cv2.dilate(solid.astype(np.uint8), np.ones((9, 3), np.uint8)))
    kept = np.isin(labels, np.unique(labels[seeds & solid])) & solid
    hair = np.asarray(hair * cv2.dilate(kept.astype(np.uint8), np.ones((3, 3), np.uint8)), np.float32)
    sure = cv2.erode((hair > 0.6).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    sure = sure if sure.sum() >= 30 else hair > 0.5
    colour = _hair_colour(pixels[sure]) if sure.any() else _brow_colour(raster.triangle, pixels, known, model)
    shades = _shades(colour, pixels[sure] if sure.any() else None)
    hanging = (hair > 0.5) & known & (np.arange(len(hair))[:, None] > _level(_NOSE_ROOT, square, vertices, model))
    return Evidence(square, hair, known, False, colour, shades, int(sure.sum()), _waviness(pixels, hanging))


@dataclass(frozen=True)
class Tone:
    """A robust Gaussian in CIELAB.

    Attributes:
        centre: (3,) medians.
        spread: (3,) standard deviations.
    """

    centre: Float64
    spread: Float64

    @classmethod
    def of(cls, lab: Float32, least: tuple[float, float, float]) -> "Tone":
        """Fit to (P, 3) colours, with a least standard deviation per channel."""
        centre = np.median(lab, axis=0)
        spread = 1.4826 * np.median(np.abs(lab - centre), axis=0)
        return cls(centre.astype(np.float64), np.maximum(spread, least).astype(np.float64))

    def distance(self, lab: Float32) -> Float32:
        """(...) how many standard deviations colours (..., 3) are off."""
        return np.asarray(np.sqrt((((lab - self.centre) / self.spread) ** 2).sum(-1)), np.float32)

    def density(self, lab: Float32) -> Float32:
        """(...) the Gaussian's density."""
        volume = float(np.prod(self.spread)) * (2 * np.pi) ** 1.5
        return np.asarray(np.exp(-0.5 * self.distance(lab) ** 2) / volume, np.float32)


def _lab(pixels: UInt8) -> Float32:
    """(N, N, 3) CIELAB of sRGB pixels."""
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB), np.float32)


def _shown(triangle: Int32, triangles: Int32, mask: Bool) -> Bool:
    """(N, N) where a seen triangle lies in a vertex mask."""
    inside = np.asarray(mask[triangles].all(axis=1), bool)
    return np.asarray((triangle >= 0) & inside[triangle], bool)


def _features(model: HeadModel) -> Bool:
    """(V,) eyes, brows and lips: parts of the face that are not of its skin's colour."""
    names = [n for n in model.region_names if n.startswith(("brow", "eyelids", "lip"))]
    return np.asarray(np.any([model.region(n) for n in names], axis=0) | ~model.part("skin"), bool)


def _above(scalp: Bool, person: Bool) -> Bool:
    """(N, N) what lies above the seen scalp, column by column, and hangs together with it as the person does."""
    top = np.where(scalp.any(0), scalp.argmax(0), -1)
    rows = np.arange(len(scalp))[:, None]
    over = (rows <= top[None]) & person
    labels, _ = ndimage.label(over | (scalp & person))
    return np.asarray(np.isin(labels, np.unique(labels[scalp & person])) & over & (labels > 0), bool)


def _beside(covered: Bool, person: Bool, square: Camera, vertices: Float32, model: HeadModel) -> Bool:
    """(N, N) the person beside the head, above the tip of the nose: what can be there but hair?"""
    level = _level(_NOSE_TIP, square, vertices, model)
    rows = np.arange(len(covered))[:, None]
    # The outlines of ears and mask are not exact.
    near = cv2.dilate(covered.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return np.asarray(person & ~near & (rows < level), bool)


def _level(landmark: int, square: Camera, vertices: Float32, model: HeadModel) -> float:
    """Row of the square in which a landmark lies."""
    return float(square.project(model.landmarks(vertices)[landmark].astype(np.float64)[None])[0, 1])


def _waviness(pixels: UInt8, hanging: Bool) -> float:
    """Whether hanging hair is wavy: straight strands change from left to right only, waves downwards as well.

    Args:
        pixels: (N, N, 3) the square.
        hanging: (N, N) hair below the root of the nose.
    """
    inner = cv2.erode(hanging.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    if inner.sum() < _LEAST_HANGING:
        return 0.0
    light = np.log(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32) + np.float32(4))
    across, down = (float((cv2.Sobel(light, cv2.CV_32F, *way)[inner] ** 2).sum()) for way in ((1, 0), (0, 1)))
    straight = across / max(across + down, 1e-9)
    return float(np.clip((_STRAIGHT[1] - straight) / (_STRAIGHT[1] - _STRAIGHT[0]), 0, 1))


def _rise(scalp: Bool, above: Bool, square: Camera, vertices: Float32) -> float:
    """How many mm the person's outline rises above the skull, the median over the middle columns."""
    columns = np.flatnonzero(scalp.any(0))
    if len(columns) == 0:
        return 0.0
    inner = columns[len(columns) // 4 : max(3 * len(columns) // 4, 1)]
    depth = float(square.to_camera(vertices.astype(np.float64))[:, 2].mean())
    return float(np.median(above[:, inner].sum(0))) * depth / square.focal


def _is_bald(pixels: UInt8, off: Float32, scalp: Bool, bare: Bool, upwards: Bool, forehead: Bool, tall: float) -> bool:
    """Whether the scalp is seen and looks like skin: of its colour, and as smooth and without a hairline, or no higher.

    Args:
        pixels: (N, N, 3) the square.
        off: (N, N) distance of its colours from skin.
        scalp: (N, N) seen scalp.
        bare: (N, N) seen skin of the face.
        upwards: (N, N) from the brows to the top of the outline.
        forehead: (N, N) its lower part.
        tall: mm that the outline rises above the skull.
    """
    if scalp.sum() < _LEAST_SEEN or (off[scalp] < 2.3).mean() < _BALD_SKIN:
        return False
    if tall < _LEVEL:
        return True
    lab = _lab(pixels)
    light = lab[..., 0]
    fine = np.abs(light - cv2.GaussianBlur(light, (0, 0), 1.5))
    inner = [cv2.erode(m.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0 for m in (scalp, bare)]
    if not (inner[0].any() and inner[1].any()):
        return False
    steps = [_largest_step(lab[upwards[:, c], c]) for c in np.flatnonzero((upwards & forehead).any(0))]
    step = float(np.median(steps)) if steps else 0.0
    smooth = float(np.median(fine[inner[0]])) < _BALD_FINENESS * float(np.median(fine[inner[1]]))
    return smooth and step < _BALD_STEP


def _largest_step(lab: Float32) -> float:
    """Largest difference between neighbouring means of four of a column's colours (P, 3)."""
    k = 4
    if len(lab) < 2 * k + 2:
        return 0.0
    sums = np.cumsum(np.concatenate([np.zeros((1, 3)), lab[1:]]), axis=0)
    gap = (sums[2 * k :] - 2 * sums[k:-k] + sums[: -2 * k]) / k
    return float(np.linalg.norm(gap * [0.6, 1, 1], axis=1).max())


def _middle_of_face(triangle: Int32, model: HeadModel) -> Bool:
    """(N, N) where the face between brows, temples and chin is seen: beards, brows and eyes are no head hair."""
    mean = model.mean
    azimuth = np.rad2deg(np.abs(np.arctan2(mean[:, 0], mean[:, 2])))
    oval = np.hypot(azimuth / 44, (mean[:, 1] + 25) / 82) < 1
    chin = model.region("jaw") & (azimuth < 44)
    return _shown(
        triangle, model.triangles, (oval | chin) & (mean[:, 2] > 0) & (model.region("face") | ~model.part("skin"))
    )


def _hair_colour(pixels: UInt8) -> Float64:
    """(3,) sRGB of hair: the middle of its pixels (P, 3), without the sky's blue on black hair's highlights."""
    value = pixels.astype(np.float64)
    light = value @ _LUMINANCE
    low, high = np.percentile(light, [20, 65])
    return plausible(value[(light >= low) & (light <= high)].mean(0))


def _shades(colour: Float64, pixels: UInt8 | None = None) -> Float64:
    """(5, 3) sRGB of strands: as light and as tinted beside the hair's colour as its pixels (P, 3) are.

    The photo's light and shadow are in the pixels' spread too, so that some of it is taken away; black hair always
    glistens a little.
    """
    middle = max(float(colour @ _LUMINANCE), 1.0)
    ratio, tint = np.ones(len(SHADES)), np.zeros((len(SHADES), 3))
    if pixels is not None and len(pixels) >= _LEAST_SEEN:
        value = pixels.astype(np.float64)
        value = value[np.argsort(value @ _LUMINANCE, kind="stable")]
        at = np.linspace(0, len(value), len(SHADES) + 1).astype(int)
        bands = np.stack([value[a:b].mean(0) for a, b in itertools.pairwise(at)])
        light = np.maximum(bands @ _LUMINANCE, 1.0)
        ratio = (light / light[len(light) // 2]) ** _KEPT_CONTRAST
        if middle > _BLACKEST + 12:  # noise decides the hue of black
            tint = bands / light[:, None]
            tint = _KEPT_TINT * (tint - tint[len(tint) // 2])
    ratio = np.clip(ratio, _LEAST_SHADES, _MOST_SHADES)
    # The floor is that of black hair's middle.
    low = np.maximum(middle * ratio, _BLACKEST * _LEAST_SHADES)
    glisten = _GLISTEN * np.clip(1 - middle / 60, 0, 1)
    return np.asarray(np.clip(low[:, None] * np.clip(colour / middle + tint, 0, 2) + glisten[:, None], 0, 245))


def plausible(colour: Float64) -> Float64:
    """(3,) sRGB within what hair has: no blacker than hair in the light, and not bluish unless it is dyed."""
    dyed = np.ptp(colour) > 45
    if not dyed and colour[2] > colour[0]:
        colour = float(colour @ _LUMINANCE) * np.array([1.03, 1.0, 0.97])
    light = float(colour @ _LUMINANCE)
    if light < _BLACKEST:
        colour = colour + (_BLACKEST - light) * np.array([1.1, 1.0, 0.92])
    return np.asarray(np.clip(colour, 0, 238), np.float64)


def _brow_colour(triangle: Int32, pixels: UInt8, known: Bool, model: HeadModel) -> Float64:
    """(3,) sRGB of the brows, for hair that is not seen."""
    seen = _shown(triangle, model.triangles, model.region("brow_left") | model.region("brow_right")) & known
    if seen.sum() < 6:
        return np.array([60.0, 45.0, 36.0])
    value = pixels[seen].astype(np.float64)
    light = value @ _LUMINANCE
    return plausible(value[light <= np.percentile(light, 40)].mean(0))
