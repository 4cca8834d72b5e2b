"""What the parts of a head are made of, and the pictures that go with them."""

import re
from dataclasses import dataclass

import numpy as np

from maquette.rooms import ReconstructOptions
from maquette.types import Float32, Hair, Head, UInt8


@dataclass(frozen=True)
class Material:
    """A surface in the metallic-roughness model, never metallic.

    Attributes:
        colour: Linear red, green and blue where there is no colour map.
        roughness: 0 (a mirror) to 1 (chalk).
    """

    colour: tuple[float, float, float]
    roughness: float


MATERIALS: dict[str, Material] = {
    "skin": Material((0.55, 0.33, 0.25), 0.6),
    "eyes": Material((0.70, 0.68, 0.66), 0.15),
    "teeth": Material((0.65, 0.60, 0.50), 0.25),
    "gums": Material((0.40, 0.12, 0.11), 0.4),
    "tongue": Material((0.42, 0.14, 0.13), 0.4),
}
"""By part, see ``mesh.PARTS``."""

HAIR = Material((0.08, 0.05, 0.03), 0.7)


@dataclass(frozen=True, eq=False)
class Maps:
    """The pictures of a head that the options ask for, in the model's UV atlas.

    Attributes:
        colour: (N, N, 3) uint8 sRGB.
        kind: ``albedo`` or ``photo``.
        normal: (M, M, 3) uint8 tangent-space normal map, or None.
        displacement: (M, M) float32 mm, or None.
    """

    colour: UInt8
    kind: str
    normal: UInt8 | None
    displacement: Float32 | None


def maps_of(head: Head, options: ReconstructOptions) -> Maps | None:
    """Pick the pictures of a head; None when it has none."""
    textures = head.textures
    if textures is None:
        return None
    colour = textures.albedo if options.texture == "albedo" else textures.photo
    if not options.detail:
        return Maps(colour, options.texture, None, None)
    return Maps(colour, options.texture, textures.normal, textures.displacement)


def notes(head: Head) -> tuple[str, ...]:
    """What files say about themselves where their format has comments, each on one line."""
    lines = (
        f"Head reconstructed by {head.engine} on {head.model}",
        f"Terms: {head.licence}",
        "Millimetres; x to the subject's left, y up, z out of the face",
    )
    return tuple(" ".join(line.split()) for line in lines)


def hair_names(hair: tuple[Hair, ...]) -> tuple[str, ...]:
    """Names for files and materials, each of letters, digits, dashes and underscores, and no two alike."""
    names: list[str] = []
    for piece in hair:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", piece.name) or "hair"
        names.append(plain if plain not in names else f"{plain}_{len(names)}")
    return tuple(names)


def sample(picture: UInt8, uv: Float32) -> UInt8:
    """(N, C) colours of an (H, W, C) picture at (N, 2) texture coordinates, v upwards, between texels by averages."""
    height, width = picture.shape[:2]
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
    y = np.clip((1 - uv[:, 1]) * height - 0.5, 0, height - 1)
    left, top = x.astype(np.int32), y.astype(np.int32)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    fx, fy = (x - left)[:, None].astype(np.float32), (y - top)[:, None].astype(np.float32)
    upper = picture[top, left] * (1 - fx) + picture[top, right] * fx
    lower = picture[bottom, left] * (1 - fx) + picture[bottom, right] * fx
    return np.asarray(np.rint(upper * (1 - fy) + lower * fy), np.uint8)
