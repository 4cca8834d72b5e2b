"""Photos onto the head: colour maps and relief in the head model's UV atlas."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from maquette.headmodel import HeadModel
from maquette.rooms import PhotoView, ReconstructOptions
from maquette.types import Fit, Float32, Float64, Textures, UInt8, View
from services.reconstructor.engines.open.atlas import Atlas, atlas_of, smoothstep, weighted_blur
from services.reconstructor.engines.open.detail import normal_map, relief
from services.reconstructor.engines.open.evening import even_out
from services.reconstructor.engines.open.filling import (
    close_holes,
    continue_tone,
    draw_back,
    firmness,
    mirror_detail,
    steady_tone,
    yield_to_mirror,
)
from services.reconstructor.engines.open.hairline import Evidence
from services.reconstructor.engines.open.inner import measure_tints, paint_inner
from services.reconstructor.engines.open.linear import encode, luminance
from services.reconstructor.engines.open.merging import Seen, merge, shade_of
from services.reconstructor.engines.open.sampling import Sample, sample_view
from services.reconstructor.engines.open.scalp import Scalp, fallen_hair, paint_scalp
from services.reconstructor.engines.open.surface import darken_cavities, roughen
from services.reconstructor.engines.open.tissue import BROWS, LIDS, LIPS, Tissue, hair_volume, inner_face, tell_tissues

_NECK_MM = (15.0, 45.0)
"""Below the chin the neck's tone is continued between these depths: collars begin anywhere."""

_TONE_OF_NO_SKIN = np.array([0.45, 0.27, 0.19], np.float32)

_EXPOSURES = (1.0, 1.45)
_TONE_PERCENTILES = (35, 92)


def build_textures(
    model: HeadModel,
    fit: Fit,
    views: Sequence[PhotoView],
    posed: Sequence[Float32],
    options: ReconstructOptions,
    hair: Sequence[Evidence] = (),
) -> Textures:
    """Make the maps of a head.

    The photos' light is taken away before anything is blended or continued, and laid on again for the photo map: tone
    continues further without seams that way.

    Args:
        model: The head model.
        fit: Cameras and residuals, one view per photo, the main photo first.
        views: The photos, in the order of the fit's views.
        posed: Per photo (V, 3) float32 mm, head frame, the head with that photo's expression and gaze.
        options: ``texture_size`` N, and whether there is to be ``detail``.
        hair: What each photo shows of hair, for a head that wears some: hair in front of the face is not painted on it
            then. Empty to leave it where it is seen.

    Returns:
        Photo and albedo maps (N, N, 3); relief and normal map of side 1024 (N where N is less) with ``detail``, else
        None. The lighting is that of ``lighting.harmonics``, by its mean on the seen skin.

    Raises:
        ValueError: The numbers of fitted views, photos and posed heads differ.
    """
    atlas = atlas_of(model, options.texture_size)
    samples = [sample_view(atlas, p, v, photo) for p, v, photo in zip(posed, fit.views, views, strict=True)]
    tissues = [
        tell_tissues(atlas, s, hair_volume(atlas, p, v, photo, s))
        for s, p, v, photo in zip(samples, posed, fit.views, views, strict=True)
    ]
    # Relief and colour need nothing of each other, and most of both runs outside the interpreter.
    with ThreadPoolExecutor(max_workers=1) as beside:
        detail = beside.submit(_detail, atlas, samples, tissues, posed) if options.detail else None
        photo, albedo, weight = _painted(atlas, fit.views[0], views[0], samples, tissues, posed, hair)
        displacement, normal = (None, None) if detail is None else detail.result()
    return Textures(
        _without_gutters(atlas, encode(photo)),
        _without_gutters(atlas, encode(albedo)),
        atlas.whole(weight),
        displacement,
        normal,
        tissues[0].light,
    )


def _painted(
    atlas: Atlas,
    view: View,
    main: PhotoView,
    samples: Sequence[Sample],
    tissues: Sequence[Tissue],
    posed: Sequence[Float32],
    hair: Sequence[Evidence],
) -> tuple[Float32, Float32, Float32]:
    """Photo and albedo maps (N, N, 3), linear, and how well each of their texels (T,) was seen."""
    seen = merge(atlas, samples, tissues)
    # Texels that look like skin without doubt are skin: the hair was sought on a coarser grid.
    fallen = _fallen(atlas, samples, posed, hair) * (1 - np.square(seen.skin))
    seen = replace(seen, skin=seen.skin * (1 - fallen), hair=np.maximum(seen.hair, fallen))
    tone = _tone(seen)
    light = tissues[0].light
    shade = shade_of(atlas, samples[0], light)
    worn = hair[0].shades[2] if hair else None
    lit, albedo, weight = _colours(atlas, seen, tissues, tone, fallen, _exposure(seen, shade), worn)
    del seen
    lit *= shade
    lids = shade[atlas.region(*LIDS) > 0.5].mean(0)
    albedo, photo = atlas.whole(albedo), atlas.whole(lit)
    tints = measure_tints(main, view, tone)
    paint_inner(atlas, albedo, photo, lids, float(light[3].mean()), tints, tone)
    return photo, albedo, weight


def _without_gutters(atlas: Atlas, image: UInt8) -> UInt8:
    """Every texel that no triangle covers takes the colour of the nearest that one does, so that filtering is clean."""
    return image.reshape(-1, 3)[atlas.nearest]


