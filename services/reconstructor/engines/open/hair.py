"""Hair: which style of the library looks like the photo's, in which colour."""

import numpy as np

from maquette.geometry.raster import Scene, pixel_rays
from maquette.headmodel import HeadModel
from maquette.headmodel.hair import HairLibrary, HairStyle, clear_of_skin
from maquette.rooms import PhotoView
from maquette.types import Bool, Camera, Fit, Float32, Float64, Hair
from services.reconstructor.engines.open.hairline import Evidence, look

_LASHES = "sparse"
"""The photo's own lashes are in the texture already."""

_FALLBACK = "short01"

_RESERVE = {"afro01": 0.15, "braid01": 0.08, "ponytail01": 0.02, "long02": 0.03, "bob01": 0.06, "bob02": 0.03}
"""By how much the rarer styles, tails that no photo from the front shows, and fringes must agree better."""


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
