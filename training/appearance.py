"""MakeHuman's skins, brows and eyes in the head model's own texture atlas, for training pictures.

``python -m training.appearance --heads FOLDER -o build/appearance`` writes the folder that ``load_appearance`` reads.
The skins are used to draw training pictures only; none of them is part of what the project ships.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from maquette.geometry.surface import vertex_normals
from maquette.headmodel import ARKIT_NAMES, load_head_model
from maquette.headmodel.model import DEFAULT_FILE
from training.browlash import BrowMaker
from training.closest import ClosestPoints, sky_seen
from training.fitted import load_fitted
from training.hair import EYE_BALL, EYE_CENTRE, EYE_IRIS
from training.registration import Registration, Template, makehuman_skin, register_makehuman
from training.sources import MakeHuman, load_makehuman
from training.texels import Atlas, push_pull, read_colour, read_share, sample

Array = NDArray[np.float64]
Float = NDArray[np.float32]
Image = NDArray[np.uint8]
Index = NDArray[np.int64]
Bool = NDArray[np.bool_]

_PAINTED_OVER = 14
"""Grey levels from the flat fill within which a texel of all skins shows nothing."""

MOUTH_COLOURS: dict[str, tuple[int, int, int]] = {
    "teeth": (222, 211, 192),
    "gums": (172, 96, 92),
    "tongue": (186, 108, 104),
    "mouth": (120, 52, 50),
    "eye_socket": (176, 110, 100),
}
"""sRGB of the parts that no picture covers."""


@dataclass(frozen=True)
class Appearance:
    """Pictures in the model's atlas; S skins, B brows, E irises, N texels a side, row 0 is v = 1.

    Gutters around the charts are filled, so that bilinear look-ups need no care.

    Attributes:
        skin_names: E.g. ``young_lightskinned_male``.
        skins: (S, N, N, 3) uint8 sRGB, skin with bare brows; also behind the other parts' charts.
        coverage: (N, N) float32, 1 where the skins are pictures, 0 where they continue in tone (lower bust).
        brow_names: E.g. ``eyebrow001``.
        brows: (B, N, N) float32, opacity of brow hair.
        eye_names: E.g. ``brownlight_eye``.
        eyes: (E, N, N, 3) uint8 sRGB, where ``eye_mask`` is set.
        eye_mask: (N, N) bool, texels of the eyeballs.
        mouth: (N, N, 3) uint8 sRGB of teeth, gums, tongue, and the lining of mouth and sockets.
        mouth_mask: (N, N) bool.
        sky: (N, N) float32, share of the sky that the neutral mean's surface sees, weighted by the cosine (inside the
            mouth: with the jaw open): darkens nostrils, ear folds, eye corners and teeth under diffuse light.
    """

    skin_names: tuple[str, ...]
    skins: Image
    coverage: Float
    brow_names: tuple[str, ...]
    brows: Float
    eye_names: tuple[str, ...]
    eyes: Image
    eye_mask: Bool
    mouth: Image
    mouth_mask: Bool
    sky: Float

    def compose(
        self,
        skin: int,
        *,
        brow: int | None = None,
        brow_colour: tuple[float, float, float] = (45, 33, 26),
        eye: int = 0,
        skin_image: NDArray[np.floating] | None = None,
    ) -> Image:
        """One whole texture: (N, N, 3) uint8 sRGB.

        Args:
            skin: Index of the skin.
            brow: Index of the brows; None for bare ones.
            brow_colour: sRGB of their hair.
            eye: Index of the iris.
            skin_image: (N, N, 3) sRGB to use instead of the skin, e.g. a recoloured or blended one.
        """
        image = (self.skins[skin] if skin_image is None else skin_image).astype(np.float32)
        if brow is not None:
            alpha = self.brows[brow][..., None]
            image = image * (1 - alpha) + np.array(brow_colour, np.float32) * alpha
        image = np.where(self.mouth_mask[..., None], self.mouth, image)
        image = np.where(self.eye_mask[..., None], self.eyes[eye], image)
        return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)


def load_appearance(folder: Path) -> Appearance:
    """Read a folder that this script wrote.

    Raises:
        FileNotFoundError: The folder is not there; make it with ``python -m training.appearance``.
    """
    names = json.loads((folder / "appearance.json").read_text())

    return Appearance(
        skin_names=tuple(names["skins"]),
        skins=np.stack([read_colour(folder / f"skin_{n}.png") for n in names["skins"]]),
        coverage=read_share(folder / "coverage.png"),
        brow_names=tuple(names["brows"]),
        brows=np.stack([read_share(folder / f"brow_{n}.png") for n in names["brows"]]),
        eye_names=tuple(names["eyes"]),
        eyes=np.stack([read_colour(folder / f"eye_{n}.png") for n in names["eyes"]]),
        eye_mask=read_share(folder / "eye_mask.png") > 0,
        mouth=read_colour(folder / "mouth.png"),
        mouth_mask=read_share(folder / "mouth_mask.png") > 0,
        sky=read_share(folder / "sky.png"),
    )


class SkinPainter:
    """Carries pictures in MakeHuman's texture coordinates to the atlas."""

    def __init__(self, atlas: Atlas, template: Template, registration: Registration, source: MakeHuman) -> None:
        self._atlas, self._registration, self._source = atlas, registration, source
        moved = template.points.copy()
        moved[registration.skin] = registration.deformed
        self.mask = atlas.of("skin")
        self.points = atlas.values(self.mask, moved)
        normals = atlas.values(self.mask, vertex_normals(moved, template.triangles))
        self.normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
        triangles, uv_triangles = makehuman_skin(source, linings=False)
        search = ClosestPoints(registration.aligned, triangles)
        triangle, weights, _, _ = search(self.points, self.normals)
        self.uv = np.einsum("pkc,pk->pc", source.uv[uv_triangles[triangle]], weights)

    def paint(self, picture: Image, known: NDArray[np.uint8]) -> tuple[Image, Float]:
        """A skin in the atlas, and where it comes from the picture.

        Args:
            picture: (M, M, 3).
            known: (M, M) uint8, 255 where the picture shows skin.
        """
        size = self._atlas.size
        alpha = np.zeros((size, size), np.float32)
        alpha[self.mask] = sample(known, self.uv)[:, 0] / 255
        image = np.zeros((size, size, 3), np.float32)
        image[self.mask] = sample(picture, self.uv)
        image = push_pull(image, alpha)
        return np.asarray(np.clip(np.rint(self._atlas.fill(image, self.mask)), 0, 255), np.uint8), alpha


