"""What lies around every call that a server answers: trace, log and figures, named errors, deadline, queue, parsing."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from maquette import telemetry
from maquette.errors import DeadlineExceeded, MaquetteError, MessageInvalid
from maquette.logs import fields
from maquette.metrics import RpcMetrics
from maquette.rpc.admission import Admission
from maquette.rpc.deadline import within
from maquette.rpc.errors import status_code_of, status_of

logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"

_OWN_PREFIX = "/grpc."
"""Health and reflection: answered even when the queue is full, and not worth a log line."""


@dataclass(frozen=True)
class Call:
    """A call being answered.

    Attributes:
        service: Full name of the service, e.g. ``maquette.v1.DetectorService``.
        method: Name of the method, e.g. ``Detect``.
        context: gRPC's.
    """

    service: str
    method: str
    context: Context

    @property
    def seconds_left(self) -> float | None:
        """Until the caller's deadline; None when it has none."""
        return self.context.time_remaining()

    @property
    def is_late(self) -> bool:
        """Whether the caller's deadline has passed."""
        left = self.seconds_left
        return left is not None and left <= 0

    @property
    def headers(self) -> dict[str, str]:
        """The caller's text metadata."""
        return {k: v for k, v in self.context.invocation_metadata() or () if isinstance(v, str)}


class Layers(grpc.aio.ServerInterceptor):
    """The one interceptor of a server."""

    def __init__(self, admission: Admission, metrics: RpcMetrics, max_seconds: float) -> None:
        """Lay the same around every call.

        Args:
            admission: Which calls may work.
            metrics: What counts them.
            max_seconds: Longest a call may take.
        """
        self._admission, self._metrics, self._max_seconds = admission, metrics, max_seconds

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the handler of a call."""
        handler = await continuation(handler_call_details)
        path = handler_call_details.method
        if handler is None or path.startswith(_OWN_PREFIX):
            return handler
        assert not handler.request_streaming, f"{path}: contracts have no streams of requests"
        service, _, method = path.lstrip("/").partition("/")
        parse = handler.request_deserializer

        # The request arrives unparsed, so that what cannot be parsed is answered by name as well.
        if handler.response_streaming:
            items: Any = handler.unary_stream

            async def stream(raw: bytes, context: Context) -> None:
                async with self._around(Call(service, method, context)):
                    generator: AsyncGenerator[Any, None] = items(_parsed(parse, raw), context)
                    async with aclosing(generator):
                        async for item in generator:
                            await context.write(item)

            return grpc.unary_stream_rpc_method_handler(stream, None, handler.response_serializer)

        answer: Any = handler.unary_unary

        async def unary(raw: bytes, context: Context) -> Any:
            async with self._around(Call(service, method, context)):
                return await answer(_parsed(parse, raw), context)

        return grpc.unary_unary_rpc_method_handler(unary, None, handler.response_serializer)

    @asynccontextmanager
    async def _around(self, call: Call) -> AsyncIterator[None]:
        async with self._answered(call), self._in_time(call), self._admission.slot():
            yield

    @asynccontextmanager
    async def _answered(self, call: Call) -> AsyncIterator[None]:
        """Trace, count and log the call, and answer what it raises."""
        name = f"{call.service}/{call.method}"
        start = time.perf_counter()
        attributes = {"rpc_system": "grpc", "rpc_service": call.service, "rpc_method": call.method}
        failure: Exception | None = None
        with (
            telemetry.server_span(name, call.headers, **attributes) as span,
            self._metrics.call(call.service, call.method) as counted,
        ):
            code = grpc.StatusCode.OK
            try:
                yield
            except asyncio.CancelledError:
                code = grpc.StatusCode.DEADLINE_EXCEEDED if call.is_late else grpc.StatusCode.CANCELLED
                telemetry.failed(span, code.name.lower())
                raise
            except Exception as error:
                failure, code = error, status_code_of(error)
                telemetry.failed(span, error.code if isinstance(error, MaquetteError) else MaquetteError.code)
                if code is grpc.StatusCode.INTERNAL:
                    logger.exception("a call failed", extra=fields(method=name))
            finally:
                counted.append(code.name)
                span.set_attribute("rpc.grpc.status_code", code.value[0])
                seconds = round(time.perf_counter() - start, 4)
                logger.info("call", extra=fields(method=name, code=code.name, seconds=seconds))
        if failure is not None:
            if call.is_late:
                # Its caller has gone, and gRPC is about to cancel this; an answer now would only fill the log.
                raise asyncio.CancelledError
            await call.context.abort_with_status(rpc_status.to_status(status_of(failure)))

    @asynccontextmanager
    async def _in_time(self, call: Call) -> AsyncIterator[None]:
        """End the call when it takes longer than any may; at its caller's deadline gRPC itself cancels it."""
        left = call.seconds_left
        own = self._max_seconds if left is None or left > self._max_seconds else None
        try:
            with within(left if own is None else own):
                async with asyncio.timeout(own) as limit:
                    yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DeadlineExceeded(f"expected an answer within {own:.3g} s, found none") from error


def _parsed(parse: Callable[[bytes], Any] | None, raw: bytes) -> Any:
    assert parse is not None, "generated code registers a parser with every method"
    try:
        return parse(raw)
    except DecodeError as error:
        raise MessageInvalid(f"expected a message of the contract, found {len(raw)} bytes that are none") from error
