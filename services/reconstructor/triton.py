"""The reconstructor room whose engine runs in NVIDIA Triton."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import grpc
import numpy as np
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from pydantic import Field
from pydantic_settings import SettingsConfigDict
from tritonclient.grpc import service_pb2, service_pb2_grpc

from maquette.errors import (
    Cancelled,
    DeadlineExceeded,
    MaquetteError,
    MessageInvalid,
    MessageTooLarge,
    OptionInvalid,
    Overloaded,
    ServiceError,
    ServiceMismatch,
    ServiceRefused,
    ServiceUnavailable,
)
from maquette.rooms import PhotoView, ReconstructOptions
from maquette.rpc.channel import channel_options
from maquette.rpc.credentials import channel_credentials
from maquette.rpc.deadline import remaining
from maquette.rpc.settings import MEBIBYTE, ClientSettings
from maquette.rpc.work import checkpoint
from maquette.types import Head
from services.reconstructor.packing import head_to_tensors, tensors_to_head, views_to_tensors
from services.reconstructor.refusals import from_line
from services.reconstructor.tensors import (
    COARSE_HEAD,
    COMPLETE,
    DATATYPES,
    FORMAT,
    HEAD,
    VIEWS,
    Array,
    Tensor,
    shape_of,
)

LARGEST_MESSAGE = 2**31 - 1
"""Bytes: what protobuf, gRPC and Triton itself can carry in one message."""

RETRY_AFTER_S = 2.0

_INFER = "/inference.GRPCInferenceService/ModelInfer"
_RAW_FIELD = b"\x3a"
"""Protobuf's key of field 7, ``raw_input_contents``, length-delimited."""

_POLL_S = 0.05
_HEADER_ROOM = MEBIBYTE
_SUFFIX = "_complete"

Parts = Mapping[str, Sequence[Array]]


class TritonSettings(ClientSettings):
    """How NVIDIA Triton is reached.

    Attributes:
        target: ``host:port`` of its gRPC door, or ``dns:///host:port`` to use all addresses of the name in turn.
        timeout_seconds: Longest that one call may take.
        max_message_bytes: Largest message; a photo travels as its pixels, three bytes each.
    """

    model_config = SettingsConfigDict(env_prefix="MAQUETTE_TRITON_", frozen=True)

    target: str = "127.0.0.1:8001"
    timeout_seconds: float = Field(default=120, gt=0)
    max_message_bytes: int = Field(default=LARGEST_MESSAGE, ge=MEBIBYTE, le=LARGEST_MESSAGE)