def known_area(pictures: list[Image]) -> NDArray[np.uint8]:
    """(M, M) uint8: 255 where skins show something, 0 where they are painted over with one colour each."""
    largest = np.zeros(pictures[0].shape[:2], np.uint8)
    for picture in pictures:
        fill = np.median(picture[200:1800:7, 20:400:7].reshape(-1, 3), axis=0)
        largest = np.maximum(largest, np.abs(picture.astype(np.int16) - fill).max(2).astype(np.uint8))
    mask = (largest > _PAINTED_OVER).astype(np.uint8) * 255
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((25, 25), np.uint8))
    return np.asarray(cv2.GaussianBlur(cv2.erode(closed, np.ones((17, 17), np.uint8)), (0, 0), 5), np.uint8)


def paint_eyes(atlas: Atlas, picture: Image) -> tuple[Image, Bool]:
    """An eye picture on both eyeballs: (size, size, 3), and their texels.

    The pictures show an eyeball from the front. Angles from the gaze axis become radii: the iris's edge meets the
    picture's iris, from there on radii grow evenly up to the picture's rim at 110 degrees.
    """
    model = atlas.model
    out = np.zeros((atlas.size, atlas.size, 3), np.float32)
    both = atlas.of("eye_left", "eye_right")
    marks = model.landmarks(model.mean).astype(np.float64)
    joints = model.joints(model.mean)
    for name, sign, first in (("eye_right", -1.0, 468), ("eye_left", 1.0, 473)):
        mask = atlas.of(name)
        centre = joints[model.joint_names.index(name)]
        edge = marks[first + 1 : first + 5] - centre
        iris = np.arctan2(np.hypot(edge[:, 0], edge[:, 1]), edge[:, 2]).mean()
        arm = atlas.values(mask, model.mean.astype(np.float64)) - centre
        polar = np.arctan2(np.hypot(arm[:, 0], arm[:, 1]), arm[:, 2])
        around = np.arctan2(arm[:, 1], sign * arm[:, 0])
        radius = np.interp(polar, [0, iris, np.deg2rad(110), np.pi], [0, EYE_IRIS, EYE_BALL, EYE_BALL])
        u = EYE_CENTRE[0] + radius * np.cos(around)
        v = 1 - EYE_CENTRE[1] + radius * np.sin(around)
        out[mask] = sample(picture, np.stack([u, v], 1))
    return np.asarray(np.rint(atlas.fill(out, both)), np.uint8), both


