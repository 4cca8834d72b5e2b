"""Light: an environment as order-2 spherical harmonics and lamps, the first of which throws shadows."""

from dataclasses import dataclass

import numpy as np

from maquette.types import Float32, Float64


@dataclass(frozen=True)
class Lamp:
    """A far lamp.

    Attributes:
        direction: (3,) float64 unit vector towards the lamp, camera frame.
        colour: (3,) float64 linear RGB irradiance at normal incidence.
        softness: Radians, half the lamp's apparent width: how blurred its shadows are.
    """

    direction: Float64
    colour: Float64
    softness: float


@dataclass(frozen=True)
class Light:
    """All light of a picture.

    Attributes:
        ambient: (9, 3) float64 irradiance coefficients, camera frame, in the order of ``harmonics``.
        lamps: The first is the key light.
        scatter: (3,) float64, how far light reaches around the terminator under skin, per channel.
    """

    ambient: Float64
    lamps: tuple[Lamp, ...]
    scatter: Float64


def harmonics(normals: Float32) -> Float32:
    """(P, 9) order-2 spherical harmonics without their constants: 1, x, y, z, xy, yz, xz, x² − y², 3z² − 1."""
    x, y, z = normals.T
    return np.stack([np.ones_like(x), x, y, z, x * y, y * z, x * z, x * x - y * y, 3 * z * z - 1], 1)


def lamp_harmonics(direction: Float64, colour: Float64) -> Float64:
    """(9, 3): a far lamp's clamped-cosine irradiance to second order (Ramamoorthi and Hanrahan 2001)."""
    x, y, z = direction
    basis = np.array([0.25, 0.5 * x, 0.5 * y, 0.5 * z, *(0.9375 * np.array([x * y, y * z, x * z]))])
    tail = 0.9375 * np.array([(x * x - y * y) / 4, (3 * z * z - 1) / 12])
    return np.concatenate([basis, tail])[:, None] * colour


def warmth(rng: np.random.Generator, spread: float) -> Float64:
    """(3,) colour of a lamp, from candle to overcast sky, of unit mean."""
    t = rng.normal(0, spread)
    colour = np.exp(np.array([t, 0.1 * rng.normal(0, spread), -t]))
    return np.asarray(colour / colour.mean(), np.float64)


def draw_light(rng: np.random.Generator) -> Light:
    """Random light: soft rooms, windows, sun, flashes, lamps from the side."""
    kind = rng.choice(["room", "window", "sun", "flash", "side"], p=[0.35, 0.25, 0.15, 0.1, 0.15])
    azimuth = {"room": 35.0, "window": 50.0, "sun": 45.0, "flash": 4.0, "side": 20.0}[kind]
    turn = rng.normal(0, azimuth) + (rng.choice([-1, 1]) * 65 if kind == "side" else 0)
    rise = {"room": 40.0, "window": 20.0, "sun": 45.0, "flash": 4.0, "side": 10.0}[kind] + rng.normal(0, 12)
    key = _direction(float(np.clip(turn, -100, 100)), float(np.clip(rise, -20, 80)))
    ratio = {"room": 0.6, "window": 1.2, "sun": 1.8, "flash": 1.5, "side": 1.2}[kind] * np.exp(rng.normal(0, 0.4))
    softness = {"room": 0.5, "window": 0.25, "sun": 0.04, "flash": 0.06, "side": 0.2}[kind]
    room = warmth(rng, 0.1)
    ambient = np.zeros((9, 3))
    # The sky or ceiling above, a tinted floor below, and bright patches anywhere.
    ambient[0] = 0.35 * room
    ambient[2] = -rng.uniform(0.0, 0.18) * room
    ambient[1:] += rng.normal(0, 0.03, (8, 1)) + rng.normal(0, 0.01, (8, 3))
    for _ in range(2):
        patch = _direction(rng.uniform(-180, 180), rng.uniform(-30, 80))
        ambient += lamp_harmonics(patch, rng.uniform(0.05, 0.4) * warmth(rng, 0.15))
    lamps = [Lamp(key, ratio * warmth(rng, 0.12), softness)]
    if rng.random() < 0.35:
        rim = _direction(rng.choice([-1, 1]) * rng.uniform(60, 150), rng.uniform(-10, 50))
        lamps.append(Lamp(rim, rng.uniform(0.1, 0.7) * warmth(rng, 0.15), 0.3))
    scatter = np.array([0.22, 0.1, 0.06]) * rng.uniform(0.5, 1.5)
    return Light(ambient, tuple(lamps), scatter)


def _direction(azimuth: float, elevation: float) -> Float64:
    """(3,) unit vector in the camera frame; azimuth 0 is where the camera stands, elevation up."""
    a, e = np.deg2rad([azimuth, elevation])
    return np.array([np.sin(a) * np.cos(e), -np.sin(e), -np.cos(a) * np.cos(e)])
