"""Make the hair file: ``python -m training.hair --heads FOLDER -o hair.npz``.

MakeHuman's hair, brows and lashes (CC0) are carried onto the head model and stored in a form of the project's own:
bound to the model's skin, their pictures reduced to luminance and opacity.
"""

import argparse
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

from maquette.geometry.raster import rasterise_uv
from maquette.geometry.surface import vertex_normals
from maquette.headmodel import hair as loader
from maquette.headmodel import load_head_model
from maquette.headmodel.model import DEFAULT_FILE as HEAD_FILE
from maquette.headmodel.model import pack
from training.browlash import LASHES, BrowMaker, brow_patch, brow_window, lash_picture, lash_strips
from training.fitted import Bound, Fitted, load_fitted, quantised, split
from training.haircut import (
    BROWS,
    FOREHEAD,
    Opening,
    clear,
    finer,
    fringe,
    fringe_picture,
    hang_straight,
    lie_on_forehead,
    narrow,
    outside_head,
    shorten,
    waved,
    without_hidden,
)
from training.registration import Registration, Template, register_makehuman
from training.sources import load_makehuman
from training.strands import curly_cap, curly_card
from training.texels import Atlas, push_pull, read_colour

Array = NDArray[np.float64]
Float = NDArray[np.float32]
Picture = NDArray[np.uint8]
Index = NDArray[np.int64]

# Where the eye pictures show the upper eyeball: centre, and radii of iris and eyeball, in widths of the picture.
EYE_CENTRE = (0.7061, 0.2959)
EYE_IRIS = 0.1143
EYE_BALL = 0.272

HAIR_SIZE = 1024
_FRINGE_PLACE = (20, 660, 580, 1000)
"""Left, top, right, bottom of the fringe in the picture of a style that is cut off at a hem."""

BROW_SIZE = 1024


SOURCES = ("MakeHuman hair, eyebrows, eyelashes and eyes, the MakeHuman team, CC0-1.0",)


@dataclass(frozen=True)
class Recipe:
    """How a style is made.

    Attributes:
        source: MakeHuman's name.
        cut: What it counts as.
        opening: Part of the face that it must leave free, or None.
        hang: Where it starts to be squeezed and where it ends, mm of height; None to leave its length.
        straight: How much hanging hair is brought forward per mm of depth below the ears.
        hem: Height at which it is cut off, mm; None to leave its length.
        taper: Width of the lowest hair as a share of its own, for tails.
        low: Fringe brought near the forehead.
        left_of: Sheets whose texture lies right of this share of the picture are left out.
        fringe: Add a fringe; in the picture it takes the place of the hair below the hem.
        finer: How often each triangle is cut into four, for round outlines.
        waves: Height where they begin, half their swing and their length, mm; None for straight hair.
    """

    source: str
    cut: str
    opening: Opening | None = None
    hang: tuple[float, float] | None = None
    hem: float | None = None
    straight: float = 0.0
    taper: float = 1.0
    low: bool = False
    left_of: float = 1.0
    fringe: bool = False
    finer: int = 0
    waves: tuple[float, float, float] | None = None


_LONG = Recipe("long01", "long", opening=FOREHEAD, hem=-172.0, straight=0.3, left_of=0.61, finer=1)

RECIPES = {
    "afro01": Recipe("afro01", "short"),
    "bob01": Recipe("bob02", "bob", opening=BROWS, low=True),
    "bob02": Recipe("bob02", "bob", opening=FOREHEAD, low=True),
    "bob03": Recipe("bob02", "bob", opening=BROWS, low=True, hem=-48.0, finer=1),
    "braid01": Recipe("braid01", "tied", opening=FOREHEAD, hang=(-60.0, -190.0), taper=0.6, low=True),
    "long01": _LONG,
    "long02": replace(_LONG, fringe=True),
    "ponytail01": Recipe("ponytail01", "tied", hang=(-20.0, -165.0)),
    "short01": Recipe("short01", "short"),
    "short02": Recipe("short02", "short"),
    "short03": Recipe("short03", "short", opening=BROWS, low=True),
    "short04": Recipe("short04", "short"),
    "wavy01": replace(_LONG, finer=2, hem=-160.0, waves=(30.0, 6.5, 52.0)),
    "wavy02": replace(_LONG, finer=2, hem=-95.0, waves=(45.0, 7.5, 44.0)),
}
"""Hair styles by name. MakeHuman's bob01 has no picture and hides half the face, so it is left out."""

