"""``maquette bench``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from maquette.cli import choices, exits
from maquette.cli.console import bar, say, show_json, show_table

app = typer.Typer(help="Measure how good and how fast reconstructions are.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Measure how good and how fast reconstructions are."""


@app.command()
def scans(
    folder: Annotated[Path, typer.Option("--root", help="Folder of scans and pictures.", metavar="PATH")],
    as_json: choices.AsJson = False,
) -> None:
    """Compare heads made of pictures with scans of the same people."""
    from maquette.benchmarks.scans import run

    run(folder, as_json)


@app.command()
def synthetic(
    count: Annotated[int | None, typer.Option(min=2, help="How many heads.")] = None,
    as_json: choices.AsJson = False,
) -> None:
    """Compare heads made of rendered pictures with the heads that were rendered."""
    from maquette.benchmarks.synthetic import COUNT, run

    run(count or COUNT, as_json)


@app.command()
def hostile(
    count: Annotated[int, typer.Option(min=1, help="How many files.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Out of which they are made.")] = 7,
    workers: Annotated[int, typer.Option(min=1, help="Processes side by side.")] = 2,
    seconds: Annotated[float, typer.Option(min=1, help="Most wall time for one file.")] = 120,
    keep: Annotated[
        Path | None, typer.Option(help="Folder for the files that something went wrong with.", metavar="DIR")
    ] = None,
    as_json: choices.AsJson = False,
) -> int:
    """Take damaged and hostile files through the pipeline; each has to give a result or a named error."""
    from maquette.benchmarks.hostile import run_series, summary, table
    from maquette.benchmarks.specimens import specimens
    from maquette.networks import require_networks
    from maquette.settings import Settings

    require_networks(Settings())
    with bar() as (progress, task):
        progress.update(task, description="Hostile files", total=count)
        files = specimens(count, seed)
        series = run_series(files, workers=workers, seconds=seconds, keep=keep, progress=lambda: progress.advance(task))
    if as_json:
        show_json({"seed": seed, **summary(series)})
    else:
        columns, rows = table(series)
        show_table(columns, rows, right=tuple(columns[1:]))
        for finding in series.failures:
            say(f"failed: file {finding.specimen.number} ({finding.specimen.kind}): {finding.specimen.name}")
            for fault in finding.faults:
                say("    " + fault.replace("\n", "\n    "))
        for leak in series.leaks:
            say(f"leak: {leak}")
        growth = "not known" if series.growth_mb is None else f"{series.growth_mb:+.0f} MB"
        say(f"memory held at the end against the beginning: {growth}; {series.seconds:.0f} s in all")
    return exits.OK if series.passed else exits.INTERNAL


@app.command("time")
def time_(
    runs: Annotated[int, typer.Option(min=1, help="Runs in a warm process.")] = 9,
    cold_runs: Annotated[int, typer.Option(min=1, help="Runs of the command line.")] = 5,
    as_json: choices.AsJson = False,
) -> int:
    """Time the sample photo beside a fixed piece of work; the last line is one JSON object."""
    from maquette.benchmarks.speed import measure, summary, table

    with bar() as (progress, task):
        progress.update(task, description="Timing", total=runs + cold_runs)
        speed = measure(runs, cold_runs, progress=lambda: progress.advance(task))
    if not as_json:
        columns, rows = table(speed)
        show_table(columns, rows, right=("median", "min", "max", "limit", "of fixed work", "processor"))
    say(json.dumps(summary(speed)))
    return exits.OK if speed.passed else exits.SOME_FAILED
