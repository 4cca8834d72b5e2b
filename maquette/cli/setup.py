"""``maquette setup``."""

from pathlib import Path
from typing import Annotated

import typer

from maquette.cli import choices
from maquette.cli.console import bar, say, show_json
from maquette.networks import install_networks
from maquette.settings import Settings


def setup(
    wheel: Annotated[
        Path | None,
        typer.Option("--from", help="A copy of the wheel, for machines without a package registry.", metavar="WHEEL"),
    ] = None,
    as_json: choices.AsJson = False,
) -> None:
    """Fetch the landmark networks; does nothing when they are there."""
    settings = Settings()
    with bar() as (progress, task):
        written = install_networks(
            settings, wheel, lambda text, done: progress.update(task, description=text, completed=done)
        )
    if as_json:
        show_json({"folder": str(settings.networks), "written": written})
    else:
        say(f"Landmark networks {'installed in' if written else 'are in'} {settings.networks}")
