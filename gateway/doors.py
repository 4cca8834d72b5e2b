"""Who may reach a gateway that asks nobody for a key: this machine alone, and no page of another site through it."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import problems
from gateway.jobs import JobStore
from gateway.settings import GatewaySettings
from maquette.errors import AccessError, OptionInvalid

_HARMLESS = ("GET", "HEAD", "OPTIONS")
_MAKE_A_KEY = "make a key with `maquette keys create NAME`"


def check_open(settings: GatewaySettings) -> None:
    """Make sure that a gateway without keys is for this machine alone.

    Raises:
        OptionInvalid: Others could reach it.
    """
    if not settings.require_keys and not settings.on_loopback:
        raise OptionInvalid(
            f"expected an address of this machine alone, such as 127.0.0.1, where no API keys are needed, found "
            f"{settings.host}: whoever reaches it could see and delete all heads. Set "
            f"MAQUETTE_GATEWAY_REQUIRE_KEYS=true and {_MAKE_A_KEY}",
            host=settings.host,
        )


async def check_keys(settings: GatewaySettings, jobs: JobStore) -> None:
    """Make sure that somebody can use a gateway that needs keys.

    Raises:
        OptionInvalid: There are none.
    """
    if settings.require_keys and not await jobs.keys.list():
        raise OptionInvalid(
            f"expected API keys where others can reach the gateway ({settings.host}), found none: {_MAKE_A_KEY}, or "
            "listen on 127.0.0.1, where none is needed",
            host=settings.host,
        )


class LoopbackDoor:
    """Middleware before a gateway without keys.

    A browser on this machine would send it what pages of other sites ask for. So a request must name this machine in
    ``Host`` (a name that somebody else's DNS points here is refused), and one that changes something must not come from
    another site's page.
    """

    def __init__(self, app: ASGIApp, settings: GatewaySettings) -> None:
        """Stand before an application."""
        self._app, self._origins = app, settings.cors_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] == "http":
            refusal = self._refusal(scope["method"], Headers(scope=scope))
            if refusal is not None:
                await problems.response(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, method: str, headers: Headers) -> AccessError | None:
        host = _host(f"//{headers.get('host', '')}")
        if not _is_here(host):
            return AccessError("expected a request to 127.0.0.1 or localhost, found one to another name")
        origin = headers.get("origin")
        if method in _HARMLESS or origin is None or "*" in self._origins or origin in self._origins:
            return None
        if _is_here(_host(origin)):
            return None
        return AccessError("expected a request from a page of this machine, found one from another site's")


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_here(host: str | None) -> bool:
    if host is None:
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