class TritonEngine:
    """A ``ReconstructorRoom``; may be used from several threads at once.

    A nearer deadline of the call that is being answered (``maquette.rpc.deadline``) counts, work that nobody waits for
    any more is given up (``maquette.rpc.work.checkpoint``), and the current trace goes along.
    """

    def __init__(self, settings: TritonSettings, engine: str = "open") -> None:
        """Prepare the connection; it is made at the first call.

        Args:
            settings: How Triton is reached.
            engine: Name of the engine: of the model that makes coarse heads, and with ``_complete`` of the other.

        Raises:
            OptionInvalid: A certificate cannot be read.
        """
        self._settings = settings
        self._engine = engine
        self._channel = _open(settings)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._infer: grpc.UnaryUnaryMultiCallable[bytes, Any] = self._channel.unary_unary(
            _INFER,
            request_serializer=None,  # the message is put together here, without a copy for each layer
            response_deserializer=service_pb2.ModelInferResponse.FromString,
        )
        self._known: set[str] = set()

    def coarse(self, views: Sequence[PhotoView], options: ReconstructOptions) -> Head:
        """Shape only.

        Args:
            views: Photos of one person; the first is the main one.
            options: What the caller chose.

        Raises:
            InputError: As in process: OptionInvalid, FaceUnusable or PeopleMixed.
            ServiceError: Triton did not answer in time, cannot be reached, is too busy or of another release, or the
                photos are too large to be sent.
        """
        if not views:
            # Triton carries no empty tensors.
            raise OptionInvalid("expected at least one photo, found none")
        return self._call(self._engine, VIEWS, views_to_tensors(views, options, self._engine))

    def complete(self, views: Sequence[PhotoView], coarse: Head, options: ReconstructOptions) -> Head:
        """Add textures, detail and hair.

        Args:
            views: Those that ``coarse`` was made from, in the same order.
            coarse: What ``coarse`` returned.
            options: What to make.

        Raises:
            InputError: As in process.
            ServiceError: See ``coarse``.
        """
        if not views:
            raise OptionInvalid(f"expected the {len(coarse.fit.views)} views of the coarse head, found 0")
        head = {n: (t,) for n, t in head_to_tensors(coarse).items() if n in COARSE_HEAD}
        tensors = {**views_to_tensors(views, options, self._engine), **head}
        return self._call(self._engine + _SUFFIX, COMPLETE, tensors)

    def check(self) -> None:
        """Ask whether Triton can answer: alive, both models loaded, of this release.

        Raises:
            ServiceError: It cannot; the subclass and the message say why.
        """
        timeout = remaining(self._settings.timeout_seconds)
        for model, inputs in ((self._engine, VIEWS), (self._engine + _SUFFIX, COMPLETE)):
            try:
                answer = self._stub.ModelReady(service_pb2.ModelReadyRequest(name=model), timeout=timeout)
            except grpc.RpcError as error:
                raise self._error(error, model) from error
            if not answer.ready:
                raise ServiceUnavailable(
                    f"expected Triton at {self._settings.target} to have {model} ready, it has not"
                )
            self._known.discard(model)
            self._require_model(model, inputs, timeout)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_about: object) -> None:
        self.close()

    def _call(self, model: str, inputs: Mapping[str, Tensor], tensors: Parts) -> Head:
        timeout = remaining(self._settings.timeout_seconds)
        self._require_model(model, inputs, timeout)
        message = infer_message(model, tensors, timeout, self._settings.max_message_bytes)
        try:
            answer = self._wait(self._infer.future(message, timeout=timeout, metadata=_trace()))
        except grpc.RpcError as error:
            named = self._error(error, model)
            if isinstance(named, MessageInvalid):
                # Was the message wrong, or is another release at the other end by now?
                self._known.discard(model)
                self._require_model(model, inputs, timeout)
            raise named from error
        return tensors_to_head(_tensors(answer))

    def _wait(self, call: Any) -> Any:
        """Wait for an answer; give it up when nobody waits for it here any more."""
        try:
            while True:
                with suppress(grpc.FutureTimeoutError):
                    return call.result(timeout=_POLL_S)
                checkpoint()
        finally:
            call.cancel()

    def _require_model(self, model: str, inputs: Mapping[str, Tensor], timeout: float | None) -> None:
        """Check once that the model takes and gives the tensors of this release.

        Raises:
            ServiceError: It does not (ServiceMismatch), or Triton cannot be asked.
        """
        if model in self._known:
            return
        try:
            found = self._stub.ModelMetadata(service_pb2.ModelMetadataRequest(name=model), timeout=timeout)
            config = self._stub.ModelConfig(service_pb2.ModelConfigRequest(name=model), timeout=timeout).config
        except grpc.RpcError as error:
            raise self._error(error, model) from error
        form = config.parameters["format"].string_value if "format" in config.parameters else "none"
        if form != FORMAT:
            raise ServiceMismatch(f"expected {model} of Triton to speak {FORMAT}, found {form[:40]}", found=form[:40])
        for what, expected, tensors in (("input", inputs, found.inputs), ("output", HEAD, found.outputs)):
            have = {t.name: (t.datatype, list(t.shape)) for t in tensors}
            want = {n: (t.datatype, [-1, *t.dims]) for n, t in expected.items()}
            wrong = [n for n in {**want, **have} if have.get(n) != want.get(n)]
            if wrong:
                raise ServiceMismatch(
                    f"expected {what} {wrong[0]} of Triton's {model} to be {want.get(wrong[0])}, "
                    f"found {have.get(wrong[0])}",
                    tensor=wrong[0],
                )
        self._known.add(model)

    def _error(self, error: grpc.RpcError, model: str) -> MaquetteError:
        """What a failed call means here."""
        code, said = error.code(), error.details() or ""
        return from_line(said) or _of_status(code, said, f"{model} of Triton at {self._settings.target}")


def _open(settings: TritonSettings) -> grpc.Channel:
    credentials = channel_credentials(settings)
    # Triton's health cannot be watched (UNIMPLEMENTED), only asked for.
    options = channel_options(settings, health=False)
    if credentials is None:
        return grpc.insecure_channel(settings.target, options)
    return grpc.secure_channel(settings.target, credentials, options)


