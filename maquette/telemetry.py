"""Traces from HTTP through gRPC to Triton, by the W3C trace context in headers and metadata.

Every call has a trace, so that its log lines can be found; spans leave the process only where an OTLP endpoint is set.
Spans carry names of calls and codes, never messages, file names or anything else of a person. The calls are traced by
the few functions here rather than by the instrumentation packages, which record the text of exceptions.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from typing import Literal

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from maquette.errors import DependencyMissing, MaquetteError

Attribute = str | int | float | bool

_EXPORT_SECONDS = 2
"""A collector that does not answer holds up the end of a program by so much."""


class TelemetrySettings(BaseSettings):
    """What is told about the work, and to whom.

    Attributes:
        log_level: Least severe lines of the project's own that are logged.
        otlp_endpoint: Collector of spans, OTLP over gRPC, e.g. ``http://collector:4317``; unset sends none.
        sample_ratio: Part of the traces begun here that is recorded, 0 to 1; callers' decisions are kept.
    """

    model_config = SettingsConfigDict(env_prefix="MAQUETTE_TELEMETRY_", frozen=True)

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otlp_endpoint: str | None = None
    sample_ratio: float = Field(default=1.0, ge=0, le=1)


def set_up_tracing(service: str, settings: TelemetrySettings) -> TracerProvider:
    """Begin traces in this process; called once, by main(), which shuts the provider down at the end.

    Args:
        service: Name that spans carry.
        settings: Where to.

    Raises:
        DependencyMissing: An endpoint is set, and the exporter is not installed.
    """
    provider = TracerProvider(
        resource=Resource.create({"service.name": service, "service.version": version("maquette")}),
        sampler=ParentBased(TraceIdRatioBased(settings.sample_ratio)),
    )
    if settings.otlp_endpoint is not None:
        try:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        except ImportError as error:
            raise DependencyMissing(
                "an OTLP endpoint needs the package opentelemetry-exporter-otlp-proto-grpc, found none"
            ) from error
        exporter = OTLPSpanExporter(endpoint=settings.otlp_endpoint, timeout=_EXPORT_SECONDS)
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider


@contextmanager
def server_span(name: str, headers: Mapping[str, str], **attributes: Attribute) -> Iterator[Span]:
    """A span of answering a call, below the caller's.

    Args:
        name: What is called, e.g. ``maquette.v1.DetectorService/Detect``.
        headers: The caller's headers or metadata, names in lower case.
        attributes: Underscores in their names stand for dots.
    """
    parent = TraceContextTextMapPropagator().extract(dict(headers))
    with _span(name, SpanKind.SERVER, attributes, parent) as span:
        yield span


@contextmanager
def client_span(name: str, **attributes: Attribute) -> Iterator[dict[str, str]]:
    """A span of making a call, and the headers to send with it.

    It does not become the current one, so that a generator can hold it while its taker works on.

    Args:
        name: What is called, e.g. ``triton/infer``.
        attributes: Underscores in their names stand for dots.
    """
    made = _tracer().start_span(name, kind=SpanKind.CLIENT, attributes=_dotted(attributes))
    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers, trace.set_span_in_context(made))
    try:
        with _failures(made):
            yield headers
    finally:
        made.end()


@contextmanager
def span(name: str, **attributes: Attribute) -> Iterator[Span]:
    """A span of work within the process.

    Args:
        name: Constant name of the work.
        attributes: Underscores in their names stand for dots.
    """
    with _span(name, SpanKind.INTERNAL, attributes, None) as made:
        yield made


def trace_headers() -> dict[str, str]:
    """``traceparent`` and perhaps ``tracestate`` of the current span; empty where there is none."""
    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers)
    return headers


def failed(span: Span, code: str) -> None:
    """Mark a span as failed, with the error's code."""
    span.set_status(Status(StatusCode.ERROR, code))
    span.set_attribute("error.type", code)


@contextmanager
def _span(name: str, kind: SpanKind, attributes: Mapping[str, Attribute], parent: Context | None) -> Iterator[Span]:
    with (
        _tracer().start_as_current_span(
            name,
            context=parent,
            kind=kind,
            attributes=_dotted(attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as made,
        _failures(made),
    ):
        yield made


@contextmanager
def _failures(made: Span) -> Iterator[None]:
    """Mark a span by what passes through, which leaves out the exception's text."""
    try:
        yield
    except MaquetteError as error:
        failed(made, error.code)
        raise
    except Exception:
        failed(made, MaquetteError.code)
        raise


def _dotted(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    return {k.replace("_", "."): v for k, v in attributes.items()}


@lru_cache(maxsize=1)
def _tracer() -> Tracer:
    # One that is made before the provider is set up goes over to it then.
    return trace.get_tracer("maquette", version("maquette"))
