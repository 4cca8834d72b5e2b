"""``maquette batch``."""

from pathlib import Path
from typing import Annotated

import typer

from maquette import pipeline
from maquette.batch import find_photos, reconstruct_folder, summary_json, write_summary
from maquette.cli import choices, exits
from maquette.cli.console import note, show_json, show_table, stages
from maquette.errors import OptionInvalid
from maquette.files import check_writable
from maquette.settings import Settings


def batch(
    folder: Annotated[Path, typer.Argument(help="Folder of photos.", metavar="FOLDER")],
    output: choices.Output,
    face: Annotated[str, typer.Option(help="Which face, 1 being the most prominent.", metavar="N|largest")] = "1",
    formats: choices.Formats = choices.DEFAULT_FORMATS,
    engine: choices.Engine = choices.DEFAULTS.engine,
    texture: choices.Texture = choices.DEFAULTS.texture,
    texture_size: choices.TextureSize = choices.DEFAULTS.texture_size,
    detail: choices.Detail = choices.DEFAULTS.detail,
    hair: choices.Hair = choices.DEFAULTS.hair,
    expression: choices.Expression = choices.DEFAULTS.expression,
    size_mm: choices.SizeMm = choices.DEFAULTS.size_mm,
    as_json: choices.AsJson = False,
) -> int:
    """Turn every photo of a folder into a head, each in a folder of its own.

    Run it again to go on where it stopped: photos whose results are there are skipped.
    """
    options = choices.make_options(formats, engine, texture, texture_size, detail, hair, expression, size_mm)
    choice = choices.parse_face(face)
    if choice == "all":
        raise OptionInvalid("expected --face of a batch to be a number from 1 or largest, found all")
    photos = find_photos(folder)
    check_writable(output)
    settings = Settings()
    rooms = pipeline.local_rooms(settings, options.engine)
    outcomes = []
    try:
        for outcome in reconstruct_folder(
            photos, output, rooms=rooms, settings=settings, options=options, face=choice, show=stages
        ):
            outcomes.append(outcome)
            note(f"{outcome.photo}: {outcome.status}" + (f", {outcome.message}" if outcome.message else ""))
    finally:
        if outcomes:
            write_summary(output, outcomes)
    if as_json:
        show_json(summary_json(outcomes))
    else:
        rows = [[o.photo, o.status, o.quality, o.cautions or o.error] for o in outcomes]
        show_table(["photo", "status", "quality", "cautions or error"], rows)
    return exits.SOME_FAILED if any(o.status == "failed" for o in outcomes) else exits.OK
