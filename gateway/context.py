"""What the routes work with, made once with the application."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Annotated, ParamSpec, TypeVar

from fastapi import Depends, Request

from gateway.figures import HttpMetrics
from gateway.jobs import JobStore
from gateway.rates import Rates
from gateway.settings import GatewaySettings
from maquette.errors import Overloaded, QuotaExceeded
from maquette.rpc.admission import Admission
from maquette.services import DetectorService, ReconstructorService
from maquette.store import ObjectStore

P = ParamSpec("P")
T = TypeVar("T")

_BUSY_S = 2


class Places:
    """A number of places that callers hold for a while, some of them one owner."""

    def __init__(self, what: str, limit: int, per_owner: int) -> None:
        """All places are free.

        Args:
            what: What a place is for, in the plural, for messages.
            limit: Places.
            per_owner: Of these, those that one owner may hold.
        """
        self._what, self._limit, self._per_owner = what, limit, per_owner
        self._held: dict[str, int] = {}
        self.taken = 0

    @contextmanager
    def hold(self, owner: str) -> Iterator[None]:
        """Hold a place.

        Raises:
            QuotaExceeded: The owner holds as many as one may.
            Overloaded: None is free.
        """
        held = self._held.get(owner, 0)
        if held >= self._per_owner:
            raise QuotaExceeded(
                f"expected at most {self._per_owner} {self._what} of one customer at once, found one more",
                retry_after_seconds=_BUSY_S,
            )
        if self.taken >= self._limit:
            raise Overloaded(
                f"expected at most {self._limit} {self._what} at once, found one more", retry_after_seconds=_BUSY_S
            )
        self._held[owner] = held + 1
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
            self._held[owner] -= 1
            if not self._held[owner]:
                del self._held[owner]


class Gateway:
    """What the routes work with.

    Attributes:
        jobs: Heads, jobs and keys.
        store: Photos and products.
        detector: For ``POST /v1/detect``.
        reconstructor: For ``GET /v1/engines``.
        settings: How the gateway answers.
        metrics: Its figures.
        rates: Who has asked how often.
        uploads: Places for uploads.
        streams: Places for streams of events.
        detects: Turns for ``POST /v1/detect``.
        draining: Whether the gateway is about to end: it is no longer ready, and streams of events end.
    """

    def __init__(
        self,
        jobs: JobStore,
        store: ObjectStore,
        detector: DetectorService,
        reconstructor: ReconstructorService,
        settings: GatewaySettings,
        metrics: HttpMetrics,
    ) -> None:
        self.jobs, self.store, self.detector, self.reconstructor = jobs, store, detector, reconstructor
        self.settings, self.metrics = settings, metrics
        self.rates = Rates(settings.rate_storage)
        # Without keys everybody is one owner.
        several = settings.require_keys
        uploads, streams = settings.max_uploads, settings.max_streams
        self.uploads = Places("uploads", uploads, settings.max_uploads_per_owner if several else uploads)
        self.streams = Places("streams of events", streams, settings.max_streams_per_owner if several else streams)
        self.detects = Admission(settings.max_detects, settings.max_detects_waiting)
        self.draining = False
        self._endless: set[asyncio.Future[None]] = set()
        self._threads = ThreadPoolExecutor(settings.threads, "gateway-store")
        # Each upload blocks one of these while its photo arrives; those above must stay free for everybody else.
        self._receivers = ThreadPoolExecutor(settings.max_uploads, "gateway-upload")

    async def in_thread(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what blocks for a short time."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))

    def receive_in_thread(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Start what blocks for as long as a caller sends."""
        return asyncio.get_running_loop().run_in_executor(self._receivers, work)

    def drain(self) -> None:
        """Say that the gateway is about to end; to be called, in the event loop, before the server waits for answers.

        Streams of events end; everything else is answered.
        """
        self.draining = True
        for task in self._endless:
            task.cancel()

    @contextmanager
    def until_drained(self, task: "asyncio.Future[None]") -> Iterator[None]:
        """Have a task cancelled when the gateway drains."""
        self._endless.add(task)
        if self.draining:
            task.cancel()
        try:
            yield
        finally:
            self._endless.discard(task)

    def close(self) -> None:
        """Let go of threads; what the gateway was given stays open."""
        self.drain()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._receivers.shutdown(wait=False, cancel_futures=True)


async def gateway_of(request: Request) -> Gateway:
    """The gateway that a request has come to; asynchronous, as others are run in a thread each time."""
    gateway = request.app.state.gateway
    assert isinstance(gateway, Gateway)
    return gateway


TheGateway = Annotated[Gateway, Depends(gateway_of)]
