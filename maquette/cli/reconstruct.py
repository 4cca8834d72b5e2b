"""``maquette reconstruct``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from maquette import pipeline
from maquette.cli import choices
from maquette.cli.console import error_json, note, one_line, say, show_json, size_text, stages
from maquette.errors import InputError, OptionInvalid
from maquette.files import check_writable
from maquette.result import Result
from maquette.rooms import ReconstructOptions
from maquette.settings import Settings


def reconstruct(
    photos: choices.Photos,
    output: choices.Output,
    face: Annotated[
        str,
        typer.Option(
            help="Which face, 1 being the most prominent (by size and nearness to the middle); all: each face into a "
            "folder of its own.",
            metavar="N|largest|all",
        ),
    ] = "1",
    formats: choices.Formats = choices.DEFAULT_FORMATS,
    engine: choices.Engine = choices.DEFAULTS.engine,
    texture: choices.Texture = choices.DEFAULTS.texture,
    texture_size: choices.TextureSize = choices.DEFAULTS.texture_size,
    detail: choices.Detail = choices.DEFAULTS.detail,
    hair: choices.Hair = choices.DEFAULTS.hair,
    expression: choices.Expression = choices.DEFAULTS.expression,
    size_mm: choices.SizeMm = choices.DEFAULTS.size_mm,
    as_json: choices.AsJson = False,
) -> None:
    """Turn a photo, or several photos of one person, into a 3D head."""
    options = choices.make_options(formats, engine, texture, texture_size, detail, hair, expression, size_mm)
    choice = choices.parse_face(face)
    check_writable(output)
    settings = Settings()
    if choice == "all":
        _each_face(photos, output, options, settings, as_json)
        return
    rooms = pipeline.local_rooms(settings, options.engine)
    with stages() as listener:
        result = pipeline.reconstruct(
            photos, rooms=rooms, settings=settings, options=options, face=choice, listener=listener
        )
    save_and_show(result, output, as_json)


def save_and_show(result: Result, folder: Path, as_json: bool) -> None:
    """Write a result and print what it is."""
    paths = result.save(folder)
    if as_json:
        show_json(_entry(result, folder))
        return
    show_result(result, paths)


def show_result(result: Result, paths: list[Path]) -> None:
    """Print the files of a result, and its cautions on standard error."""
    for path in paths:
        say(f"{path}  ({size_text(path)})")
    for caution in result.cautions:
        note(f"caution: {caution.message}")


def _each_face(
    photos: list[Path], output: Path, options: ReconstructOptions, settings: Settings, as_json: bool
) -> None:
    if len(photos) != 1:
        raise OptionInvalid(f"expected one photo with --face all, found {len(photos)}")
    rooms = pipeline.local_rooms(settings, options.engine)
    (photo,) = pipeline.read_photos(photos, settings)
    count = len(pipeline.detect(rooms.detector, photo))
    entries: list[dict[str, Any]] = []
    failure: InputError | None = None
    made = 0
    for number in range(1, count + 1):
        folder = output / f"face-{number}"
        try:
            with stages(f"Face {number} of {count}") as listener:
                result = pipeline.reconstruct(
                    [photo], rooms=rooms, settings=settings, options=options, face=number, listener=listener
                )
        except OptionInvalid:
            raise
        except InputError as error:
            failure = error
            note(f"face {number}: {one_line(error)}")
            entries.append({"face": number, "error": error_json(error)})
            continue
        paths = result.save(folder)
        made += 1
        entries.append({"face": number, **_entry(result, folder)})
        if not as_json:
            show_result(result, paths)
    if failure is not None and not made:
        raise failure
    if as_json:
        show_json({"faces": entries})


def _entry(result: Result, folder: Path) -> dict[str, Any]:
    return {"folder": str(folder), "report": result.report, "timings": result.timings}
