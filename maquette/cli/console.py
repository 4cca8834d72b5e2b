"""What the commands print: results on standard output, everything else on standard error."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from maquette.errors import MaquetteError, OutputError
from maquette.events import Event, Listener, ProductReady, Stage, StageFinished, StageStarted
from maquette.report import to_json

STAGE_TEXTS: dict[Stage, str] = {
    Stage.READ: "Reading",
    Stage.DETECT: "Finding the face",
    Stage.FIT: "Shaping the head",
    Stage.TEXTURE: "Colour, detail and hair",
    Stage.EXPORT: "Writing meshes",
}


_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and line end, other line ends, marks that turn the direction of writing, surrogates."""


def say(text: str = "") -> None:
    """Print a line for a person on standard output."""
    with output():
        sys.stdout.write(spelled(text) + "\n")


def note(text: str) -> None:
    """Print a line on standard error."""
    sys.stderr.write(spelled(text) + "\n")
    sys.stderr.flush()


def show_json(value: Any) -> None:
    """Print one JSON object, which is all that a command with ``--json`` prints on standard output."""
    with output():
        sys.stdout.write(to_json(value))


def show_table(columns: list[str], rows: list[list[str]], *, right: tuple[str, ...] = ()) -> None:
    """Print a table on standard output; ``right`` names the columns of figures."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(spelled, row))
    # A pipe has no width: lines are not to be broken for it.
    with output():
        Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 240).print(table)


@contextmanager
def output() -> Iterator[None]:
    """What is printed inside is printed on standard output.

    Raises:
        OutputError: It cannot be written, though somebody is there to read it.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error


def error_json(error: BaseException) -> dict[str, Any]:
    """An error as machines read it."""
    if isinstance(error, MaquetteError):
        # Details come from many hands: what JSON has no word for is shown as text.
        detail = json.loads(json.dumps(error.detail, default=str))
        return {"code": error.code, "message": one_line(error), "detail": detail}
    return {"code": MaquetteError.code, "message": one_line(error), "detail": {}}


def one_line(error: BaseException) -> str:
    """An error's message without line breaks; its kind where it has none or is none of ours."""
    text = spelled(" ".join(str(error).split()))
    if isinstance(error, MaquetteError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def spelled(text: str) -> str:
    """Text in which what would steer a terminal, or is no character, is spelled out: names of files may hold it."""
    return _STEERING.sub(lambda m: m[0].encode("unicode_escape").decode(), text)


def size_text(path: Path) -> str:
    """Size of a file, for people."""
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


@contextmanager
def stages(title: str = "") -> Iterator[Listener]:
    """Show the stages of reconstructions: a bar on a terminal, a line a stage elsewhere.

    Args:
        title: What is being worked on, shown before each stage.
    """
    prefix = f"{title}: " if title else ""
    if not sys.stderr.isatty():

        def tell(event: Event) -> None:
            if isinstance(event, StageFinished):
                note(f"{prefix}{STAGE_TEXTS[event.stage]}: {event.seconds:.2f} s")

        yield tell
        return
    with bar() as (progress, task):

        def show(event: Event) -> None:
            if isinstance(event, StageStarted):
                progress.update(task, description=prefix + STAGE_TEXTS[event.stage])
            elif isinstance(event, StageFinished):
                done = list(Stage).index(event.stage) + 1
                progress.update(task, completed=done / len(Stage))
            elif isinstance(event, ProductReady):
                progress.update(task, description=f"{prefix}Writing meshes ({event.product.name})")

        yield show


@contextmanager
def bar() -> Iterator[tuple[Progress, TaskID]]:
    """A progress bar from 0 to 1 on standard error, which goes away at the end."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(24), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield progress, progress.add_task("", total=1.0)
