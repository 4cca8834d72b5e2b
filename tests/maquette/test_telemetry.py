import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from pydantic import ValidationError

from maquette.telemetry import TelemetrySettings

PROGRAM = """
import sys
from maquette.telemetry import TelemetrySettings, set_up_tracing, span
provider = set_up_tracing("test", TelemetrySettings())
with span("work", stage="fit") as made:
    print(made.get_span_context().trace_flags.sampled, len(provider._active_span_processor._span_processors))
    print("opentelemetry.exporter.otlp" in str(sorted(sys.modules)))
provider.shutdown()
"""


def run(**environment: str) -> list[str]:
    order = [sys.executable, "-W", "error", "-c", PROGRAM]
    done = subprocess.run(order, env=environment, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.split()


def test_nothing_is_sent_unless_an_endpoint_is_set() -> None:
    assert run() == ["True", "0", "False"]


class Collector(TraceServiceServicer):
    """Receives spans as a collector does."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []

    def Export(  # noqa: N802
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        self.requests.append(request)
        return ExportTraceServiceResponse()


def test_spans_arrive_at_the_endpoint_that_is_set() -> None:
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(1))
    add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    assert run(MAQUETTE_TELEMETRY_OTLP_ENDPOINT=f"http://127.0.0.1:{port}") == ["True", "1", "True"]
    server.stop(0).wait()
    (resource,) = collector.requests[0].resource_spans
    names = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert names["service.name"] == "test"
    (span,) = resource.scope_spans[0].spans
    assert (span.name, [(a.key, a.value.string_value) for a in span.attributes]) == ("work", [("stage", "fit")])


def test_a_collector_that_does_not_answer_fails_nothing() -> None:
    assert run(MAQUETTE_TELEMETRY_OTLP_ENDPOINT="http://127.0.0.1:1")[1:] == ["1", "True"]


def test_a_part_of_the_traces_can_be_recorded() -> None:
    assert run(MAQUETTE_TELEMETRY_SAMPLE_RATIO="0")[0] == "False"


@pytest.mark.parametrize("wrong", [{"sample_ratio": 2}, {"log_level": "loud"}])
def test_settings_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        TelemetrySettings(**wrong)
