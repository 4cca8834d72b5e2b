"""What is said of every request: a span, a log line and figures; headers that every answer has; a named last error.

A plain ASGI middleware, outermost, so that what goes wrong anywhere below becomes a problem document. The log line
names the template of a route, never the address, which carries identifiers of heads, file names and what is asked for.
"""

import asyncio
import logging
import time
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import problems
from gateway.figures import HttpMetrics
from maquette import telemetry
from maquette.logs import fields

HEADERS_KEY: Final = "maquette.headers"
"""In the scope: headers, name to value, that the answer gets whatever it will be."""

KEY_KEY: Final = "maquette.key"
"""In the scope: public part of the API key."""

PROBLEM_KEY: Final = "maquette.problem"
"""In the scope: code of the error that ended the request."""

_CLOSED_REQUEST = 499
"""The usual number for a caller that has gone."""

SECURITY_HEADERS: Final = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
"""For answers that do not bring their own: nothing that the API answers is a page, and all of it is for its caller."""

_log = logging.getLogger("gateway.access")


class Observe:
    """Middleware around the whole application."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics, pause_s: float) -> None:
        """Wrap an application.

        Args:
            app: The application.
            metrics: Where requests are counted.
            pause_s: How long a caller may leave an answer unread, seconds.
        """
        self._app, self._metrics, self._pause_s = app, metrics, pause_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        with telemetry.server_span(scope["method"], headers) as span, self._metrics.request() as seen:
            answer = _Answer(scope, send, self._pause_s)
            try:
                await self._app(scope, receive, answer.send)
            except ClientDisconnect:
                answer.status = answer.status or _CLOSED_REQUEST
            except Exception as error:
                await answer.fail(error, receive)
            route = route_of(scope)
            seen.method, seen.route, seen.status = method_of(scope), route, answer.status or _CLOSED_REQUEST
            seen.code = scope.get(PROBLEM_KEY)
            span.update_name(f"{seen.method} {route}")
            span.set_attribute("http.route", route)
            span.set_attribute("http.response.status_code", seen.status)
            if seen.status >= 500:
                telemetry.failed(span, str(scope.get(PROBLEM_KEY, seen.status)))
            self._log(scope, seen.method, route, seen.status, answer.seconds)

    def _log(self, scope: Scope, method: str, route: str, status: int, seconds: float) -> None:
        told: dict[str, object] = {"method": method, "route": route, "status": status, "seconds": round(seconds, 4)}
        for name, key in (("key", KEY_KEY), ("code", PROBLEM_KEY)):
            if key in scope:
                told[name] = scope[key]
        _log.info("request answered", extra=fields(**told))


class _Answer:
    """An answer on its way, with the headers that all have."""

    def __init__(self, scope: Scope, send: Send, pause_s: float) -> None:
        self._scope, self._send, self._pause_s = scope, send, pause_s
        self._start = time.perf_counter()
        self.status = 0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in (SECURITY_HEADERS | self._scope.get(HEADERS_KEY, {})).items():
                headers.setdefault(name, value)
        try:
            async with asyncio.timeout(self._pause_s):
                await self._send(message)
        except TimeoutError:
            raise ClientDisconnect("the caller does not read its answer") from None

    async def fail(self, error: Exception, receive: Receive) -> None:
        """End the answer with an error that nothing below has caught."""
        self._scope[PROBLEM_KEY] = getattr(error, "code", "internal")
        if not self.status:
            await problems.response(error)(self._scope, receive, self.send)
            return
        # The headers are out. An answer that ends early makes the server close the connection, so that what came so
        # far cannot be taken for all of it.
        _log.error("an answer broke off", exc_info=error, extra=fields(code=self._scope[PROBLEM_KEY]))


def route_of(scope: Scope) -> str:
    """The template of the address, such as ``/v1/heads/{head_id}``; ``unknown`` where nothing has it."""
    return getattr(scope.get("route"), "path", None) or "unknown"


def method_of(scope: Scope) -> str:
    """The method, or ``other`` for one that somebody made up: figures must not grow with what callers think of."""
    method = scope["method"]
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
