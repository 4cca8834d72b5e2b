"""``maquette serve`` and ``maquette worker``."""

import asyncio
import sys
from typing import Annotated

import typer

from maquette.cli import choices, exits
from maquette.cli.console import say, show_json
from maquette.cli.extras import needs, settings_named


def serve(
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on; beyond this machine only with API keys. 127.0.0.1 if not given."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port to listen on, 0 for a free one. 8080 if not given.")
    ] = None,
    as_json: choices.AsJson = False,
) -> int:
    """Serve Maquette over HTTP: gateway, worker and services in one process; Ctrl-C ends it.

    Photos, heads and jobs are kept in MAQUETTE_HOME. Everything else is set by the environment as well
    (docs/configuration.md).
    """
    with needs("gateway"):
        from gateway.serve import read_settings, run
        from gateway.serve import serve as serve_all
        from maquette.logs import set_up_logging
        from maquette.telemetry import TelemetrySettings, set_up_tracing
    with settings_named():
        settings, telemetry = read_settings(host, port), TelemetrySettings()

    def ready(url: str) -> None:
        if as_json:
            show_json({"url": url})
        else:
            say(f"Maquette is at {url}; its API is described at {url}/openapi.json. Ctrl-C ends it.")
        sys.stdout.flush()

    async def main(told: asyncio.Event) -> None:
        await serve_all(settings, ready, told)

    set_up_logging("maquette", telemetry.log_level, sys.stderr)
    provider = set_up_tracing("maquette", telemetry)
    try:
        run(main)
    finally:
        provider.shutdown()
    return exits.OK


def worker() -> int:
    """Do jobs for a gateway in another process, with services in others; the same as maquette-worker.

    Where they are is set by the environment (docs/configuration.md).
    """
    with needs("gateway"):
        from gateway.programs import run_worker
    with settings_named():
        return run_worker()
