"""Who asks, what they may, and how often."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from gateway.context import Gateway, TheGateway
from gateway.jobs.keys import ApiKey, Scope
from gateway.observe import HEADERS_KEY, KEY_KEY
from maquette.errors import KeyInvalid

LOCAL_OWNER = "local"
"""Whose everything is in an installation without keys."""


@dataclass(frozen=True)
class Caller:
    """Whoever sent a request.

    Attributes:
        owner: Whose heads they see.
        key: Their API key; None where none is needed and none was shown.
    """

    owner: str
    key: ApiKey | None = None

    @property
    def quota(self) -> int | None:
        """Most heads a day, or any number."""
        return None if self.key is None else self.key.quota


def _presented(request: Request) -> str | None:
    """The key that a request shows; one in ``Authorization`` counts before one in ``X-API-Key``."""
    authorization = request.headers.get("authorization")
    if authorization is not None:
        scheme, _, credentials = authorization.partition(" ")
        # Another scheme is somebody's attempt to show who they are, and not a reason to take them for nobody.
        return credentials.strip() if scheme.lower() == "bearer" else ""
    return request.headers.get("x-api-key")


async def _identify(request: Request, gateway: Gateway) -> Caller:
    presented = _presented(request)
    if presented is None and not gateway.settings.require_keys:
        return Caller(LOCAL_OWNER)
    if not presented:
        raise KeyInvalid("expected an API key, as Authorization: Bearer mq_… or X-API-Key: mq_…, found none")
    key = await gateway.jobs.keys.authenticate(presented)
    request.scope[KEY_KEY] = key.id
    rate = key.rate or gateway.settings.rate
    if rate:
        spent = await gateway.rates.spend(rate, key.id)
        request.scope.setdefault(HEADERS_KEY, {}).update(spent.headers)
        if spent.refused is not None:
            raise spent.refused
    return Caller(key.owner, key)


def _caller(scope: Scope | None) -> Callable[..., Awaitable[Caller]]:
    async def identify(request: Request, gateway: TheGateway) -> Caller:
        caller = await _identify(request, gateway)
        if scope is not None and caller.key is not None:
            caller.key.require(scope)
        return caller

    return identify


async def _scraper(request: Request, gateway: TheGateway) -> None:
    if not gateway.settings.metrics_open:
        caller = await _identify(request, gateway)
        if caller.key is not None:
            caller.key.require(Scope.METRICS)


AnyCaller = Annotated[Caller, Depends(_caller(None))]
Reader = Annotated[Caller, Depends(_caller(Scope.READ))]
Writer = Annotated[Caller, Depends(_caller(Scope.WRITE))]
Deleter = Annotated[Caller, Depends(_caller(Scope.DELETE))]
Looker = Annotated[Caller, Depends(_caller(Scope.DETECT))]
Scraper = Annotated[None, Depends(_scraper)]
