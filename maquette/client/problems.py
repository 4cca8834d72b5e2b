"""Problem documents (RFC 9457) back into the exception tree."""

import json
from typing import Any

import httpx

from maquette import errors
from maquette.errors import MaquetteError

_OWN = frozenset({"type", "title", "status", "detail", "instance", "code"})
_LONGEST = 1000

_BY_STATUS: dict[int, type[MaquetteError]] = {
    401: errors.KeyInvalid,
    403: errors.AccessError,
    404: errors.RouteUnknown,
    405: errors.MethodUnknown,
    408: errors.BodyTooSlow,
    413: errors.BodyTooLarge,
    415: errors.BodyTypeUnknown,
    416: errors.RangeInvalid,
    429: errors.Overloaded,
    502: errors.ServiceUnavailable,
    503: errors.ServiceUnavailable,
    504: errors.DeadlineExceeded,
}
"""What a status means that came without a problem document: from something on the way."""


def error_of_problem(document: dict[str, Any]) -> MaquetteError:
    """The error that a problem document stands for."""
    detail = {name: value for name, value in document.items() if name not in _OWN}
    return errors.error_of(str(document.get("code", "")), str(document.get("detail", ""))[:_LONGEST], detail)


def error_of_response(response: httpx.Response) -> MaquetteError:
    """The error that an answer stands for, whose body has been read."""
    document = _document(response)
    if document is not None:
        error = error_of_problem(document)
    else:
        status = response.status_code
        otherwise = errors.ServiceError if status >= 500 else errors.RequestError
        kind = _BY_STATUS.get(status, otherwise)
        error = kind(f"expected an answer of Maquette from {response.url.host}, found {status} and no problem document")
    seconds = response.headers.get("retry-after", "")
    if seconds.isascii() and seconds.isdigit():
        error.detail.setdefault("retry_after_seconds", int(seconds[:9]))
    return error


def _document(response: httpx.Response) -> dict[str, Any] | None:
    if response.headers.get("content-type", "").partition(";")[0].strip() != "application/problem+json":
        return None
    try:
        document = json.loads(response.content)
    except ValueError:
        return None
    return document if isinstance(document, dict) and "code" in document else None
