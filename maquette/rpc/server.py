"""A gRPC server from its settings to its end: what the servers of all services have in common.

::

    def main() -> int:
        settings = DetectorServerSettings()
        service = LocalDetectorService(open_store(StoreSettings()), Settings(), threads=settings.max_concurrent)
        return run_server("maquette-detector", settings, [detector(service)], close=service.close)

gRPC's own C code writes lines of its own to standard error, which are no JSON; ``GRPC_VERBOSITY=ERROR`` in the
environment keeps all but its errors out.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence

import grpc
from grpc_health.v1 import health
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha._async import ReflectionServicer
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server
from prometheus_client import CollectorRegistry

from maquette.errors import MaquetteError, SetupError
from maquette.logs import fields, set_up_logging
from maquette.metrics import MetricsServer, RpcMetrics, new_registry
from maquette.rpc.admission import Admission
from maquette.rpc.credentials import server_credentials
from maquette.rpc.health import Health
from maquette.rpc.layers import Layers
from maquette.rpc.servicers import Registration
from maquette.rpc.settings import ServerSettings
from maquette.telemetry import TelemetrySettings, set_up_tracing

logger = logging.getLogger(__name__)


class RpcServer:
    """A server of one or more services, within a running event loop.

    Attributes:
        port: Where it listens, once it is started.
        metrics_port: Where ``/metrics`` is, once it is started; None where there is none.
    """

    def __init__(
        self, settings: ServerSettings, services: Sequence[Registration], registry: CollectorRegistry | None = None
    ) -> None:
        """Prepare a server.

        Args:
            settings: How it serves.
            services: What it serves, from ``maquette.rpc.servicers``.
            registry: Where its figures go; one of its own when None.
        """
        self._settings, self._services = settings, services
        self._registry = registry or new_registry()
        self._admission = Admission(settings.max_concurrent, settings.max_queue)
        self._metrics = RpcMetrics(self._registry)
        self._metrics.watch(self._admission)
        self._health = Health(s.name for s in services)
        self._server: grpc.aio.Server | None = None
        self._metrics_server: MetricsServer | None = None
        self.port = settings.port
        self.metrics_port: int | None = None

    async def start(self) -> None:
        """Listen, as NOT_SERVING until ``set_serving``.

        Raises:
            OptionInvalid: A certificate cannot be read.
            SetupError: An address is taken or not of this machine.
        """
        settings = self._settings
        credentials = server_credentials(settings)
        layers = Layers(self._admission, self._metrics, settings.max_seconds)
        server = grpc.aio.server(interceptors=[layers], options=_options(settings))
        for service in self._services:
            service.add(server)
        add_HealthServicer_to_server(self._health, server)
        if settings.reflection:
            names = [*(s.name for s in self._services), health.SERVICE_NAME, reflection.SERVICE_NAME]
            add_ServerReflectionServicer_to_server(ReflectionServicer(names), server)
        address = f"{settings.host}:{settings.port}"
        try:
            if credentials is None:
                self.port = server.add_insecure_port(address)
            else:
                self.port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise SetupError(f"cannot listen at {address}: it is taken, or not an address of this machine") from error
        if settings.metrics_port is not None:
            self._metrics_server = MetricsServer(self._registry, settings.metrics_host, settings.metrics_port)
            self.metrics_port = self._metrics_server.port
        await server.start()
        self._server = server
        logger.info("listening", extra=fields(address=settings.host, port=self.port))

    @property
    def running(self) -> int:
        """Calls that are worked on."""
        return self._admission.running

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return self._admission.waiting

    async def set_serving(self, serving: bool) -> None:
        """Tell clients and load balancers whether calls are welcome."""
        await self._health.set_serving(serving)

    async def stop(self) -> None:
        """Drain: NOT_SERVING first, then no new calls, then cancel what has not ended in time."""
        await self._health.set_serving(False)
        logger.info("draining", extra=fields(count=self._admission.running, depth=self._admission.waiting))
        if self._server is not None:
            await asyncio.sleep(self._settings.drain_delay_seconds)
            await self._health.close()
            await self._server.stop(self._settings.drain_seconds)
        if self._metrics_server is not None:
            await asyncio.to_thread(self._metrics_server.close)
        logger.info("stopped")


def run_server(
    name: str,
    settings: ServerSettings,
    services: Sequence[Registration],
    *,
    warm_up: Callable[[], Awaitable[None]] | None = None,
    close: Callable[[], None] | None = None,
    registry: CollectorRegistry | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT, then drain: the whole of a service's main() but its settings.

    Args:
        name: Of the program, in logs and traces.
        settings: How to serve.
        services: What to serve.
        warm_up: Done before calls are welcome, e.g. loading models; what it raises ends the server.
        close: Done at the very end, e.g. closing the workers and the store.
        registry: Where figures go; one of its own when None.

    Returns:
        Exit status: 0, or that of the error that kept it from starting, which is logged.
    """
    telemetry = TelemetrySettings()
    set_up_logging(name, telemetry.log_level, sys.stderr)
    provider = set_up_tracing(name, telemetry)
    try:
        asyncio.run(_serve(RpcServer(settings, services, registry), warm_up))
    except MaquetteError as error:
        # It has answered nobody yet, so that the reason says nothing about anybody.
        logger.error("cannot start", extra=fields(code=error.code, reason=str(error)))
        return error.exit_code
    finally:
        if close is not None:
            close()
        provider.shutdown()
    return 0


async def _serve(server: RpcServer, warm_up: Callable[[], Awaitable[None]] | None) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await server.start()
    try:
        if warm_up is not None:
            await _unless(told, warm_up())
        if not told.is_set():
            await server.set_serving(True)
            logger.info("serving")
        await told.wait()
    finally:
        await server.stop()


async def _unless(told: asyncio.Event, work: Awaitable[None]) -> None:
    """Do the work, or as much of it as there is time for until the program is told to end."""
    doing = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(told.wait())
    await asyncio.wait({doing, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not doing.done():
        doing.cancel()
        return
    await doing


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    """GRPC core's channel arguments."""
    keepalive = round(settings.keepalive_seconds * 1000)
    return [
        # Two servers that share a port by mistake would each get some of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.keepalive_time_ms", keepalive),
        ("grpc.keepalive_timeout_ms", round(settings.keepalive_timeout_seconds * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        # Clients ping as often as this server does; gRPC's own limit of five minutes would cut them off.
        ("grpc.http2.min_ping_interval_without_data_ms", keepalive // 2),
        ("grpc.http2.max_ping_strikes", 3),
        ("grpc.max_connection_age_ms", round(settings.max_connection_age_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", round(settings.max_seconds * 1000)),
    ]
