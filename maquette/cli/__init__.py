"""The command line: ``maquette`` and its commands."""

from maquette.cli.main import main

__all__ = ["main"]