_ANCHORS = 600
_ANCHORS_EACH = 6
_STEP = 0.01
"""mm of one step of the stored offsets."""

_CONTRAST = 0.3
"""Standard deviation of the logarithm of luminance that every picture is brought to."""


class Binder:
    """Carries meshes from the MakeHuman head to the model's mean and binds them there."""

    def __init__(self, template: Template, registration: Registration) -> None:
        self._template, self._registration = template, registration
        self._before = registration.deformed
        self._after = template.points[template.skin_vertices]
        self._normals = vertex_normals(template.points, template.triangles)[template.skin_vertices]
        # Hair follows the skull, ears, neck and forehead; not the parts that expressions move.
        at = self._after
        moving = (at[:, 2] > 55) & (at[:, 1] < 62) & (at[:, 1] > -75) & (np.abs(at[:, 0]) < 58)
        self._spread = farthest_points(at, np.flatnonzero(~moving & (at[:, 1] > -150)), _ANCHORS)

    def style(self, mesh: Fitted, base: Array, recipe: Recipe, strands: Picture) -> tuple[Bound, Picture]:
        """Carry a style to the mean, change it by its recipe and bind it to anchors so that neighbours move alike.

        Args:
            mesh: The style.
            base: MakeHuman's vertices.
            recipe: What to change.
            strands: (R, C, 2) luminance and opacity of hanging hair, for a fringe.

        Returns:
            The bound mesh and its (N, N, 2) picture.
        """
        points, triangles, uv = split(mesh, self._registration.align(mesh.on(base)))
        anchors, share = self._shares(points, self._before)
        points = points + np.einsum("hkc,hk->hc", (self._after - self._before)[anchors], share)
        if recipe.low:
            points = lie_on_forehead(points, self._after, self._normals, height=5.0, share=0.35)
        if recipe.hang is not None:
            points = narrow(points, recipe.hang[0], float(points[:, 1].min()), recipe.taper)
            points = shorten(points, *recipe.hang)
        triangles = triangles[(uv[triangles][..., 0] <= recipe.left_of).all(1)]
        points = hang_straight(points, -10.0, recipe.straight)
        picture = style_picture(recipe.source, mesh, HAIR_SIZE)
        if recipe.opening is not None or recipe.hem is not None:
            picture = clear(picture, points, triangles, uv, recipe.opening, recipe.hem)
            triangles = without_hidden(triangles, uv, picture)
        triangles = outside_head(triangles, points, self._after, self._normals)
        picture[..., 1] *= used_area(triangles, uv, HAIR_SIZE)
        picture = levelled(picture)
        if recipe.fringe:
            sheet, sheet_triangles, sheet_uv = fringe(self._after, self._template.skin_triangles)
            triangles = np.concatenate([triangles, sheet_triangles + len(points)])
            points = np.concatenate([points, sheet])
            left, top, right, bottom = _FRINGE_PLACE
            picture[top:bottom, left:right] = fringe_picture(_resized(strands, right - left, bottom - top), 3)
            # Half a texel in, so that filtering does not reach what lies beside.
            size = np.array([right - left - 1, bottom - top - 1]) / HAIR_SIZE
            corner = np.array([left + 0.5, HAIR_SIZE - bottom + 0.5]) / HAIR_SIZE
            uv = np.concatenate([uv, corner + sheet_uv * size])
        for _ in range(recipe.finer):
            points, triangles, uv = finer(points, triangles, uv)
        if recipe.waves is not None:
            points = waved(points, *recipe.waves)
        anchors, share = self._shares(points, self._after)
        offset = points - np.einsum("hkc,hk->hc", self._after[anchors], share)
        return Bound(triangles, uv, self._template.skin_vertices[anchors], share, offset, False), picture

    def _shares(self, points: Array, skin: Array) -> tuple[Index, Array]:
        """Modified Shepard weights, 0 at the first anchor left out, so that the field is continuous."""
        distance, near = cKDTree(skin[self._spread]).query(points, k=_ANCHORS_EACH + 1)
        share = (1 - distance[:, :-1] / distance[:, -1:]) ** 2 / np.maximum(distance[:, :-1], 1.0) ** 2
        share = np.maximum(share, 1e-9)
        return self._spread[near[:, :-1]], quantised(share / share.sum(1, keepdims=True))


