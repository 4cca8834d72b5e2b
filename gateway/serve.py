"""All of Maquette in one process: gateway, worker and services, with SQLite and files under ``MAQUETTE_HOME``."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from gateway.app import create_app
from gateway.doors import LoopbackDoor, check_keys, check_open
from gateway.http import HttpServer, HttpSettings
from gateway.jobs import JobSettings, open_jobs
from gateway.local import LocalServices
from gateway.settings import GatewaySettings
from gateway.worker import Worker
from gateway.workfigures import WorkMetrics
from gateway.worksettings import WorkerSettings
from maquette.metrics import new_registry
from maquette.settings import Settings
from maquette.store import StoreSettings, open_store


@dataclass(frozen=True)
class AllSettings:
    """Everything that can be set in one process.

    Attributes:
        home: Of the installation.
        gateway: How it answers.
        http: How connections are treated.
        jobs: The jobs' database.
        store: The object store.
        worker: How jobs are done.
    """

    home: Settings
    gateway: GatewaySettings
    http: HttpSettings
    jobs: JobSettings
    store: StoreSettings
    worker: WorkerSettings


def read_settings(host: str | None = None, port: int | None = None) -> AllSettings:
    """Settings from the environment.

    On an address of this machine alone no API keys are needed, unless ``MAQUETTE_GATEWAY_REQUIRE_KEYS`` says so.

    Args:
        host: Address to listen on instead.
        port: Port to listen on instead.
    """
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    gateway = GatewaySettings().model_copy(update=given)
    # Validated again: copies are not.
    gateway = GatewaySettings.model_validate(gateway.model_dump(include=gateway.model_fields_set | given.keys()))
    if "require_keys" not in gateway.model_fields_set:
        gateway = gateway.model_copy(update={"require_keys": not gateway.on_loopback})
    return AllSettings(Settings(), gateway, HttpSettings(), JobSettings(), StoreSettings(), WorkerSettings())


async def serve(settings: AllSettings, ready: Callable[[str], None], told: asyncio.Event) -> None:
    """Serve until told to end; then end requests, finish jobs or give them back.

    Args:
        settings: All settings.
        ready: Called with the gateway's address when requests are answered.
        told: Set when it is to end.

    Raises:
        OptionInvalid: Others could reach it, and there are no API keys.
        SetupError: This installation lacks something, or the address is taken.
        JobsRefused: The jobs' database cannot be used.
        StoreError: The store cannot be used.
    """
    gateway = settings.gateway
    check_open(gateway)
    registry = new_registry()
    async with AsyncExitStack() as stack:
        store = open_store(settings.store)
        stack.callback(store.close)
        jobs = await stack.enter_async_context(await open_jobs(settings.jobs))
        await check_keys(gateway, jobs)
        local = LocalServices(store, settings.home, threads=settings.worker.concurrency)
        stack.push_async_callback(local.close)
        services = local.services
        await local.warm_up()
        app = create_app(jobs, store, services.detector, services.reconstructor, gateway, registry)
        door = None if gateway.require_keys else LoopbackDoor(app, gateway)
        server = HttpServer(app, gateway.host, gateway.port, settings.http, door)
        worker = Worker(
            jobs,
            store,
            services,
            settings.worker,
            WorkMetrics(registry),
            lease_s=settings.jobs.lease_s,
            upload_s=settings.jobs.upload_s,
        )

        async def stop() -> None:
            worker.stop()
            await server.stop(0)

        async def tell() -> None:
            await server.started()
            ready(server.url)

        await run_until_told([worker.run(), server.run()], stop, told, meanwhile=tell())


async def run_until_told(
    works: Sequence[Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
    told: asyncio.Event,
    *,
    meanwhile: Awaitable[None] | None = None,
) -> None:
    """Run things side by side until told to end, or until one of them ends, and then until all have.

    Args:
        works: What runs until ``stop`` tells it to end.
        stop: Tells all of them.
        told: Set when they are to end.
        meanwhile: Done beside them, as far as there is time.
    """
    running = [asyncio.ensure_future(work) for work in works]
    asked = asyncio.ensure_future(told.wait())
    beside = None if meanwhile is None else asyncio.ensure_future(meanwhile)
    try:
        await asyncio.wait([*running, asked], return_when=asyncio.FIRST_COMPLETED)
        await stop()
        await asyncio.wait(running)
    finally:
        for task in (*running, asked, *([beside] if beside else [])):
            task.cancel()
        await asyncio.gather(*running, asked, *([beside] if beside else []), return_exceptions=True)
    for task in running:
        with suppress(asyncio.CancelledError):
            task.result()


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run a program's coroutine; SIGTERM and SIGINT set the event that it is given, a second one ends it at once."""

    async def begin() -> None:
        told = asyncio.Event()
        loop = asyncio.get_running_loop()
        this = asyncio.current_task()
        assert this is not None

        def tell() -> None:
            if told.is_set():
                this.cancel()
            told.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, tell)
        await main(told)

    with suppress(asyncio.CancelledError):
        asyncio.run(begin())
