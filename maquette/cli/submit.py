"""``maquette submit``."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maquette.cli import choices
from maquette.cli.console import bar, note, say, show_json, size_text
from maquette.cli.extras import needs
from maquette.errors import OptionInvalid, ServiceMismatch
from maquette.files import check_writable, write_folder
from maquette.report import REPORT_NAME, to_json
from maquette.result import TIMINGS_NAME, read_report

if TYPE_CHECKING:
    from maquette.client import Client, RemoteEvent, RemoteHead

DEFAULT_SERVER = "http://127.0.0.1:8080"

_STATES = {
    "queued": "Waiting for a worker",
    "detecting": "Finding the face",
    "reconstructing": "Shaping the head",
    "meshing": "Writing meshes",
}

Listener = Callable[["RemoteEvent"], None]


def submit(
    photos: choices.Photos,
    output: choices.Output,
    server: Annotated[
        str, typer.Option(envvar="MAQUETTE_SERVER", help="Address of the gateway.", metavar="URL")
    ] = DEFAULT_SERVER,
    key: Annotated[
        str | None,
        typer.Option(envvar="MAQUETTE_API_KEY", help="API key; better in the environment, which nobody sees."),
    ] = None,
    name: Annotated[str, typer.Option(help="What the server calls it.")] = "",
    face: Annotated[str, typer.Option(help="Which face, 1 being the most prominent.", metavar="N|largest")] = "1",
    formats: choices.Formats = choices.DEFAULT_FORMATS,
    engine: choices.Engine = choices.DEFAULTS.engine,
    texture: choices.Texture = choices.DEFAULTS.texture,
    texture_size: choices.TextureSize = choices.DEFAULTS.texture_size,
    detail: choices.Detail = choices.DEFAULTS.detail,
    hair: choices.Hair = choices.DEFAULTS.hair,
    expression: choices.Expression = choices.DEFAULTS.expression,
    size_mm: choices.SizeMm = choices.DEFAULTS.size_mm,
    delete: Annotated[bool, typer.Option("--delete", help="Delete it on the server when its files are here.")] = False,
    as_json: choices.AsJson = False,
) -> None:
    """Have a server turn photos of one person into a 3D head, and fetch the files.

    They are those that `maquette reconstruct` makes of the same photos.
    """
    options = choices.make_options(formats, engine, texture, texture_size, detail, hair, expression, size_mm)
    choice = choices.parse_face(face)
    if choice == "all":
        raise OptionInvalid("expected --face of a server to be a number from 1 or largest, found all")
    check_writable(output)
    with needs("client"):
        from maquette.client import Client
    clock = _Clock()
    with Client(server, key=key) as client, _progress() as listener:
        with clock.during("upload"):
            head = client.submit(photos, options=options, face=choice, name=name)
        note(f"{head.id} is asked for")

        def listen(event: "RemoteEvent") -> None:
            clock.hear(event)
            listener(event)

        head = client.wait(head.id, listen)
        with clock.during("download"):
            report, files = _fetch(client, head)
        timings = clock.timings()
        files[TIMINGS_NAME] = to_json(timings).encode()
        paths = _save(output, files)
        if delete:
            client.delete(head.id)
    if as_json:
        show_json({"folder": str(output), "report": report, "timings": timings, "head": head.id})
        return
    for path in paths:
        say(f"{path}  ({size_text(path)})")
    for caution in report["cautions"]:
        note(f"caution: {caution['message']}")


def _fetch(client: "Client", head: "RemoteHead") -> tuple[dict[str, Any], dict[str, bytes]]:
    """The report, and the files that it names with it."""
    listed = {file.name: file for file in head.files}
    if REPORT_NAME not in listed:
        raise ServiceMismatch(f"expected {REPORT_NAME} among the files of a head that is done, found none")
    text = client.fetch(listed[REPORT_NAME])
    report: dict[str, Any] = json.loads(text)
    names = [str(product["name"]) for product in report["products"]]
    missing = [n for n in names if n not in listed or Path(n).name != n]
    if missing:
        raise ServiceMismatch(f"expected all files of the report, found {missing[0]!r} missing")
    files = {n: client.fetch(listed[n]) for n in names}
    return report, {**files, REPORT_NAME: text}


def _save(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """Write the files as ``maquette reconstruct`` does."""
    older = read_report(folder)
    stale = [p["name"] for p in older["products"]] if older else []
    ordered = {n: data for n, data in files.items() if n != REPORT_NAME}
    return write_folder(folder, {**ordered, REPORT_NAME: files[REPORT_NAME]}, seal=REPORT_NAME, stale=stale)


class _Clock:
    """How long the parts of the way took: upload, each state of the head as it was told, download."""

    def __init__(self) -> None:
        self._start = self._since = time.perf_counter()
        self._state: str | None = None
        self._seconds: dict[str, float] = {}

    @contextmanager
    def during(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[part] = time.perf_counter() - start

    def hear(self, event: "RemoteEvent") -> None:
        if event.kind != "state":
            return
        now = time.perf_counter()
        if self._state is not None:
            self._seconds[self._state] = self._seconds.get(self._state, 0.0) + now - self._since
        state = str(event.data.get("state"))
        self._state, self._since = (state if state in _STATES else None), now

    def timings(self) -> dict[str, Any]:
        seconds = {part: round(s, 4) for part, s in self._seconds.items()}
        return {"seconds": seconds, "total_seconds": round(time.perf_counter() - self._start, 4)}


@contextmanager
def _progress() -> Iterator[Listener]:
    """Show what is told of a head: a bar on a terminal, a line a state elsewhere."""
    if not sys.stderr.isatty():

        def tell(event: "RemoteEvent") -> None:
            if event.kind == "state" and event.data.get("state") in _STATES:
                note(_STATES[event.data["state"]])

        yield tell
        return
    with bar() as (progress, task):

        def show(event: "RemoteEvent") -> None:
            if event.kind == "state" and event.data.get("state") in _STATES:
                progress.update(task, description=_STATES[event.data["state"]])
            elif event.kind == "progress":
                progress.update(task, completed=event.data["progress"])
            elif event.kind == "product":
                progress.update(task, description=f"Writing meshes ({event.data['name']})")

        yield show
