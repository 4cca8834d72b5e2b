"""Figures about a service for Prometheus, on a port of their own; names of calls and codes, never of people."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from maquette.errors import SetupError
from maquette.rpc.admission import Admission

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
"""Upper bounds in seconds: a listing takes milliseconds, a head seconds, a head in a long queue minutes."""


def new_registry() -> CollectorRegistry:
    """A registry with what is known of every process: memory, processor time, files, garbage collection."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class RpcMetrics:
    """Figures about the calls that a server answers.

    ``maquette_rpc_calls_total`` by service, method and gRPC code; ``maquette_rpc_seconds`` (histogram) by service and
    method, waiting included; ``maquette_rpc_in_flight`` by service and method; ``maquette_rpc_running`` and
    ``maquette_rpc_queue_depth`` of the server.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Add the figures to a registry, once a registry."""
        where = ("service", "method")
        self._calls = Counter(
            "maquette_rpc_calls", "Calls answered, by gRPC code.", (*where, "code"), registry=registry
        )
        self._seconds = Histogram(
            "maquette_rpc_seconds", "Time to answer, waiting included.", where, buckets=BUCKETS, registry=registry
        )
        self._in_flight = Gauge("maquette_rpc_in_flight", "Calls waiting or worked on.", where, registry=registry)
        self._running = Gauge("maquette_rpc_running", "Calls worked on.", registry=registry)
        self._depth = Gauge("maquette_rpc_queue_depth", "Calls waiting for their turn.", registry=registry)

    def watch(self, admission: Admission) -> None:
        """Show an admission's figures from now on."""
        self._running.set_function(lambda: admission.running)
        self._depth.set_function(lambda: admission.waiting)

    @contextmanager
    def call(self, service: str, method: str) -> Iterator[list[str]]:
        """Count one call; whoever answers it puts the gRPC code's name into the list that this gives."""
        start = time.perf_counter()
        code: list[str] = []
        with self._in_flight.labels(service, method).track_inprogress():
            try:
                yield code
            finally:
                self._seconds.labels(service, method).observe(time.perf_counter() - start)
                self._calls.labels(service, method, code[-1] if code else "UNKNOWN").inc()


class MetricsServer:
    """``/metrics`` over HTTP.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        """Listen; port 0 picks a free one.

        Raises:
            SetupError: The address is taken or not of this machine.
        """
        try:
            server, thread = start_http_server(port, host, registry)
        except OSError as error:
            raise SetupError(f"cannot serve metrics at {host}:{port}: {error.strerror or error}") from error
        self._server: WSGIServer = server
        self._thread: threading.Thread = thread
        self.port: int = server.server_port

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
