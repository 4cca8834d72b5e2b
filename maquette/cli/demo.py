"""``maquette demo``."""

from pathlib import Path
from typing import Annotated

import typer

from maquette import pipeline
from maquette.cli import choices
from maquette.cli.console import note, stages
from maquette.cli.reconstruct import save_and_show
from maquette.demo import sample_photo
from maquette.files import check_writable
from maquette.rooms import ReconstructOptions
from maquette.settings import Settings


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.", metavar="DIR")] = Path(
        "maquette-demo"
    ),
    as_json: choices.AsJson = False,
) -> None:
    """Reconstruct the sample photo, a portrait in the public domain."""
    check_writable(output)
    settings = Settings()
    rooms = pipeline.local_rooms(settings)
    with stages("Sample photo") as listener:
        result = pipeline.reconstruct(
            [sample_photo()], rooms=rooms, settings=settings, options=ReconstructOptions(), listener=listener
        )
    save_and_show(result, output, as_json)
    note(f"The head is in {output}: look at preview.png first, then open head.glb in any 3D viewer.")