def paint_mouth(atlas: Atlas) -> tuple[Image, Bool]:
    """Plain colours of teeth, gums, tongue and linings, teeth darker towards the gums and the back."""
    model = atlas.model
    out = np.zeros((atlas.size, atlas.size, 3), np.float32)
    for name, colour in MOUTH_COLOURS.items():
        out[atlas.of(name)] = colour
    teeth = atlas.of("teeth")
    at = atlas.values(teeth, model.mean.astype(np.float64))
    line = np.median(model.mean[model.part("teeth"), 1])
    root = np.clip((np.abs(at[:, 1] - line) - 4) / 8, 0, 1)
    back = np.clip((at[:, 2].max() - at[:, 2]) / 45, 0, 1)
    out[teeth] *= (1 - 0.12 * root - 0.25 * back)[:, None]
    out[teeth, 2] *= (1 - 0.08 * root).astype(np.float32)
    mask = atlas.of(*MOUTH_COLOURS)
    return np.asarray(np.clip(np.rint(atlas.fill(out, mask)), 0, 255), np.uint8), mask


def paint_sky(atlas: Atlas) -> Float:
    """Share of the sky that each texel sees on the mean: (size, size).

    Teeth, gums and tongue are taken with the mouth open, because they are seen only then.
    """
    model = atlas.model
    triangles = model.triangles.astype(np.int64)
    inner = model.part("teeth", "gums", "tongue")
    sky = sky_seen(model.mean.astype(np.float64), triangles, np.arange(len(model.mean)))
    jaw = np.zeros(len(ARKIT_NAMES))
    jaw[ARKIT_NAMES.index("jawOpen")] = 0.7
    sky[inner] = sky_seen(model.vertices(None, jaw).astype(np.float64), triangles, np.flatnonzero(inner))
    out = np.ones((atlas.size, atlas.size), np.float32)
    mask = atlas.raster.covered
    out[mask] = np.clip(atlas.values(mask, sky[:, None])[:, 0], 0, 1)
    return np.asarray(atlas.fill(out, mask), np.float32)


def _grow(mask: Bool, other: Bool, texels: int) -> Bool:
    """A part's texels with the gutter around them, short of other parts."""
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((2 * texels + 1, 2 * texels + 1), np.uint8)) > 0
    return np.asarray(grown & ~other, bool)


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=Path, required=True, help="folder with the shape libraries")
    parser.add_argument("--model", type=Path, default=DEFAULT_FILE, help="head model file")
    parser.add_argument("--size", type=int, default=1024, help="texels a side")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/appearance"))
    args = parser.parse_args()
    model = load_head_model(args.model)
    template = Template.of(model)
    source = load_makehuman(args.heads)
    registration = register_makehuman(template, args.heads, source)
    folder = args.heads / "makehuman_appearance"
    args.output.mkdir(parents=True, exist_ok=True)

    def write(name: str, image: NDArray[np.generic]) -> None:
        data = image[..., ::-1] if image.ndim == 3 else image
        cv2.imwrite(str(args.output / name), np.ascontiguousarray(data))

    atlas = Atlas(model, args.size)
    painter = SkinPainter(atlas, template, registration, source)
    brows = BrowMaker(atlas, template, registration, source)
    names: dict[str, list[str]] = {"skins": [], "brows": [], "eyes": []}
    files = sorted(folder.glob("skin_*.jpg"))
    pictures = [read_colour(f) for f in files]
    known = known_area(pictures)
    for file, picture in zip(files, pictures, strict=True):
        names["skins"].append(file.stem.removeprefix("skin_"))
        image, alpha = painter.paint(picture, known)
        write(f"{file.stem}.png", image)
        write("coverage.png", np.rint(alpha * 255).astype(np.uint8))
    for file in sorted(folder.glob("eyebrows_*.npz")):
        name = file.stem.removeprefix("eyebrows_")
        names["brows"].append(name)
        write(f"brow_{name}.png", np.rint(brows.paint(load_fitted(file)) * 255).astype(np.uint8))
    mouth, mouth_mask = paint_mouth(atlas)
    eye_mask = atlas.of("eye_left", "eye_right")
    for file in sorted(folder.glob("eyes_*.png")):
        name = file.stem.removeprefix("eyes_")
        names["eyes"].append(name)
        write(f"eye_{name}.png", paint_eyes(atlas, read_colour(file))[0])
    write("mouth.png", mouth)
    write("eye_mask.png", _grow(eye_mask, atlas.raster.covered & ~eye_mask, 3).astype(np.uint8) * 255)
    write("mouth_mask.png", _grow(mouth_mask, atlas.raster.covered & ~mouth_mask, 3).astype(np.uint8) * 255)
    write("sky.png", np.rint(paint_sky(atlas) * 255).astype(np.uint8))
    (args.output / "appearance.json").write_text(json.dumps({**names, "model": model.sha256}, indent=1))
    print(f"{args.output}: {len(names['skins'])} skins, {len(names['brows'])} brows, {len(names['eyes'])} irises")


if __name__ == "__main__":
    main()
