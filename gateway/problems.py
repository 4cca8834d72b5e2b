"""The exception tree as problem documents (RFC 9457): one mapping, for every route.

``{"type": "urn:maquette:problem:photo_too_large", "title": "Photo too large", "status": 413, "detail": "…", "code":
"photo_too_large", …}``: the further members are the facts of the error's detail. What is the server's own fault says no
more than its code, since its sentence may name folders and servers; the log has the rest, under the same ``trace_id``.
"""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from opentelemetry import trace
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from gateway.jobs import Failure
from maquette import errors
from maquette.errors import MaquetteError
from maquette.logs import fields

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:maquette:problem:"

_RESERVED = frozenset({"type", "title", "status", "detail", "instance", "code", "trace_id"})
_RETRY_S = 5
"""How long to wait for what is down, where nobody knows better."""

_log = logging.getLogger(__name__)

STATUS: dict[type[MaquetteError], int] = {
    MaquetteError: 500,
    errors.InputError: 422,
    errors.PhotoUnreadable: 415,
    errors.PhotoTooLarge: 413,
    errors.SetupError: 503,
    errors.OutputError: 500,
    errors.ServiceError: 502,
    errors.ServiceUnavailable: 503,
    errors.DeadlineExceeded: 504,
    errors.Overloaded: 429,
    errors.Cancelled: 503,
    errors.StoreError: 500,
    errors.StoreUnavailable: 503,
    errors.StoreFull: 507,
    errors.JobError: 500,
    errors.HeadNotFound: 404,
    errors.ProductNotFound: 404,
    errors.JobConflict: 409,
    errors.IdempotencyMismatch: 422,
    errors.PhotosExpired: 409,
    errors.JobsUnavailable: 503,
    errors.AccessError: 403,
    errors.KeyInvalid: 401,
    errors.QuotaExceeded: 429,
    errors.RequestError: 400,
    errors.RouteUnknown: 404,
    errors.MethodUnknown: 405,
    errors.BodyTooLarge: 413,
    errors.BodyTooSlow: 408,
    errors.BodyTypeUnknown: 415,
    errors.FieldInvalid: 422,
    errors.RangeInvalid: 416,
}
"""By class; a class that is not here has its parent's."""

_HTTP: dict[int, type[errors.RequestError]] = {
    404: errors.RouteUnknown,
    405: errors.MethodUnknown,
    408: errors.BodyTooSlow,
    413: errors.BodyTooLarge,
    415: errors.BodyTypeUnknown,
    416: errors.RangeInvalid,
    422: errors.FieldInvalid,
}
"""What the framework's own refusals stand for."""

_SENTENCES = {
    errors.RouteUnknown: "there is nothing at this address",
    errors.MethodUnknown: "this address does not have the method",
}


def status_of(error: BaseException) -> int:
    """The HTTP status of an exception; 500 for one that is not of the tree."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500


def title_of(code: str) -> str:
    """A code for people: ``photo_too_large`` becomes "Photo too large"."""
    return code.replace("_", " ").capitalize()


def document(error: BaseException) -> dict[str, Any]:
    """The problem document of an exception."""
    status = status_of(error)
    known = error if isinstance(error, MaquetteError) else MaquetteError("")
    problem: dict[str, Any] = {
        "type": TYPE_PREFIX + known.code,
        "title": title_of(known.code),
        "status": status,
        "detail": str(known) if status < 500 else "the server could not do this; it is not the request's fault",
        "code": known.code,
    }
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        problem["trace_id"] = trace.format_trace_id(context.trace_id)
    facts = Failure.of(known).detail
    shown = facts if status < 500 else {k: v for k, v in facts.items() if k == "retry_after_seconds"}
    return problem | {k: v for k, v in shown.items() if k not in _RESERVED}


def response(error: BaseException, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """The answer to a request that an exception ended; the server's own faults are logged.

    Args:
        error: What was raised.
        headers: Further ones.
    """
    status = status_of(error)
    if status >= 500:
        code = error.code if isinstance(error, MaquetteError) else MaquetteError.code
        _log.error("a request failed", exc_info=error, extra=fields(code=code, status=status))
    answer = JSONResponse(document(error), status, media_type=MEDIA_TYPE)
    for name, value in (*_headers(error, status), *headers):
        answer.headers[name] = value
    return answer


def from_http(refused: HTTPException) -> errors.RequestError:
    """The error of the tree that a refusal of the framework stands for."""
    kind = _HTTP.get(refused.status_code, errors.RequestError)
    return kind(_SENTENCES.get(kind, str(refused.detail)))


def _headers(error: BaseException, status: int) -> Iterator[tuple[str, str]]:
    if status == 401:
        yield "www-authenticate", 'Bearer realm="maquette"'
    if isinstance(error, errors.ScopeMissing):
        scope = error.detail.get("scope")
        yield "www-authenticate", f'Bearer realm="maquette", error="insufficient_scope", scope="{scope}"'
    seconds = error.detail.get("retry_after_seconds") if isinstance(error, MaquetteError) else None
    if isinstance(seconds, int | float):
        yield "retry-after", str(max(1, round(seconds + 0.499)))
    elif status in (429, 503):
        yield "retry-after", str(_RETRY_S)
    size = error.detail.get("size") if isinstance(error, errors.RangeInvalid) else None
    if isinstance(size, int):
        yield "content-range", f"bytes */{size}"
