"""The exception tree as gRPC status and back: one mapping, used by the server's interceptor and by every client.

A ``MaquetteError`` becomes its status code, its sentence and a ``google.rpc.ErrorInfo`` (reason: the error's code in
capitals; domain: ``maquette``; metadata: its detail, each value as JSON); a detail ``field`` becomes a
``google.rpc.BadRequest`` too, and ``retry_after_seconds`` a ``google.rpc.RetryInfo``. Any other exception becomes
INTERNAL without its text, which may hold anything.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from maquette import errors
from maquette.errors import MaquetteError

DOMAIN = "maquette"
DETAILS_KEY = "grpc-status-details-bin"
INTERNAL_MESSAGE = "the service failed in a way that it does not know; its log says more"

_LONGEST_MESSAGE = 1000
_MOST_DETAIL_BYTES = 3000
"""Trailers above 8 KiB are refused by many peers, and binary ones grow by a third on the way."""

_STATUS: dict[type[MaquetteError], grpc.StatusCode] = {
    MaquetteError: grpc.StatusCode.INTERNAL,
    errors.InputError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.FaceNotFound: grpc.StatusCode.NOT_FOUND,
    errors.SetupError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.OutputError: grpc.StatusCode.INTERNAL,
    errors.ServiceError: grpc.StatusCode.INTERNAL,
    errors.ServiceUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
    errors.MessageInvalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.MessageTooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.ServiceRefused: grpc.StatusCode.PERMISSION_DENIED,
    errors.ServiceMismatch: grpc.StatusCode.UNIMPLEMENTED,
    errors.StoreError: grpc.StatusCode.INTERNAL,
    errors.ObjectMissing: grpc.StatusCode.NOT_FOUND,
    errors.ObjectCorrupt: grpc.StatusCode.DATA_LOSS,
    errors.StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.StoreFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.StoreRefused: grpc.StatusCode.FAILED_PRECONDITION,
}
"""By class; a class that is not here has its parent's."""

_BARE: dict[grpc.StatusCode, type[MaquetteError]] = {
    grpc.StatusCode.CANCELLED: errors.Cancelled,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.PERMISSION_DENIED: errors.ServiceRefused,
    grpc.StatusCode.UNAUTHENTICATED: errors.ServiceRefused,
    grpc.StatusCode.UNIMPLEMENTED: errors.ServiceMismatch,
    grpc.StatusCode.UNAVAILABLE: errors.ServiceUnavailable,
}
"""What a status means that came without ErrorInfo: from gRPC itself, or from something on the way."""

_TOO_LARGE = re.compile(r"(Received|Sent|CLIENT: Received|SERVER: Received|CLIENT: Sent|SERVER: Sent) message larger")


def status_code_of(error: BaseException) -> grpc.StatusCode:
    """The gRPC status code of an exception."""
    if isinstance(error, asyncio.CancelledError):
        return grpc.StatusCode.CANCELLED
    for kind in type(error).__mro__:
        if kind in _STATUS:
            return _STATUS[kind]
    return grpc.StatusCode.INTERNAL


def status_of(error: Exception) -> Status:
    """An exception as a ``google.rpc.Status``."""
    code = status_code_of(error).value[0]
    if not isinstance(error, MaquetteError):
        return Status(code=code, message=INTERNAL_MESSAGE, details=[_any(_info(MaquetteError.code, {}))])
    message = str(error)[:_LONGEST_MESSAGE]
    details: list[Message] = [_info(error.code, error.detail)]
    field = error.detail.get("field")
    if isinstance(field, str):
        violation = BadRequest.FieldViolation(field=field[:200], description=message)
        details.append(BadRequest(field_violations=[violation]))
    seconds = error.detail.get("retry_after_seconds")
    if isinstance(seconds, int | float):
        delay = Duration()
        delay.FromMilliseconds(round(seconds * 1000))
        details.append(RetryInfo(retry_delay=delay))
    return Status(code=code, message=message, details=[_any(d) for d in details])


def error_of(failure: grpc.aio.AioRpcError, service: str) -> MaquetteError:
    """What a failed call raises in its caller: the error that the service raised, or what gRPC's own status means.

    Args:
        failure: What gRPC raised.
        service: Name of the service, for messages.
    """
    info = _info_of(failure)
    message = failure.details() or ""
    if info is not None and info.domain == DOMAIN:
        return errors.error_of(info.reason.lower(), message, dict(_values(info)))
    status = failure.code()
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        too_large = _TOO_LARGE.search(message) is not None
        kind: type[MaquetteError] = errors.MessageTooLarge if too_large else errors.Overloaded
    else:
        kind = _BARE.get(status, errors.ServiceError)
    return kind(f"the {service} service answered {status.name}: {message[:_LONGEST_MESSAGE]}", status=status.name)


def _info(code: str, detail: dict[str, Any]) -> ErrorInfo:
    info = ErrorInfo(reason=code.upper(), domain=DOMAIN)
    left = _MOST_DETAIL_BYTES
    for key, value in detail.items():
        text = json.dumps(value, default=str)
        size = len(key) + len(text)
        if size <= left:
            info.metadata[key] = text
            left -= size
    return info


def _values(info: ErrorInfo) -> Iterator[tuple[str, Any]]:
    for key, text in sorted(info.metadata.items()):
        try:
            yield key, json.loads(text)
        except ValueError:
            yield key, text


def _info_of(failure: grpc.aio.AioRpcError) -> ErrorInfo | None:
    for key, value in failure.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                status = Status.FromString(value)
                for detail in status.details:
                    info = ErrorInfo()
                    if detail.Unpack(info):
                        return info
            except DecodeError:
                return None
    return None


def _any(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
