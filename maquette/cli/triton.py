"""``maquette triton``."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maquette.cli import choices, exits
from maquette.cli.console import bar, note, say, show_json
from maquette.errors import ServiceUnavailable
from maquette.settings import Settings
from maquette.triton import REQUIREMENT, VERSION, folder_of, install_triton, is_installed

if TYPE_CHECKING:
    from maquette.tritonserver import TritonServer

MOST_RESTARTS = 5
RESTARTS_WITHIN_S = 300.0


def triton(
    http_port: Annotated[int, typer.Option(help="Port of health, metadata and HTTP requests.")] = 8000,
    grpc_port: Annotated[int, typer.Option(help="Port of gRPC requests.")] = 8001,
    metrics_port: Annotated[int, typer.Option(help="Port of /metrics.")] = 8002,
    address: Annotated[str, typer.Option(help="Address to listen on; anyone who reaches it may send work.")] = (
        "127.0.0.1"
    ),
    instances: Annotated[int, typer.Option(help="Processes per model: people that are worked on at once.")] = 1,
    repository: Annotated[
        Path | None, typer.Option(help="Folder of models instead of the one of this installation.", metavar="DIR")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="File for the server's messages; - for standard error.", metavar="FILE")
    ] = None,
    wheel: Annotated[
        Path | None,
        typer.Option("--from", help="A copy of the wheel, for machines without a package registry.", metavar="WHEEL"),
    ] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch the server and start nothing.")] = False,
    as_json: choices.AsJson = False,
) -> int:
    """Run NVIDIA Triton with the engines of this installation, fetched first if need be; Ctrl-C stops it."""
    settings = Settings()
    written = not is_installed(settings)
    if written:
        with bar() as (progress, task):
            install_triton(settings, wheel, lambda text, done: progress.update(task, description=text, completed=done))
    if fetch:
        if as_json:
            show_json({"folder": str(folder_of(settings)), "written": written})
        else:
            say(f"NVIDIA Triton ({REQUIREMENT}) {'installed in' if written else 'is in'} {folder_of(settings)}")
        return exits.OK
    from maquette.tritonserver import Ports, TritonServer

    server = TritonServer(
        settings,
        ports=Ports(http_port, grpc_port, metrics_port),
        address=address,
        instances=instances,
        repository=repository,
        log=log,
    )
    began = time.monotonic()
    try:
        with server:
            seconds = time.monotonic() - began
            facts = {
                "grpc": server.grpc_target,
                "http": f"http://{address}:{http_port}",
                "metrics": f"http://{address}:{metrics_port}/metrics",
            }
            if as_json:
                show_json({**facts, "pid": server.pid, "models": server.models, "seconds": round(seconds, 2)})
            else:
                say(f"NVIDIA Triton {VERSION} is ready after {seconds:.1f} s with {', '.join(server.models)}")
                for name, place in facts.items():
                    say(f"  {name:8} {place}")
                say(f"Set MAQUETTE_RECONSTRUCTOR_TRITON_URL={server.grpc_target} for its users; Ctrl-C stops it.")
            sys.stdout.flush()
            _keep(server)
    except KeyboardInterrupt:
        note("NVIDIA Triton stopped")
    return exits.OK


def _keep(server: "TritonServer") -> None:
    """Start the server anew whenever it or a model's process ends; does not return.

    Raises:
        ServiceUnavailable: It ends again and again.
    """
    restarts: list[float] = []
    while True:
        reason = server.wait()
        now = time.monotonic()
        restarts = [t for t in restarts if now - t < RESTARTS_WITHIN_S] + [now]
        if len(restarts) > MOST_RESTARTS:
            raise ServiceUnavailable(
                f"NVIDIA Triton ended {len(restarts)} times in {RESTARTS_WITHIN_S:g} s, the last time because {reason}"
            )
        note(f"{reason}; starting NVIDIA Triton anew")
        # Not in order: with a dead process among its own the server takes long to end, and callers try again anyway.
        server.kill()
        server.stop()
        server.start()
        note("NVIDIA Triton is ready again")
