"""How a worker works, and where the services are; read once from the environment."""

import os
import socket

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_MOST_BY_DEFAULT = 8


def _name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"[:200]


class WorkerSettings(BaseSettings):
    """A worker, as ``MAQUETTE_WORKER_<NAME>``.

    Attributes:
        name: What it is called in the jobs' database; the machine's name and the process's number if not given.
        concurrency: Jobs at once; as many as there are processors if not given, but at most 8. In ``maquette serve``
            each service works on as many calls at once.
        call_s: How long one call to a service may take, seconds.
        patience_s: How long a step is tried again while a service, the store or the database is away, seconds; then
            the job is given back to be tried later.
        tries: How often a job is tried that ends in an error that nobody has foreseen.
        drain_s: How long jobs have to end when the worker is told to, seconds; then they are given back, and another
            worker goes on with them.
        idle_s: How long a worker waits for a job before it looks again by itself, seconds.
        sweep_s: How often to look for what has expired or is to be removed, seconds.
        metrics_host: Address that ``/metrics`` of ``maquette-worker`` listens on.
        metrics_port: Its port; 0 picks a free one, unset serves none.
    """

    model_config = SettingsConfigDict(env_prefix="MAQUETTE_WORKER_", frozen=True)

    name: str = Field(default_factory=_name, min_length=1, max_length=200)
    concurrency: int = Field(default_factory=lambda: min(os.cpu_count() or 1, _MOST_BY_DEFAULT), ge=1, le=1000)
    call_s: float = Field(default=300.0, gt=0)
    patience_s: float = Field(default=60.0, ge=0)
    tries: int = Field(default=3, ge=1)
    drain_s: float = Field(default=20.0, ge=0)
    idle_s: float = Field(default=30.0, gt=0)
    sweep_s: float = Field(default=30.0, gt=0)
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = Field(default=None, ge=0, le=65_535)


class ServicesSettings(BaseSettings):
    """Where the services are for ``maquette-gateway`` and ``maquette-worker``, as ``MAQUETTE_SERVICES_<NAME>``.

    Attributes:
        detector: ``HOST:PORT``, ``dns:///HOST:PORT`` (all addresses of the name are used in turn) or ``unix:PATH``.
        reconstructor: Likewise.
        meshproc: Likewise.
    """

    model_config = SettingsConfigDict(env_prefix="MAQUETTE_SERVICES_", frozen=True)

    detector: str = Field(default="127.0.0.1:50051", min_length=1)
    reconstructor: str = Field(default="127.0.0.1:50052", min_length=1)
    meshproc: str = Field(default="127.0.0.1:50053", min_length=1)
