"""The program: commands, errors and exit codes."""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Annotated

import typer
from typer.exceptions import TyperException

from maquette.cli import exits
from maquette.cli.batch import batch
from maquette.cli.bench import app as bench_app
from maquette.cli.console import error_json, note, one_line, output, say, show_json
from maquette.cli.demo import demo
from maquette.cli.detect import detect
from maquette.cli.doctor import doctor
from maquette.cli.keys import app as keys_app
from maquette.cli.model import app as model_app
from maquette.cli.reconstruct import reconstruct
from maquette.cli.serve import serve, worker
from maquette.cli.setup import setup
from maquette.cli.submit import submit
from maquette.cli.triton import triton
from maquette.errors import MaquetteError, OutputError
from maquette.release import version

app = typer.Typer(
    name="maquette",
    help="One photo of a face in, one textured 3D head out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (reconstruct, detect, batch, demo, setup, doctor, serve, submit, worker, triton):
    app.command()(command)
app.add_typer(model_app, name="model")
app.add_typer(bench_app, name="bench")
app.add_typer(keys_app, name="keys")


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"maquette {version()}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    _debug: Annotated[
        bool, typer.Option("--debug", help="Show the whole trace of an error; works after any command as well.")
    ] = False,
) -> None:
    """One photo of a face in, one textured 3D head out."""


def main() -> None:
    """Entry point of ``maquette``."""
    signal.signal(signal.SIGTERM, _terminate)
    status = run(sys.argv[1:])
    try:
        with output():
            sys.stdout.flush()
    except (BrokenPipeError, OutputError) as error:
        # Whoever read the output having gone is no failure; what failed before has been told.
        if isinstance(error, OutputError) and status == exits.OK:
            note(f"maquette: {one_line(error)}")
            status = error.exit_code
        # Keep the interpreter from saying so when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors are printed, never raised.

    Args:
        arguments: Words of the command line after the program's name.
    """
    # Taken out here because both say how errors are shown, also errors in the command line itself.
    debug, as_json = "--debug" in arguments, "--json" in arguments
    words = [a for a in arguments if a != "--debug"]
    try:
        status = app(words, prog_name="maquette", standalone_mode=False)
    except TyperException as error:
        return _fail(error, error.format_message().rstrip(".") + " (see maquette --help)", exits.USAGE, debug, as_json)
    except MaquetteError as error:
        return _fail(error, one_line(error), error.exit_code, debug, as_json)
    except Exception as error:
        hint = "" if debug else " (--debug shows where)"
        return _fail(error, f"internal error: {one_line(error)}{hint}", exits.INTERNAL, debug, as_json)
    if status == exits.INTERRUPTED:
        note("maquette: interrupted")
    return status if isinstance(status, int) else exits.OK


def _fail(error: Exception, text: str, status: int, debug: bool, as_json: bool) -> int:
    if debug:
        traceback.print_exception(error)
    if as_json:
        shown = error_json(error)
        if isinstance(error, TyperException):
            shown = {"code": "usage", "message": error.format_message(), "detail": {}}
        with suppress(OutputError):  # which may be the very error that is told here
            show_json({"error": shown})
    note("maquette: " + " ".join(text.split()))
    return status


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    # An exception, not the default sudden end, so that half-written files are taken away.
    sys.exit(exits.TERMINATED)
