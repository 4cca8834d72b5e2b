"""Hair: which style of the library looks like the photo's, in which colour."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from maquette.geometry.raster import Scene, pixel_rays
from maquette.headmodel import HeadModel
from maquette.headmodel.hair import HairLibrary, HairStyle, clear_of_skin
from maquette.rooms import PhotoView
from maquette.types import Bool, Camera, Fit, Float32, Float64, Hair, Int32, UInt8

_SIDE = 144
"""Pixels a side of the square that hair is looked for in."""

_ABOVE, _BELOW, _BESIDE = 75.0, 130.0, 165.0
"""mm that the square reaches above and below the head's middle height's ends, and to each side of its middle."""

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

_LASHES = "sparse"
"""The photo's own lashes are in the texture already."""

_FALLBACK = "short01"

_RESERVE = {"afro01": 0.15, "braid01": 0.08, "ponytail01": 0.02, "long02": 0.03, "bob01": 0.03}
"""By how much the rarer styles, tails that no photo from the front shows, and fringes must agree better."""

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
_BLACKEST = 24.0
_NOSE_TIP = 4
"""MediaPipe landmark."""


@dataclass(frozen=True)
class Evidence:
    """What a photo shows of hair, in a small square around the head.

    Attributes:
        camera: Camera of the square.
        hair: (N, N) float32, probability of hair.
        known: (N, N) bool, False outside the photo.
        bald: True when the scalp is seen and looks like skin.
        colour: (3,) float64 sRGB of the hair; a guess from the brows where none was seen.
        seen: How many pixels of hair were seen.
    """

    camera: Camera
    hair: Float32
    known: Bool
    bald: bool
    colour: Float64
    seen: int


def choose_hair(
    view: PhotoView, fit: Fit, vertices: Float32, model: HeadModel, library: HairLibrary, style: str = "auto"
) -> tuple[Hair, ...]:
    """Hair and lashes for a head.

    Args:
        view: The main photo, ``fit.views[0]``'s.
        fit: The fit.
        vertices: (V, 3) float32 mm, the head they shall sit on; for ``auto`` also the one that is compared with the
            photo, so posed.
        model: The head model.
        library: Its hair library.
        style: ``auto``, ``none`` or a name.

    Returns:
        Nothing for ``none``; else the hair, unless the person is bald, and the lashes. Brows are in the texture.

    Raises:
        OptionInvalid: There is no such style.
        ModelFileInvalid: The library was made for another head model.
    """
    if style == "none":
        return ()
    chosen = None if style == "auto" else library.style(style)
    library.require_fit(model)
    evidence = look(view, fit.views[0].camera, vertices, model)
    if chosen is None and not evidence.bald:
        chosen = best_style(evidence, vertices, model, library)
    pieces = [] if chosen is None else [wear(chosen, vertices, model, evidence.colour)]
    dark = np.clip(evidence.colour * 0.35, 8, 60)
    lashes = library.style(_LASHES, "lashes")
    pieces.append(
        Hair(f"lashes_{lashes.name}", lashes.place(vertices), lashes.triangles, lashes.uv, lashes.coloured(dark))
    )
    return tuple(pieces)


def wear(style: HairStyle, vertices: Float32, model: HeadModel, colour: Float64) -> Hair:
    """A style on a head, nowhere in its skin."""
    placed = clear_of_skin(style.place(vertices), vertices, model)
    return Hair(style.name, placed, style.triangles, style.uv, style.coloured(colour))