def farthest_points(points: Array, candidates: Index, count: int) -> Index:
    """Indices of points that lie as far apart as they can, found greedily."""
    at = points[candidates]
    chosen = [int(at[:, 1].argmax())]
    gap = np.linalg.norm(at - at[chosen[0]], axis=1)
    for _ in range(count - 1):
        chosen.append(int(gap.argmax()))
        gap = np.minimum(gap, np.linalg.norm(at - at[chosen[-1]], axis=1))
    return np.asarray(candidates[chosen], np.int64)


def luminance_map(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(size, size, 2) uint8: luminance of even mean and contrast, and opacity.

    Args:
        picture: (M, M, 4) RGBA.
        size: Side of the result.
    """
    rgba = picture.astype(np.float32) / np.float32(255)
    # Premultiplied, so that what is hidden does not bleed in.
    premultiplied = np.dstack([rgba[..., :3] * rgba[..., 3:], rgba[..., 3]])
    small = np.asarray(cv2.resize(premultiplied, (size, size), interpolation=cv2.INTER_AREA), np.float32)
    alpha = small[..., 3]
    luminance = small[..., :3] @ np.array([0.2126, 0.7152, 0.0722], np.float32) / np.maximum(alpha, 1e-4)
    # Half transparent borders show the picture's background; they take the tone of the hair beside them.
    sure = np.clip((alpha - 0.35) / 0.5, 0, 1)
    filled = push_pull(np.repeat(luminance[..., None], 3, 2), np.asarray(sure, np.float32))[..., 0]
    log = np.log(filled + 0.02)
    weight = alpha * (alpha > 0.2)
    mean = (log * weight).sum() / weight.sum()
    deviation = np.sqrt((((log - mean) ** 2) * weight).sum() / weight.sum())
    even = np.exp(np.clip((log - mean) / max(deviation, 0.05) * _CONTRAST, -0.9, 0.75))
    even *= loader.MEAN_LUMINANCE / ((even * weight).sum() / weight.sum())
    return np.asarray(np.clip(np.rint(np.dstack([even, alpha]) * 255), 0, 255), np.uint8)


def levelled(picture: Picture) -> Picture:
    """A picture (N, N, 2) with the mean luminance of what is left of it brought back to ``MEAN_LUMINANCE``."""
    weight = picture[..., 1].astype(np.float64) * (picture[..., 1] > 50)
    mean = float((picture[..., 0] * weight).sum() / max(weight.sum(), 1.0)) / 255
    out = picture.copy()
    out[..., 0] = np.clip(np.rint(picture[..., 0] * (loader.MEAN_LUMINANCE / max(mean, 1e-3))), 0, 255)
    return out


def used_area(triangles: Index, uv: Array, size: int) -> NDArray[np.uint8]:
    """(size, size) 1 where triangles use a picture, with a border for filtering."""
    covered = rasterise_uv(uv, triangles, size).covered.astype(np.uint8)
    return np.asarray(cv2.dilate(covered, np.ones((9, 9), np.uint8)), np.uint8)


def _strands(folder: Path) -> Picture:
    """A rectangle of hanging hair out of MakeHuman's bob02."""
    picture = load_fitted(folder / "hair_bob02.npz").picture
    if picture is None:
        raise ValueError(f"{folder}: hair_bob02 has no picture")
    size = len(picture)
    rows, columns = slice(round(0.52 * size), round(0.7 * size)), slice(round(0.06 * size), round(0.4 * size))
    strands = luminance_map(picture, size)[rows, columns].astype(np.float64)
    # The tips there are dark; a fringe lies in the light as the crown does.
    level = cv2.GaussianBlur(strands[..., 0], (0, 0), size / 12)
    strands[..., 0] *= 1.25 * loader.MEAN_LUMINANCE * 255 / np.maximum(level, 1)
    return np.asarray(np.clip(np.rint(strands), 0, 255), np.uint8)


def _resized(picture: Picture, width: int, height: int) -> Picture:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def webp(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """A picture (N, N, 2 or 3) as the bytes of a WebP file."""
    if picture.shape[2] == 2:
        image = Image.fromarray(np.ascontiguousarray(picture[..., [0, 0, 0, 1]]), "RGBA")
    else:
        image = Image.fromarray(picture, "RGB")
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=quality, alpha_quality=quality, method=6, exact=False)
    return np.frombuffer(stream.getvalue(), np.uint8)


def style_picture(name: str, mesh: Fitted, size: int) -> NDArray[np.uint8]:
    """(size, size, 2) luminance and opacity of a hair style."""
    if mesh.picture is not None:
        return luminance_map(mesh.picture, size)
    if name != "afro01":
        raise ValueError(f"{name} has no picture and none is drawn for it")
    # All tufts share the lower third of the square; the rest is the cap below them.
    split_row = round(size * 0.685)
    rgba = np.full((size, size, 4), 255, np.uint8)
    rgba[..., :3] = (curly_cap(size, 5) * 200)[..., None].astype(np.uint8)
    shade, cover = curly_card(size - split_row, size, 6)
    rgba[split_row:, :, :3] = (shade * 200)[..., None].astype(np.uint8)
    rgba[split_row:, :, 3] = (cover * 255).astype(np.uint8)
    return luminance_map(rgba, size)


class Shelf:
    """The hair file under construction."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.arrays: dict[str, NDArray[Any]] = {}

    def add(self, name: str, kind: str, cut: str, bound: Bound, picture: NDArray[np.uint8], quality: int) -> None:
        """Put a style on; vertices that no triangle uses are dropped."""
        used, local = np.unique(bound.triangles, return_inverse=True)
        key = f"{kind}_{name}"
        limit = np.iinfo(np.int16).max * _STEP
        offset = bound.offset[used]
        step = _STEP * max(1.0, float(np.ceil(np.abs(offset).max() / limit)))
        self.arrays |= {
            f"{key}_triangles": local.reshape(-1, 3).astype(np.uint16),
            f"{key}_uv": np.clip(np.rint(bound.uv[used] * 65535), 0, 65535).astype(np.uint16),
            f"{key}_anchors": bound.anchors[used].astype(np.uint16),
            f"{key}_weights": np.rint(bound.weights[used] * 255).astype(np.uint8),
            f"{key}_offset": np.rint(offset / step).astype(np.int16),
            f"{key}_picture": webp(picture, quality),
        }
        self.entries.append(
            {"name": name, "kind": kind, "cut": cut, "turns": bound.turns, "step": step, "picture": f"{key}_picture"}
        )


def eye_maps(folder: Path) -> tuple[dict[str, NDArray[np.uint8]], dict[str, Any]]:
    """Iris pattern, white of the eye and iris colours, from MakeHuman's eye pictures."""
    pictures = {f.stem.removeprefix("eyes_"): read_colour(f) for f in sorted(folder.glob("eyes_*.png"))}
    side = next(iter(pictures.values())).shape[0]
    centre = (round(EYE_CENTRE[0] * side), round(EYE_CENTRE[1] * side))

    def crop(picture: NDArray[np.uint8], radius: float, size: int) -> Float:
        r = radius * side
        turn = np.array([[2 * r / size, 0, centre[0] - r], [0, 2 * r / size, centre[1] - r]])
        flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(picture, turn, (size, size), flags=flags | cv2.INTER_LINEAR), np.float32)

    size, white_size = 128, 256
    y, x = np.mgrid[0:size, 0:size]
    radius = np.hypot(x + 0.5 - size / 2, y + 0.5 - size / 2) / (size / 2)
    ring = (radius > 0.38) & (radius < 0.92)
    irises = {n: crop(p, EYE_IRIS, size) for n, p in pictures.items()}
    grey = irises["grey_eye"] @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    pattern = np.clip(grey / grey[ring].mean() * 128, 0, 255)
    white = crop(pictures["grey_eye"], EYE_BALL, white_size)
    y, x = np.mgrid[0:white_size, 0:white_size]
    from_axis = np.hypot(x + 0.5 - white_size / 2, y + 0.5 - white_size / 2) / (white_size / 2)
    edge = EYE_IRIS / EYE_BALL
    # Below the iris the white goes on, so that the iris may be drawn smaller.
    tone = white[(from_axis > edge * 1.25) & (from_axis < edge * 1.5)].mean(0)
    inside = np.clip((edge * 1.18 - from_axis) / 0.06, 0, 1)[..., None]
    white = white * (1 - inside) + tone * inside
    names = [n.removesuffix("_eye") for n in irises]
    colours = [irises[n][ring].mean(0) for n in irises]
    # No picture shows a dark brown eye, the most frequent of all.
    names.append("brown")
    colours.append(np.array([74.0, 47.0, 30.0]))
    arrays = {
        "iris": np.rint(pattern).astype(np.uint8),
        "white": webp(np.clip(np.rint(white), 0, 255).astype(np.uint8), 90),
        "iris_colours": np.rint(np.stack(colours)).astype(np.uint8),
    }
    return arrays, {"iris_colour_names": names, "white_iris": edge, "pupil": 0.29}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=Path, required=True, help="folder with the shape libraries")
    parser.add_argument("--model", type=Path, default=HEAD_FILE, help="head model file")
    parser.add_argument("-o", "--output", type=Path, default=loader.DEFAULT_FILE)
    args = parser.parse_args()
    model = load_head_model(args.model)
    template = Template.of(model)
    source = load_makehuman(args.heads)
    registration = register_makehuman(template, args.heads, source)
    binder = Binder(template, registration)
    folder = args.heads / "makehuman_appearance"
    shelf = Shelf()
    strands = _strands(folder)
    for name, recipe in RECIPES.items():
        mesh = load_fitted(folder / f"hair_{recipe.source}.npz")
        bound, picture = binder.style(mesh, source.vertices, recipe, strands)
        shelf.add(name, "hair", recipe.cut, bound, picture, 82)
    window = brow_window(model)
    brows = BrowMaker(Atlas(model, BROW_SIZE, window), template, registration, source)
    for file in sorted(folder.glob("eyebrows_*.npz")):
        bound, picture = brow_patch(model, brows.paint(load_fitted(file)), window)
        shelf.add(file.stem.removeprefix("eyebrows_"), "brows", "", bound, picture, 85)
    for name, (density, length) in LASHES.items():
        shelf.add(name, "lashes", "", lash_strips(model, template, length), lash_picture(density), 85)
    eyes, eye_meta = eye_maps(folder)
    meta = {
        "format": loader.FORMAT,
        "topology": model.topology,
        "mesh": loader.mesh_digest(model),
        "licence": "Apache-2.0",
        "sources": list(SOURCES),
        "styles": shelf.entries,
        **eye_meta,
    }
    pack(args.output, meta, {**shelf.arrays, **eyes})
    print(f"{args.output}: {len(shelf.entries)} styles, {args.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
