"""Options that several commands share, and what they mean."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from maquette.errors import OptionInvalid
from maquette.pipeline import FaceChoice, check_options
from maquette.rooms import FORMATS, ReconstructOptions

Photos = Annotated[list[Path], typer.Argument(help="Photos: JPEG, PNG, WebP, TIFF, HEIC or AVIF.", metavar="PHOTO")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.", metavar="DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, alone on standard output.")]

Formats = Annotated[str, typer.Option(help="Mesh formats, separated by commas.")]
Engine = Annotated[str, typer.Option(help="Reconstruction engine.")]
Texture = Annotated[
    Literal["albedo", "photo"], typer.Option(help="albedo: the light taken out; photo: as photographed.")
]
TextureSize = Annotated[int, typer.Option(help="Side of the colour map: 1024 or 2048.")]
Detail = Annotated[bool, typer.Option(help="Wrinkles and folds: displacement, normal map, detailed mesh.")]
Hair = Annotated[str, typer.Option(help="auto, none or a style.", metavar="auto|none|NAME")]
Expression = Annotated[
    Literal["photo", "neutral"], typer.Option(help="photo: keep the photo's expression; neutral: remove it.")
]
SizeMm = Annotated[float | None, typer.Option(help="Height of the printed bust in mm; life size if not given.")]

DEFAULTS = ReconstructOptions()
DEFAULT_FORMATS = ",".join(FORMATS)


def make_options(
    formats: str,
    engine: str,
    texture: Literal["albedo", "photo"],
    texture_size: int,
    detail: bool,
    hair: str,
    expression: Literal["photo", "neutral"],
    size_mm: float | None,
) -> ReconstructOptions:
    """Options as the pipeline takes them.

    Raises:
        OptionInvalid: One is out of its range.
    """
    names = tuple(name.strip().lower() for name in formats.split(",") if name.strip())
    options = ReconstructOptions(engine, texture, texture_size, detail, hair, expression, names, size_mm)
    check_options(options)
    return options


def parse_face(text: str) -> FaceChoice | Literal["all"]:
    """The face that ``--face`` asks for.

    Raises:
        OptionInvalid: It is no number from 1, nor ``largest``, nor ``all``.
    """
    if text == "all":
        return "all"
    if text == "largest":
        return "largest"
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise OptionInvalid(f"expected --face to be a number from 1, largest or all, found {text}")
