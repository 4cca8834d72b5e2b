"""A collector of spans (OTLP over gRPC) that keeps them, and how long somebody was at work by them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from bench.processes import LOOPBACK

SERVER = SpanMessage.SPAN_KIND_SERVER
_NS = 1e-9


@dataclass(frozen=True)
class Span:
    """A span, in seconds since 1970.

    Attributes:
        service: Name of the program.
        name: Of the work.
        kind: Of the span, as OTLP has it.
        start: When it began.
        end: When it ended.
    """

    service: str
    name: str
    kind: int
    start: float
    end: float


class Collector(rpc.TraceServiceServicer):
    """Keeps what programs send.

    Attributes:
        spans: So far.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._more = asyncio.Event()

    async def Export(  # noqa: N802
        self, request: pb.ExportTraceServiceRequest, context: object
    ) -> pb.ExportTraceServiceResponse:
        """See OTLP."""
        for group in request.resource_spans:
            named = {a.key: a.value.string_value for a in group.resource.attributes}
            for scope in group.scope_spans:
                self.spans += [
                    Span(
                        named.get("service.name", ""),
                        s.name,
                        s.kind,
                        s.start_time_unix_nano * _NS,
                        s.end_time_unix_nano * _NS,
                    )
                    for s in scope.spans
                ]
        self._more.set()
        return pb.ExportTraceServiceResponse()

    async def wait_for(self, service: str, name: str, after: float, seconds: float) -> None:
        """Wait until there is a span that began after some time.

        Raises:
            TimeoutError: There is none.
        """
        async with asyncio.timeout(seconds):
            while not any(s.service == service and s.name == name and s.start >= after for s in self.spans):
                self._more.clear()
                await self._more.wait()


@asynccontextmanager
async def collecting(port: int) -> AsyncIterator[Collector]:
    """Collect spans that come to a port of loopback.

    To be begun when all processes are started: gRPC does not bear its process to be forked.
    """
    collector = Collector()
    server = grpc.aio.server()
    rpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(f"{LOOPBACK}:{port}")
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(0)


def covered(spans: Sequence[tuple[float, float]], start: float, end: float) -> float:
    """How much of a time is covered by spans, each moment counted once.

    Args:
        spans: Begin and end of each, in any order.
        start: Begin of the time.
        end: Its end.
    """
    total, reached = 0.0, start
    for begins, ends in sorted(spans):
        begins, ends = max(begins, reached), min(ends, end)
        if ends > begins:
            total += ends - begins
            reached = ends
    return total
