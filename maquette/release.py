"""Which release this is."""

import importlib.metadata


def version() -> str:
    """Version of the installed distribution."""
    return importlib.metadata.version("maquette")
