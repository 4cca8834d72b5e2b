"""Skins: MakeHuman's pictures blended and recoloured, so that few pictures make many people."""

from dataclasses import dataclass

import numpy as np

from maquette.headmodel import HeadModel
from maquette.types import Float32, Float64
from training.appearance import Appearance
from training.pictures.lens import to_linear

_DARKEST = 0.004
"""Linear albedo below which pictures show noise."""


@dataclass(frozen=True)
class Complexion:
    """How one person's skin is made from the library.

    Attributes:
        first: Index of a skin.
        second: Index of another.
        share: Part of the second, 0 to 1.
        relief: Contrast of spots, pores and painted shade, 1 as in the pictures.
        tone: (3,) float64 linear albedo of the cheeks.
        brow: Index of the brows, or None.
        brow_strength: Factor on their opacity.
        brow_colour: (3,) float64 linear.
        mirrored: Whether left and right are exchanged.
    """

    first: int
    second: int
    share: float
    relief: float
    tone: Float64
    brow: int | None
    brow_strength: float
    brow_colour: Float64
    mirrored: bool


class SkinLibrary:
    """Skins and brows in the head model's atlas, ready to be looked up."""

    def __init__(self, model: HeadModel, appearance: Appearance) -> None:
        self._logs = np.stack([np.log(np.maximum(to_linear(s), _DARKEST)).astype(np.float16) for s in appearance.skins])
        self._brows = appearance.brows
        cheeks = np.unique(
            model.uv_triangles[(model.region("cheek_left") | model.region("cheek_right"))[model.triangles].all(1)]
        )
        self._tones = np.stack([np.median(_bilinear(s, model.uv[cheeks]), 0) for s in self._logs])
        self.skins, self.brows = len(self._logs), len(self._brows)

    def draw(self, rng: np.random.Generator, tone: Float64, hair: Float64) -> Complexion:
        """A random complexion of a given tone."""
        # Wrinkles and hair shadows of a dark skin's picture look like dirt on a light one, so the nearer ones are used.
        away = np.abs(self._tones - np.log(tone)).mean(1)
        chance = np.exp(-away / 0.5)
        chance /= chance.sum()
        first, second = rng.choice(self.skins, 2, p=chance)
        brow = int(rng.integers(self.brows)) if rng.random() < 0.97 else None
        return Complexion(
            int(first),
            int(second),
            float(rng.uniform(0, 1)),
            float(rng.uniform(0.6, 1.25)),
            tone,
            brow,
            float(np.clip(rng.normal(0.85, 0.25), 0.2, 1.3)),
            hair * rng.uniform(0.6, 1.1),
            bool(rng.random() < 0.5),
        )

    def paint(self, skin: Complexion, uv: Float32) -> Float32:
        """(P, 3) float32 linear albedo at texture coordinates (P, 2)."""
        if skin.mirrored:
            uv = np.stack([1 - uv[:, 0], uv[:, 1]], 1)
        mixed = np.zeros((len(uv), 3), np.float32)
        for index, share in ((skin.first, 1 - skin.share), (skin.second, skin.share)):
            mixed += share * (_bilinear(self._logs[index], uv) - self._tones[index])
        out = np.exp(np.log(skin.tone).astype(np.float32) + skin.relief * mixed)
        if skin.brow is not None:
            alpha = np.clip(_bilinear(self._brows[skin.brow][..., None], uv) * skin.brow_strength, 0, 1)
            out += alpha * (skin.brow_colour.astype(np.float32) - out)
        return np.asarray(out, np.float32)


def _bilinear(picture: np.ndarray, uv: Float32) -> Float32:
    """(P, C) float32 of a square picture (N, N, C) whose row 0 is v = 1."""
    n = picture.shape[0]
    x, y = uv[:, 0] * n - 0.5, (1 - uv[:, 1]) * n - 0.5
    c = np.clip(np.floor(x).astype(int), 0, n - 2)
    r = np.clip(np.floor(y).astype(int), 0, n - 2)
    fx = np.clip(x - c, 0, 1)[:, None].astype(np.float32)
    fy = np.clip(y - r, 0, 1)[:, None].astype(np.float32)
    flat = picture.reshape(n * n, -1)
    k = r * n + c
    top = flat[k] * (1 - fx) + flat[k + 1] * fx
    bottom = flat[k + n] * (1 - fx) + flat[k + n + 1] * fx
    return np.asarray(top * (1 - fy) + bottom * fy, np.float32)
