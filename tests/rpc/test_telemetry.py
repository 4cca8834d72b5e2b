"""Traces across services, and log lines that belong to them."""

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from maquette import telemetry
from maquette.errors import NoFaceFound
from maquette.logs import JsonFormatter
from maquette.rpc.remote import RemoteMeshproc
from maquette.v1 import meshproc_pb2 as mp
from tests.rpc.scripted import SERVICE, Scripted, mesh, serving

pytestmark = pytest.mark.anyio

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{CALLER}-01"}


class Forwarding(Scripted):
    """Asks another service, and Triton in its place."""

    next: RemoteMeshproc
    triton: dict[str, str]

    async def inspect(self, request: mp.InspectRequest) -> mp.InspectResponse:
        with telemetry.client_span("triton/infer") as self.triton:
            pass
        return await self.next.inspect(request)

    async def export(self, request: mp.ExportRequest) -> AsyncIterator[mp.ExportResponse]:
        async for answer in self.next.export(request):
            yield answer


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the server logs."""
    logger, stream = logging.getLogger("maquette"), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter("meshproc"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.mark.parametrize("method", ["Inspect", "Export"])
async def test_one_trace_goes_from_http_through_every_service(
    method: str, spans: InMemorySpanExporter, log: io.StringIO
) -> None:
    first = Forwarding()
    async with serving() as back, serving(first) as front:
        first.next = back.client
        with telemetry.server_span("POST /v1/heads", HEADERS, http_route="/v1/heads"):
            if method == "Inspect":
                await front.client.inspect(mesh())
            else:
                assert len([a async for a in front.client.export(mp.ExportRequest())]) == 2
    found = {(s.name, s.kind): s for s in spans.get_finished_spans() if s.name != "triton/infer"}
    assert {trace.format_trace_id(s.context.trace_id) for s in found.values()} == {TRACE}
    ordered = sorted(found.values(), key=lambda s: s.start_time)
    assert [s.name for s in ordered] == [
        "POST /v1/heads",
        f"meshproc/{method}",
        f"{SERVICE}/{method}",
        f"meshproc/{method}",
        f"{SERVICE}/{method}",
    ][: len(ordered)]
    everything = sorted(spans.get_finished_spans(), key=lambda s: s.start_time)
    parents = {s.context.span_id: s for s in everything}
    servers = [s for s in everything if s.name == f"{SERVICE}/{method}"]
    clients = [s for s in everything if s.name == f"meshproc/{method}"]
    assert [parents[s.parent.span_id] for s in servers if s.parent] == clients
    assert trace.format_span_id(next(s for s in everything if s.name == "POST /v1/heads").parent.span_id) == CALLER
    assert all(s.attributes["rpc.grpc.status_code"] == 0 for s in servers)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["trace_id"] for line in lines if line["message"] == "call"] == [TRACE, TRACE]
    if method == "Inspect":
        assert first.triton["traceparent"].split("-")[1] == TRACE


async def test_a_failed_call_marks_its_spans_with_the_code_and_nothing_else(
    spans: InMemorySpanExporter, log: io.StringIO
) -> None:
    def inspecting(_mesh: bytes) -> None:
        raise NoFaceFound("expected a face in anna_smith.jpg, found none", photo="anna_smith.jpg")

    async with serving(Scripted(inspecting=inspecting)) as pair:
        with pytest.raises(NoFaceFound, match="anna_smith"):
            await pair.client.inspect(mesh())
    made = spans.get_finished_spans()
    assert {s.kind for s in made} == {SpanKind.SERVER, SpanKind.CLIENT}
    for span in made:
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes["error.type"] == "no_face_found"
        assert span.events == ()
        assert "anna_smith" not in span.to_json()
    assert "anna_smith" not in log.getvalue()
    (line,) = [json.loads(line) for line in log.getvalue().splitlines() if '"call"' in line]
    assert (line["method"], line["code"]) == (f"{SERVICE}/Inspect", "INVALID_ARGUMENT")
    assert line["seconds"] >= 0


async def test_without_a_caller_a_call_begins_its_own_trace(spans: InMemorySpanExporter) -> None:
    async with serving() as pair:
        for _ in range(2):
            await pair.client.inspect(mesh())
    assert len({s.context.trace_id for s in spans.get_finished_spans()}) == 2


async def test_headers_that_are_none_begin_a_new_trace(spans: InMemorySpanExporter) -> None:
    with telemetry.server_span("GET /", {"traceparent": "00-zz-zz-zz"}) as span:
        assert span.get_span_context().is_valid
        assert telemetry.trace_headers()["traceparent"].startswith("00-")
