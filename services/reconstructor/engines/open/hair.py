"""Hair: which style of the library looks like the photo's, in which colour."""

import numpy as np

from maquette.geometry.raster import Scene, pixel_rays
from maquette.headmodel import HeadModel
from maquette.headmodel.hair import HairLibrary, HairStyle, clear_of_skin
from maquette.rooms import PhotoView
from maquette.types import Bool, Fit, Float32, Float64, Hair
from services.reconstructor.engines.open.hairline import Evidence, look
from services.reconstructor.engines.open.outline import fit_outline

_LASHES = "sparse"
"""The photo's own lashes are in the texture already."""

_FALLBACK = "short01"

_RESERVE = {
    "afro01": 0.15, "braid01": 0.08, "ponytail01": 0.02, "long02": 0.03, "bob01": 0.04, "bob02": 0.03, "bob03": 0.03,
}  # fmt: skip
"""By how much the rarer styles, tails that no photo from the front shows, and fringes must agree better."""

_WAVES = 0.1
"""By how much waves must agree better on straight hair, and may agree worse on wavy hair."""

_LEAST_SEEN = 200
"""Pixels of hair that must be seen to know its outline."""

_LAYERS, _SOLID = 3, 110
"""How many sheets of hair are looked through, and the opacity of 255 from which one hides what is behind."""

_COARSE = 2
"""Every which pixel is looked at when all styles are compared."""

_FINALISTS, _CLEAR = 3, 0.08
"""How many styles are compared with the photo's outline, and the lead of the best that makes it needless."""


def choose_hair(
    view: PhotoView,
    fit: Fit,
    vertices: Float32,
    model: HeadModel,
    library: HairLibrary,
    style: str = "auto",
    evidence: Evidence | None = None,
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
        evidence: What ``look`` found in the photo; None to look here.

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
    evidence = evidence or look(view, fit.views[0].camera, vertices, model)
    if chosen is None and not evidence.bald:
        chosen = best_style(evidence, vertices, model, library)
    pieces = []
    if chosen is not None:
        pieces.append(wear(chosen, vertices, model, evidence.shades, evidence))
    dark = np.clip(evidence.colour * 0.35, 8, 60)
    lashes = library.style(_LASHES, "lashes")
    pieces.append(
        Hair(f"lashes_{lashes.name}", lashes.place(vertices), lashes.triangles, lashes.uv, lashes.coloured(dark))
    )
    return tuple(pieces)


def wear(
    style: HairStyle, vertices: Float32, model: HeadModel, colour: Float64, evidence: Evidence | None = None
) -> Hair:
    """A style on a head, nowhere in its skin, with the outline that the photo shows if there is one."""
    placed = style.place(vertices)
    if evidence is not None and evidence.seen >= _LEAST_SEEN:
        placed = _Mirror(evidence, vertices, model).fitted(style, placed)
    return Hair(style.name, clear_of_skin(placed, vertices, model), style.triangles, style.uv, style.coloured(colour))


def best_style(evidence: Evidence, vertices: Float32, model: HeadModel, library: HairLibrary) -> HairStyle:
    """The style whose image agrees best with the seen hair.

    The best few as they are get the photo's outline and are compared again.
    """
    mirror = _Mirror(evidence, vertices, model)
    scores = {name: mirror.score(library.style(name)) for name in library.names("hair")}
    if not scores or max(scores.values()) <= 0:
        return library.style(_FALLBACK)
    best = sorted(scores, key=lambda name: scores[name])[-_FINALISTS:]
    if evidence.seen < _LEAST_SEEN or scores[best[-1]] - scores[best[-2]] > _CLEAR:
        return library.style(best[-1])
    return max((library.style(name) for name in best), key=lambda style: mirror.score(style, fitted=True))


class _Mirror:
    """The head as the photo's camera sees it, to try styles on."""

    def __init__(self, evidence: Evidence, vertices: Float32, model: HeadModel) -> None:
        self._evidence, self._vertices, self._model = evidence, vertices, model
        self._square = evidence.camera
        self._rays = pixel_rays(self._square)
        x = self._square.to_camera(vertices.astype(np.float64))
        self._depth = Scene(x, model.triangles).view(self._square).distance

    def score(self, style: HairStyle, *, fitted: bool = False) -> float:
        """Intersection over union of a style's image and the seen hair, less what the style must be better by.

        Args:
            style: The style.
            fitted: Give it the photo's outline first.
        """
        evidence, step = self._evidence, 1 if fitted else _COARSE
        placed = style.place(self._vertices)
        hair, known = evidence.hair[::step, ::step], evidence.known[::step, ::step]
        drawn = self._drawn(style, self.fitted(style, placed) if fitted else placed, step) & known
        both = float((hair * drawn).sum())
        either = float((np.maximum(hair, drawn) * known).sum())
        waves = style.name.startswith("wavy")
        reserve = _WAVES * (1 - 2 * evidence.waviness) if waves else _RESERVE.get(style.name, 0.0)
        return both / max(either, 1e-6) - reserve

    def fitted(self, style: HairStyle, placed: Float32) -> Float32:
        """(H, 3) mm of a style, placed on the head, with the photo's outline."""
        drawn = self._drawn(style, placed)
        return fit_outline(placed, drawn, self._evidence, self._vertices, self._model)

    def _drawn(self, style: HairStyle, placed: Float32, step: int = 1) -> Bool:
        """(N, N) where a style, placed on the head (H, 3), is seen in front of it; every so many pixels."""
        grid = self._rays[::step, ::step]
        all_rays, skin = grid.reshape(-1, 3), self._depth[::step, ::step].ravel()
        scene = Scene(self._square.to_camera(placed.astype(np.float64)), style.triangles)
        opacity = style.picture[..., 1]
        rows, columns = opacity.shape
        out = np.zeros(len(all_rays), bool)
        live = np.arange(len(all_rays))
        start = np.zeros(len(live), np.float32)
        for _ in range(_LAYERS):
            rays = all_rays[live]
            hit = scene.cast(rays * start[:, None], rays)
            depth = start + hit.distance
            seen = hit.covered & (depth < skin[live])
            uv = np.einsum("pkc,pk->pc", style.uv[style.triangles[hit.triangle[seen]]], hit.barycentric[seen])
            row = np.clip(((1 - uv[:, 1]) * rows).astype(int), 0, rows - 1)
            column = np.clip((uv[:, 0] * columns).astype(int), 0, columns - 1)
            solid = opacity[row, column] > _SOLID
            live, start = live[seen], depth[seen] + np.float32(0.3)
            out[live[solid]] = True
            live, start = live[~solid], start[~solid]
            if not len(live):
                break
        return out.reshape(grid.shape[:2])