def _detail(
    atlas: Atlas, samples: Sequence[Sample], tissues: Sequence[Tissue], posed: Sequence[Float32]
) -> tuple[Float32, UInt8]:
    """Displacement (M, M) and normal map (M, M, 3) from all photos, each where it shows the skin well."""
    found = [relief(atlas, s, t, p) for s, t, p in zip(samples, tissues, posed, strict=True)]
    displacement = found[0][0]
    if len(found) > 1:
        total = np.maximum(sum(sure for _, sure in found), np.float32(1e-6))
        displacement = np.asarray(sum(d * sure for d, sure in found) / total, np.float32)
    return displacement, normal_map(atlas, posed[0], displacement)


def _tone(seen: Seen) -> Float32:
    """(3,) float32 linear albedo of the skin."""
    core = seen.skin * seen.frontal > 0.5
    if not core.any():
        core = seen.skin * seen.weight > 0.5
    if not core.any():
        return _TONE_OF_NO_SKIN
    colours = seen.albedo[core]
    y = luminance(colours)
    # Cameras paint shadows redder than they are.
    low, high = np.percentile(y, _TONE_PERCENTILES)
    return np.asarray(np.median(colours[(y >= low) & (y <= high)], axis=0), np.float32)


def _fallen(atlas: Atlas, samples: Sequence[Sample], posed: Sequence[Float32], hair: Sequence[Evidence]) -> Float32:
    """(H, N) float32, 0 to 1: where the photos show hair on or in front of the skin."""
    if not hair:
        return np.zeros(atlas.skin.shape, np.float32)
    maps = [fallen_hair(atlas, e, p) for e, p in zip(hair, posed, strict=True)]
    total = sum((s.weight for s in samples), np.float32(1e-3))
    return np.asarray(sum((m * (s.weight / total) for m, s in zip(maps, samples, strict=True)), np.float32(0)))


def _exposure(seen: Seen, shade: Float32) -> np.float32:
    """Factor that gives the albedo about the brightness that the front of the face has in the photo.

    The light is 1 on average over all skin that is seen; the front, which one knows a face by, gets more of it.
    """
    front = seen.skin * seen.frontal > 0.5
    if not front.any():
        return np.float32(1)
    return np.clip(np.median(luminance(shade[front])), *_EXPOSURES).astype(np.float32)


def _colours(
    atlas: Atlas,
    seen: Seen,
    tissues: Sequence[Tissue],
    tone: Float32,
    fallen: Float32,
    exposure: np.float32,
    colour: Float64 | None,
) -> tuple[Float32, Float32, Float32]:
    """The skin's and the hair's colour without the main photo's light.

    Args:
        atlas: Of the head model.
        seen: What the photos show.
        tissues: Of each photo.
        tone: (3,) linear albedo of the skin.
        fallen: (H, N) where hair lies on the skin.
        exposure: Factor for the albedo map.
        colour: (3,) sRGB of the hair that is worn, or None.

    Returns:
        (H, N, 3) for the photo map, (H, N, 3) evened out for the albedo map, and (H, N) how well skin was seen.
    """
    lit, weight, plain = _skin(atlas, seen, tone, fallen)
    lit = darken_cavities(atlas, roughen(atlas, lit, weight, plain), weight)
    hair = paint_scalp(atlas, seen, tissues, colour)
    albedo = exposure * even_out(atlas, lit, plain, seen.frontal, tone)
    if hair is not None:
        lit, albedo = _over(lit, hair), _over(albedo, hair)
    return lit, albedo, weight


def _skin(atlas: Atlas, seen: Seen, tone: Float32, fallen: Float32) -> tuple[Float32, Float32, Float32]:
    """Skin everywhere: colour (H, N, 3), how well it was seen (H, N), and where it is plain skin (H, N)."""
    pure = _pure(atlas, seen.skin, seen.weight)
    inner = inner_face(atlas) * (1 - fallen)
    clear = _clear_of_clothes(atlas)
    weight = draw_back(atlas, yield_to_mirror(atlas, seen.weight * np.maximum(pure, inner) * clear))
    firm = firmness(atlas, weight)
    low = continue_tone(atlas, seen.albedo, np.square(weight * pure * firm), tone)
    own = steady_tone(atlas, seen.albedo, weight, firm, low)
    base = close_holes(atlas, own, weight, low)
    mirrored, usable = mirror_detail(atlas, own, weight * (1 - seen.hair), low)
    base += (mirrored - base) * (usable * (1 - weight))[..., None]
    colour = base + (own - base) * weight[..., None]
    odd = np.maximum(weight, usable) * inner * (1 - np.maximum(pure, (pure * weight)[:, ::-1] * (1 - weight)))
    features = np.clip(1.5 * atlas.region(*BROWS, *LIPS, *LIDS, soften=4), 0, 1)
    return colour, weight, np.clip(1 - odd, 0, 1) * (1 - features)


def _pure(atlas: Atlas, skin: Float32, weight: Float32) -> Float32:
    """(H, N) float32, skin that has nothing else within some 3 mm: pixels on the edge of hair are a mixture."""
    around = weighted_blur(skin, weight + np.float32(1e-3), 3 / atlas.texel_mm)
    return skin * smoothstep((around - np.float32(0.5)) / np.float32(0.4))


def _clear_of_clothes(atlas: Atlas) -> Float32:
    """(H, N) float32, 1 on the head, fading down the neck to 0."""
    height = atlas.model.mean[:, 1]
    chin = float(height[atlas.model.region("chin")].min())
    return atlas.image(smoothstep((height - chin + _NECK_MM[1]) / (_NECK_MM[1] - _NECK_MM[0])))


def _over(skin: Float32, hair: Scalp) -> Float32:
    """Hair over skin, mixed as the eye sees it: in linear light some skin between dark hairs would outshine them."""
    share = hair.opacity[..., None]
    under, above = np.sqrt(np.maximum(skin, 0)), np.sqrt(np.maximum(hair.colour, 0))
    return np.asarray(np.square(under + (above - under) * share), np.float32)
