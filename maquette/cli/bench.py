"""``maquette bench``."""

import typer

app = typer.Typer(help="Measure how good and how fast reconstructions are.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Measure how good and how fast reconstructions are."""