def look(view: PhotoView, camera: Camera, vertices: Float32, model: HeadModel) -> Evidence:
    """Find the hair in a photo.

    Skin is learned on the face, hair on what of the scalp is not like it; both are Gaussians in CIELAB. Hair is what is
    rather hair than skin, belongs to the person, is not in the middle of the face and hangs together with the hair on
    the scalp.
    """
    square = _square(camera, vertices, model)
    pixels, known = _sampled(view.photo.pixels, camera, square)
    person = _person(view, camera, square) & known
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
    lab = cv2.cvtColor(cv2.medianBlur(pixels, 3).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
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
        return Evidence(square, np.zeros_like(off), known, bald, tone, 0)
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
    solid = ndimage.binary_opening(hair > 0.5, iterations=1) | ((hair > 0.5) & seeds)
    # An ear or a strand of light may part what is one head of hair.
    labels, _ = ndimage.label(cv2.dilate(solid.astype(np.uint8), np.ones((3, 3), np.uint8)))
    kept = np.isin(labels, np.unique(labels[seeds & solid])) & solid
    hair = np.asarray(hair * cv2.dilate(kept.astype(np.uint8), np.ones((3, 3), np.uint8)), np.float32)
    sure = cv2.erode((hair > 0.6).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    sure = sure if sure.sum() >= 30 else hair > 0.5
    colour = _hair_colour(pixels[sure]) if sure.any() else _brow_colour(raster.triangle, pixels, known, model)
    return Evidence(square, hair, known, False, colour, int(sure.sum()))


def best_style(evidence: Evidence, vertices: Float32, model: HeadModel, library: HairLibrary) -> HairStyle:
    """The style whose outline agrees best with the seen hair."""
    scores = style_scores(evidence, vertices, model, library)
    if not scores or max(scores.values()) <= 0:
        return library.style(_FALLBACK)
    return library.style(max(scores, key=lambda name: scores[name]))


def style_scores(evidence: Evidence, vertices: Float32, model: HeadModel, library: HairLibrary) -> dict[str, float]:
    """Intersection over union of each style's image and the seen hair."""
    square = evidence.camera
    rays = pixel_rays(square)
    skin_depth = Scene(square.to_camera(vertices.astype(np.float64)), model.triangles).view(square).distance
    out = {}
    for name in library.names("hair"):
        drawn = _drawn(library.style(name), vertices, square, rays, skin_depth) & evidence.known
        both = (evidence.hair * drawn).sum()
        either = (np.maximum(evidence.hair, drawn) * evidence.known).sum()
        out[name] = float(both / max(either, 1e-6)) - _RESERVE.get(name, 0.0)
    return out


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


def _square(camera: Camera, vertices: Float32, model: HeadModel) -> Camera:
    """The camera with its picture cut and scaled to a square around head and hair."""
    head = vertices[model.region("face") | model.region("scalp")].astype(np.float64)
    low, high = head.min(0), head.max(0)
    middle = (low + high) / 2
    corners = np.array(
        [
            [middle[0] + sx * _BESIDE, y, z]
            for sx in (-1, 1)
            for y in (low[1] - _BELOW, high[1] + _ABOVE)
            for z in (middle[2],)
        ]
    )
    at = camera.project(corners)
    centre = (at.min(0) + at.max(0)) / 2
    scale = _SIDE / float(np.ptp(at, axis=0).max())
    return Camera(
        camera.focal * scale,
        (camera.centre - centre) * scale + _SIDE / 2,
        camera.rotation,
        camera.translation,
        _SIDE,
        _SIDE,
    )


def _to_photo(camera: Camera, square: Camera) -> Float64:
    """(2, 3) affine from the square's pixels (their corners at whole numbers) to the photo's."""
    scale = camera.focal / square.focal
    shift = camera.centre - square.centre * scale
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])


def _sampled(pixels: UInt8, camera: Camera, square: Camera) -> tuple[UInt8, Bool]:
    """The photo in the square, smoothed where it shrinks, and where the square lies in the photo."""
    affine = _to_photo(camera, square)
    scale = affine[0, 0]
    source = pixels if scale < 1.5 else cv2.GaussianBlur(pixels, (0, 0), float(scale) * 0.4)
    # OpenCV counts from pixel centres.
    centred = affine.copy()
    centred[:, 2] += 0.5 * scale - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    out = cv2.warpAffine(source, centred, (_SIDE, _SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    x = (np.arange(_SIDE) + 0.5) * scale + affine[0, 2]
    y = (np.arange(_SIDE) + 0.5) * scale + affine[1, 2]
    inside = ((y > 0) & (y < pixels.shape[0]))[:, None] & ((x > 0) & (x < pixels.shape[1]))[None]
    return np.asarray(out, np.uint8), np.asarray(inside, bool)


def _person(view: PhotoView, camera: Camera, square: Camera) -> Bool:
    """(N, N) where the person is; the square's part that the mask does not reach is not."""
    affine = np.concatenate([_to_photo(camera, square), [[0, 0, 1]]])
    joined = (np.concatenate([view.mask.to_crop, [[0, 0, 1]]]) @ affine)[:2]
    centred = joined.copy()
    centred[:, 2] += joined[:, :2] @ [0.5, 0.5] - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(view.mask.alpha, centred, (_SIDE, _SIDE), flags=flags) > 0.5, bool)


def _shown(triangle: Int32, triangles: Int32, mask: Bool) -> Bool:
    """(N, N) where a seen triangle lies in a vertex mask."""
    inside = mask[triangles].all(1)
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
    level = float(square.project(model.landmarks(vertices)[_NOSE_TIP].astype(np.float64)[None])[0, 1])
    rows = np.arange(len(covered))[:, None]
    # The outlines of ears and mask are not exact.
    near = cv2.dilate(covered.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return np.asarray(person & ~near & (rows < level), bool)


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
    lab = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
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
    low, high = np.percentile(light, [10, 65])
    return plausible(value[(light >= low) & (light <= high)].mean(0))


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


def _drawn(style: HairStyle, vertices: Float32, square: Camera, rays: Float32, skin_depth: Float32) -> Bool:
    """(N, N) where a style is seen in front of the head."""
    x = square.to_camera(style.place(vertices).astype(np.float64))
    scene = Scene(x, style.triangles)
    opacity = style.picture[..., 1]
    rows, columns = opacity.shape
    out = np.zeros(skin_depth.shape, bool)
    origins = np.zeros_like(rays)
    for _ in range(3):
        hit = scene.cast(origins, rays)
        depth = origins[..., 2] + hit.distance
        seen = hit.covered & (depth < skin_depth) & ~out
        if not seen.any():
            break
        uv = np.einsum("pkc,pk->pc", style.uv[style.triangles[hit.triangle[seen]]], hit.barycentric[seen])
        row = np.clip(((1 - uv[:, 1]) * rows).astype(int), 0, rows - 1)
        column = np.clip((uv[:, 0] * columns).astype(int), 0, columns - 1)
        out[seen] = opacity[row, column] > 110
        origins = np.where(seen[..., None], rays * (depth + 0.3)[..., None], origins).astype(np.float32)
    return out
