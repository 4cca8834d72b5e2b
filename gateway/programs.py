"""``maquette-gateway`` and ``maquette-worker``: the parts of the gateway as processes of their own."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry
from pydantic_settings import BaseSettings

from gateway.app import create_app
from gateway.doors import LoopbackDoor, check_open
from gateway.http import HttpServer, HttpSettings
from gateway.jobs import JobSettings, open_jobs
from gateway.orchestration import Services
from gateway.serve import run, run_until_told
from gateway.settings import GatewaySettings
from gateway.worker import Worker
from gateway.workfigures import WorkMetrics
from gateway.worksettings import ServicesSettings, WorkerSettings
from maquette.errors import MaquetteError
from maquette.logs import fields, set_up_logging
from maquette.metrics import MetricsServer, new_registry
from maquette.rpc.program import run_program
from maquette.rpc.remote import RemoteDetector, RemoteMeshproc, RemoteReconstructor
from maquette.rpc.settings import ClientSettings
from maquette.store import StoreSettings, open_store
from maquette.telemetry import TelemetrySettings, set_up_tracing

GATEWAY = "maquette-gateway"
WORKER = "maquette-worker"

_SHARED: tuple[type[BaseSettings], ...] = (
    ServicesSettings,
    ClientSettings,
    JobSettings,
    StoreSettings,
    TelemetrySettings,
)
_log = logging.getLogger(__name__)


def gateway_main() -> int:
    """Answer over HTTP until told to end; returns the exit status."""
    settings: tuple[type[BaseSettings], ...] = (GatewaySettings, HttpSettings, *_SHARED)
    what = "Maquette over HTTP: takes photos, tells of heads and hands out files; workers make them."
    return run_program(GATEWAY, what, settings, lambda: _program(GATEWAY, _gateway), sys.argv[1:])


def worker_main() -> int:
    """Make heads until told to end; returns the exit status."""
    settings: tuple[type[BaseSettings], ...] = (WorkerSettings, *_SHARED)
    what = "Takes jobs from the database and has the services do them."
    return run_program(WORKER, what, settings, run_worker, sys.argv[1:])


def run_worker() -> int:
    """What ``maquette-worker`` does; a wrong setting raises ValidationError."""
    return _program(WORKER, _worker)


def _program(name: str, main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    telemetry = TelemetrySettings()
    set_up_logging(name, telemetry.log_level, sys.stderr)
    provider = set_up_tracing(name, telemetry)
    try:
        run(main)
    except MaquetteError as error:
        _log.error("cannot go on", extra=fields(code=error.code, reason=str(error)))
        return error.exit_code
    finally:
        provider.shutdown()
    return 0


async def _gateway(told: asyncio.Event) -> None:
    settings, http, jobs_settings = GatewaySettings(), HttpSettings(), JobSettings()
    services = ServicesSettings()
    check_open(settings)
    async with AsyncExitStack() as stack:
        store = open_store(StoreSettings())
        stack.callback(store.close)
        jobs = await stack.enter_async_context(await open_jobs(jobs_settings))
        detector = await stack.enter_async_context(RemoteDetector(_way(services.detector)))
        reconstructor = await stack.enter_async_context(RemoteReconstructor(_way(services.reconstructor)))
        app = create_app(jobs, store, detector, reconstructor, settings)
        door = None if settings.require_keys else LoopbackDoor(app, settings)
        server = HttpServer(app, settings.host, settings.port, http, door)
        if settings.require_keys and not await jobs.keys.list():
            _log.warning("there are no API keys yet")
        await run_until_told([server.run()], lambda: server.stop(http.drain_delay_s), told, meanwhile=server.started())


async def _worker(told: asyncio.Event) -> None:
    settings, jobs_settings, services = WorkerSettings(), JobSettings(), ServicesSettings()
    registry = new_registry()
    async with AsyncExitStack() as stack:
        store = open_store(StoreSettings())
        stack.callback(store.close)
        jobs = await stack.enter_async_context(await open_jobs(jobs_settings))
        remote = Services(
            await stack.enter_async_context(RemoteDetector(_way(services.detector))),
            await stack.enter_async_context(RemoteReconstructor(_way(services.reconstructor))),
            await stack.enter_async_context(RemoteMeshproc(_way(services.meshproc))),
        )
        _serve_metrics(registry, settings, stack)
        worker = Worker(
            jobs,
            store,
            remote,
            settings,
            WorkMetrics(registry),
            lease_s=jobs_settings.lease_s,
            upload_s=jobs_settings.upload_s,
        )

        async def stop() -> None:
            worker.stop()

        await run_until_told([worker.run()], stop, told)


def _way(target: str) -> ClientSettings:
    """How a service is reached: its address, and the rest from ``MAQUETTE_CLIENT_…``."""
    return ClientSettings(target=target)


def _serve_metrics(registry: CollectorRegistry, settings: WorkerSettings, stack: AsyncExitStack) -> None:
    if settings.metrics_port is not None:
        server = MetricsServer(registry, settings.metrics_host, settings.metrics_port)
        stack.callback(server.close)
        _log.info("serving metrics", extra=fields(address=settings.metrics_host, port=server.port))
