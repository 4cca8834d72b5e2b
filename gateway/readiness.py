"""Whether what the gateway needs is there, and which engines there are: asked seldom, answered often."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, Generic, Protocol, TypeVar, runtime_checkable

from fastapi import Depends, Request

from gateway.context import Gateway
from gateway.models import Dependency, EngineList, EngineView, Readiness
from maquette.errors import DeadlineExceeded, MaquetteError
from maquette.logs import fields
from maquette.v1.reconstructor_pb2 import ListEnginesRequest

_READY_FOR_S = 1.0
_ENGINES_FOR_S = 30.0
_ENGINES_WITHIN_S = 20.0

T = TypeVar("T")
_log = logging.getLogger(__name__)


@runtime_checkable
class Checkable(Protocol):
    """A service that can be asked how it is, as remote ones can."""

    async def check(self) -> None:
        """Raise what keeps it from answering."""
        ...


class Lately(Generic[T]):
    """The answer to a question that many ask: asked once for all of them, and good for a while."""

    def __init__(self, ask: Callable[[], Awaitable[T]], seconds: float, *, patient: bool = True) -> None:
        """Ask nothing yet.

        Args:
            ask: The question.
            seconds: How long an answer is good.
            patient: Whether to wait for a new answer when the last one is no longer good; otherwise that one is given
                while the new one is on its way.
        """
        self._ask, self._seconds, self._patient = ask, seconds, patient
        self._asking: asyncio.Task[T] | None = None
        self._last: tuple[T, float] | None = None

    async def __call__(self) -> T:
        """The answer; raises what asking raised."""
        loop = asyncio.get_running_loop()
        if self._last is not None and loop.time() - self._last[1] <= self._seconds:
            return self._last[0]
        if self._asking is None or self._asking.done():
            self._asking = loop.create_task(self._answer())
            # Where nobody waits for it, its failure is nobody's either: the next one asks again.
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        if self._last is not None and not self._patient:
            return self._last[0]
        return await asyncio.shield(self._asking)

    async def _answer(self) -> T:
        answer = await self._ask()
        self._last = (answer, asyncio.get_running_loop().time())
        return answer


class Dependencies:
    """What a gateway needs.

    Attributes:
        engines: The engines, as of lately.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._looked = Lately(self._look, _READY_FOR_S)
        self.engines = Lately(self._list_engines, _ENGINES_FOR_S, patient=False)

    async def readiness(self) -> Readiness:
        """Whether requests can be answered, as of lately."""
        looked = await self._looked()
        return looked.model_copy(update={"status": "draining"}) if self._gateway.draining else looked

    async def _look(self) -> Readiness:
        gateway = self._gateway
        checks: dict[str, Callable[[], Awaitable[None]]] = {
            "jobs": gateway.jobs.check,
            "store": lambda: gateway.in_thread(gateway.store.check),
        }
        for name, service in (("detector", gateway.detector), ("reconstructor", gateway.reconstructor)):
            # A service of this process is there when the process is.
            checks[name] = service.check if isinstance(service, Checkable) else _nothing
        states = await asyncio.gather(*(self._state(name, check) for name, check in checks.items()))
        found = dict(zip(checks, states, strict=True))
        ready = all(state.status == "ok" for state in states)
        return Readiness(status="ready" if ready else "unready", dependencies=found)

    async def _state(self, name: str, check: Callable[[], Awaitable[None]]) -> Dependency:
        try:
            async with asyncio.timeout(self._gateway.settings.ready_s):
                await check()
        except TimeoutError:
            code = DeadlineExceeded.code
        except MaquetteError as error:
            code = error.code
        except Exception:
            _log.exception("looking whether a dependency is ready failed")
            code = MaquetteError.code
        else:
            return Dependency(status="ok")
        _log.warning("a dependency is not ready", extra=fields(kind=name, code=code))
        return Dependency(status="failed", code=code)

    async def _list_engines(self) -> EngineList:
        try:
            async with asyncio.timeout(_ENGINES_WITHIN_S):
                answer = await self._gateway.reconstructor.list_engines(ListEnginesRequest())
        except TimeoutError:
            raise DeadlineExceeded(f"expected the engines within {_ENGINES_WITHIN_S:g} s") from None
        return EngineList(
            engines=[
                EngineView(
                    name=e.name,
                    version=e.version,
                    licence=e.licence,
                    commercial_use=e.commercial_use,
                    available=e.available,
                    unavailable_reason=e.unavailable_reason or None,
                    topology=e.topology,
                    topology_version=e.topology_version,
                    max_photos=e.max_views,
                )
                for e in answer.engines
            ]
        )


async def dependencies_of(request: Request) -> Dependencies:
    """What the gateway needs that a request has come to."""
    dependencies = request.app.state.dependencies
    assert isinstance(dependencies, Dependencies)
    return dependencies


TheDependencies = Annotated[Dependencies, Depends(dependencies_of)]


async def _nothing() -> None:
    pass
