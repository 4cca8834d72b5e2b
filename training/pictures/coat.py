"""What the head's surfaces look like: skin, lips, brows, eyes, mouth and clothes."""

from dataclasses import dataclass

import numpy as np

from maquette.headmodel import HeadModel
from maquette.types import Float32, Float64
from training.pictures.canvas import Canvas
from training.pictures.skin import Complexion, SkinLibrary


@dataclass(frozen=True)
class Iris:
    """The colours of an eye.

    Attributes:
        colour: (3,) float64 linear.
        ring: (3,) float64 linear, the dark edge.
        sclera: (3,) float64 linear.
        pupil: Its radius as a part of the iris's.
        phase: Seed of the iris's streaks.
    """

    colour: Float64
    ring: Float64
    sclera: Float64
    pupil: float
    phase: float


@dataclass(frozen=True)
class Coat:
    """The head's paint.

    Attributes:
        complexion: Skin from a library, or None for the tint alone.
        tint: (V, 3) float32 factor on the complexion (linear colour where there is none).
        gloss: (V,) float32 strength of the highlight.
        stubble: (V,) float32, how much of the skin hair stubble covers.
        hair: (3,) float64 linear colour of brows, stubble and hair.
        freckles: Strength of freckles.
        iris: The eyes.
        collar: Height, slope and depth of the collar's edge: mm of y at the middle, per mm of |x|, per mm of z; None
            for bare shoulders.
        cloth: (3,) float64 linear colour of the clothes.
        weave: Strength of the cloth's pattern.
    """

    complexion: Complexion | None
    tint: Float32
    gloss: Float32
    stubble: Float32
    hair: Float64
    freckles: float
    iris: Iris
    collar: tuple[float, float, float] | None
    cloth: Float64
    weave: float


def skin_tone(rng: np.random.Generator) -> Float64:
    """(3,) linear albedo of skin, from very light to very dark.

    A straight line in log albedo between the two, the shape that melanin's absorption gives it, with some more or less
    blood in it.
    """
    light, dark = np.log([0.62, 0.42, 0.32]), np.log([0.07, 0.035, 0.022])
    t = rng.beta(1.3, 1.6)
    tone = np.exp(light + t * (dark - light))
    blood = np.exp(rng.normal(0, 0.08) * np.array([0.0, 1.0, 0.8]))
    return np.asarray(tone * blood * np.exp(rng.normal(0, 0.05, 3)), np.float64)


def hair_tone(rng: np.random.Generator, skin: Float64) -> Float64:
    """(3,) linear colour of hair; black with dark skin, anything with light."""
    tones = np.array(
        [
            [0.012, 0.009, 0.008],
            [0.045, 0.026, 0.016],
            [0.11, 0.06, 0.03],
            [0.3, 0.19, 0.09],
            [0.22, 0.08, 0.03],
            [0.25, 0.245, 0.24],
        ]
    )
    light = float(np.clip((skin[0] - 0.1) / 0.35, 0, 1))
    chance = np.array([1.0, 0.25 + light, 0.7 * light, 0.5 * light, 0.15 * light, 0.25])
    tone = tones[rng.choice(len(tones), p=chance / chance.sum())]
    return np.asarray(tone * np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.06, 3)), np.float64)


def draw_iris(rng: np.random.Generator, skin: Float64) -> Iris:
    """Random eyes; light irises go with light skins."""
    brown, dark = np.array([0.09, 0.04, 0.018]), np.array([0.02, 0.011, 0.007])
    pale = np.array([[0.16, 0.22, 0.28], [0.12, 0.17, 0.12], [0.2, 0.2, 0.18], [0.17, 0.11, 0.04]])
    if rng.random() < float(np.clip((skin[0] - 0.25) / 0.3, 0, 0.6)):
        colour = pale[rng.integers(len(pale))]
    else:
        colour = dark + rng.random() * (brown - dark)
    colour = colour * np.exp(rng.normal(0, 0.15, 3))
    sclera = (
        np.array([0.5, 0.44, 0.4]) * rng.uniform(0.65, 1.1) * np.array([1, rng.uniform(0.9, 1), rng.uniform(0.85, 1)])
    )
    return Iris(colour, colour * rng.uniform(0.15, 0.5), sclera, rng.uniform(0.25, 0.5), rng.uniform(0, 100))


def draw_coat(model: HeadModel, canvas: Canvas, rng: np.random.Generator, skins: SkinLibrary | None = None) -> Coat:
    """Random paint.

    Args:
        model: Head model.
        canvas: Its masks.
        rng: Source of chance.
        skins: Skins to choose from; None for flat colours by region.
    """
    skin = skin_tone(rng)
    hair = hair_tone(rng, skin)
    mask = canvas.masks
    complexion = None if skins is None else skins.draw(rng, skin, hair)
    tint = np.tile(skin if complexion is None else np.ones(3), (len(canvas.rest), 1))
    red = np.array([1.0, 0.72, 0.7])
    for name, most in (("cheeks", 0.5), ("nose", 0.5), ("ears", 0.6)):
        tint *= 1 - rng.uniform(0, most) * mask[name][:, None] * (1 - red)
    tint *= 1 - rng.uniform(0, 0.35) * mask["lids"][:, None] * np.array([0.6, 0.8, 0.7])
    if complexion is None:
        lips = np.array([rng.uniform(0.75, 1.0), rng.uniform(0.4, 0.75), rng.uniform(0.45, 0.8)])
        tint *= 1 - mask["lips"][:, None] * (1 - lips)
        if rng.random() < 0.9:
            tint += rng.uniform(0.5, 0.95) * mask["brows"][:, None] * (hair - tint)
        if rng.random() < 0.75:
            tint += mask["scalp"][:, None] * (hair - tint)
    elif rng.random() < 0.3:
        lips = np.exp(rng.normal([0.0, -0.35, -0.25], 0.25))
        tint *= 1 - rng.uniform(0.3, 1) * mask["lips"][:, None] * (1 - lips)
    parts = {
        "teeth": [0.55, 0.48, 0.38],
        "gums": [0.3, 0.09, 0.08],
        "tongue": [0.32, 0.11, 0.1],
        "mouth": [0.16, 0.04, 0.04],
        "eye_socket": skin * 0.5,
    }
    for name, colour in parts.items():
        tint[model.part(name)] = np.asarray(colour) * np.exp(rng.normal(0, 0.1))
    gloss = rng.uniform(0.1, 0.5) + rng.uniform(0, 0.8) * mask["oily"] + rng.uniform(0.2, 1.5) * mask["lips"]
    stubble = np.zeros(len(tint), np.float32)
    if rng.random() < 0.35:
        density = rng.uniform(0.1, 1.0) ** 1.5
        stubble = density * np.maximum(mask["beard"] * rng.choice([0.0, 1.0], p=[0.2, 0.8]), mask["moustache"])
    collar = None
    if rng.random() < 0.85:
        collar = (rng.uniform(-125, -95), rng.uniform(-0.25, 0.35), rng.uniform(-0.45, -0.1))
    cloth = np.exp(rng.normal(-2.0, 1.1)) * np.exp(rng.normal(0, 0.35, 3))
    return Coat(
        complexion,
        tint.astype(np.float32),
        np.asarray(gloss, np.float32),
        np.asarray(stubble, np.float32),
        hair,
        float(rng.uniform(0, 1) if rng.random() < 0.2 else 0),
        draw_iris(rng, skin),
        collar,
        np.minimum(cloth, 0.8),
        float(rng.uniform(0, 0.4)),
    )