def infer_message(model: str, tensors: Parts, timeout_s: float | None, limit: int) -> bytes:
    """A serialised ``ModelInferRequest``.

    Protobuf allows a message's fields in any order and pieces, so the pixels are joined to the rest as they lie in
    memory: one copy, where building the message by its class takes three.

    Args:
        model: Name of the model.
        tensors: Its inputs, each in parts.
        timeout_s: Time after which nobody waits any more; Triton then takes the request out of its queue.
        limit: Most bytes.

    Raises:
        MessageTooLarge: It would be longer.
    """
    request = service_pb2.ModelInferRequest(model_name=model)
    if timeout_s is not None:
        request.parameters["timeout"].int64_param = max(1, round(timeout_s * 1e6))
    for name, parts in tensors.items():
        shape = [1, *shape_of(parts)]
        request.inputs.add(name=name, datatype=DATATYPES[parts[0].dtype], shape=shape)
    size = sum(p.nbytes for parts in tensors.values() for p in parts) + _HEADER_ROOM
    if size > limit:
        pixels = sum(p.nbytes for p in tensors["pixels"])
        raise MessageTooLarge(
            f"expected a request of at most {limit / 1e6:.0f} MB for Triton, found {size / 1e6:.0f} MB, "
            f"{pixels / 1e6:.0f} MB of them pixels",
            limit=limit,
            size=size,
        )
    return b"".join([request.SerializeToString(), *_raw(tensors)])


def _raw(tensors: Parts) -> Iterator[bytes | memoryview]:
    """Each tensor's bytes as one occurrence of ``raw_input_contents``."""
    for parts in tensors.values():
        yield _RAW_FIELD + _varint(sum(p.nbytes for p in parts))
        yield from (p.reshape(-1).view(np.uint8).data for p in parts)


def _varint(value: int) -> bytes:
    """Protobuf's base 128 encoding of a length."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _tensors(answer: service_pb2.ModelInferResponse) -> dict[str, Array]:
    """The answer's tensors without their batch dimension, in its memory.

    Raises:
        MessageInvalid: A tensor is not as long as its shape says, or of a type that does not travel.
    """
    types = {name: dtype for dtype, name in DATATYPES.items()}
    found: dict[str, Array] = {}
    if len(answer.outputs) != len(answer.raw_output_contents):
        raise MessageInvalid(
            f"expected {len(answer.outputs)} raw tensors of Triton, found {len(answer.raw_output_contents)}"
        )
    for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True):
        try:
            found[output.name] = np.frombuffer(raw, types[output.datatype]).reshape(tuple(output.shape))[0]
        except (KeyError, ValueError, IndexError) as error:
            raise MessageInvalid(
                f"expected tensor {output.name} of {output.datatype} {list(output.shape)}, found {len(raw)} bytes",
                field=output.name,
            ) from error
    return found


def _trace() -> tuple[tuple[str, str], ...]:
    """The current trace as W3C headers; none outside of a trace."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return tuple(carrier.items())


def _of_status(code: grpc.StatusCode, said: str, where: str) -> ServiceError:
    """What Triton's own answers, or gRPC's, mean."""
    text = f"{where} answered {code.name}: {' '.join(said.split())[:500]}"
    match code:
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded(f"{where} did not answer in time")
        case grpc.StatusCode.CANCELLED:
            return Cancelled(text)
        case grpc.StatusCode.UNAVAILABLE if "maximum queue size" in said:
            return Overloaded(text, retry_after_seconds=RETRY_AFTER_S)
        case grpc.StatusCode.UNAVAILABLE if "timeout expired" in said:
            return DeadlineExceeded(f"{where} was too busy to begin in time")
        case grpc.StatusCode.UNAVAILABLE:
            return ServiceUnavailable(text)
        case grpc.StatusCode.INTERNAL if "tub process" in said:
            # The model's process died; whoever keeps the server starts it anew.
            return ServiceUnavailable(text)
        case grpc.StatusCode.INTERNAL if "shared memory" in said:
            return MessageTooLarge(f"{text} (its /dev/shm is too small)")
        case grpc.StatusCode.NOT_FOUND if "no available versions" in said:
            return ServiceUnavailable(text)
        case grpc.StatusCode.NOT_FOUND | grpc.StatusCode.UNIMPLEMENTED:
            return ServiceMismatch(text)
        case grpc.StatusCode.INVALID_ARGUMENT:
            return MessageInvalid(text)
        case grpc.StatusCode.RESOURCE_EXHAUSTED if "larger than max" in said:
            return MessageTooLarge(text)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return Overloaded(text, retry_after_seconds=RETRY_AFTER_S)
        case grpc.StatusCode.PERMISSION_DENIED | grpc.StatusCode.UNAUTHENTICATED:
            return ServiceRefused(text)
        case _:
            return ServiceError(text)
