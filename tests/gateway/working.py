"""A worker with real services, and services that get into trouble on the way to them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry

from gateway.jobs import HeadRecord, HeadState, JobSettings, JobStore, NewHead, PhotoRecord, open_jobs, photo_scope
from gateway.local import LocalServices
from gateway.options import HeadOptions
from gateway.orchestration import Services
from gateway.worker import Worker
from gateway.workfigures import WorkMetrics
from gateway.worksettings import WorkerSettings
from maquette.settings import Settings
from maquette.store import FileStore, ObjectStore

T = TypeVar("T")
OWNER = "anna"
QUICK: dict[str, Any] = {"formats": ["obj"], "detail": False, "hair": "none"}
LONG_S = 120.0


class Trouble:
    """What happens to calls before they reach a service.

    Attributes:
        calls: How many there were, by method.
        before: Awaited before a call of a method is passed on; may raise.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.before: dict[str, Callable[[], Awaitable[None]]] = {}

    async def meet(self, method: str) -> None:
        self.calls[method] += 1
        if method in self.before:
            await self.before[method]()

    def fail(self, method: str, *errors: Exception) -> None:
        """Let a method's next calls fail, one by one."""
        left = list(errors)

        async def raise_next() -> None:
            if left:
                raise left.pop(0)

        self.before[method] = raise_next

    def hold(self, method: str) -> asyncio.Event:
        """Let a method's calls wait; the event is set when the first one does."""
        reached = asyncio.Event()

        async def wait() -> None:
            reached.set()
            await asyncio.Event().wait()

        self.before[method] = wait
        return reached

    def clear(self) -> None:
        self.before.clear()


class Way:
    """A service behind trouble."""

    def __init__(self, service: Any, trouble: Trouble) -> None:
        self._service, self._trouble = service, trouble

    def __getattr__(self, method: str) -> Any:
        there = getattr(self._service, method)
        if method == "export":
            return lambda request: self._stream(there, request)

        async def call(request: Any) -> Any:
            await self._trouble.meet(method)
            return await there(request)

        return call

    async def _stream(self, there: Callable[[Any], Any], request: Any) -> AsyncIterator[Any]:
        await self._trouble.meet("export")
        async for event in there(request):
            await self._trouble.meet("exported")
            yield event


@dataclass
class Workshop:
    """Jobs, store, services, and what gets in their way."""

    jobs: JobStore
    store: ObjectStore
    local: LocalServices
    settings: JobSettings
    trouble: Trouble = field(default_factory=Trouble)
    metrics: WorkMetrics = field(default_factory=lambda: WorkMetrics(CollectorRegistry()))

    @property
    def services(self) -> Services:
        real = self.local.services
        return Services(*(Way(s, self.trouble) for s in (real.detector, real.reconstructor, real.meshproc)))

    def worker(self, **settings: Any) -> Worker:
        given = {"patience_s": 0.0, "drain_s": 0.0, "sweep_s": 1000.0, "concurrency": 1, **settings}
        return Worker(
            self.jobs,
            self.store,
            self.services,
            WorkerSettings(**given),
            self.metrics,
            lease_s=self.settings.lease_s,
            upload_s=self.settings.upload_s,
        )

    @asynccontextmanager
    async def working(self, **settings: Any) -> AsyncIterator[Worker]:
        """A worker that works meanwhile."""
        worker = self.worker(**settings)
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await asyncio.wait_for(task, LONG_S)

    async def ask(self, *photos: Path, trace: dict[str, str] | None = None, **options: Any) -> HeadRecord:
        """Upload photos and ask for a head, as the gateway does."""
        head_id = await self.jobs.reserve(OWNER)
        records = []
        for path in photos:
            info = self.store.put(photo_scope(head_id), path.read_bytes(), "image/png")
            records.append(PhotoRecord(path.name, info.key, info.size, info.sha256, "image/png"))
        stored = HeadOptions(**(QUICK | options)).stored()
        new = NewHead(head_id, "", stored, tuple(records), trace=trace or {})
        return (await self.jobs.create_head(OWNER, new)).head

    async def until(self, head_id: str, *states: HeadState) -> HeadRecord:
        """The head, once it is in one of these states."""

        async def look() -> HeadRecord:
            after = 0
            while True:
                head = await self.jobs.get_head(OWNER, head_id)
                if head.state in states:
                    return head
                assert not head.state.final, head
                await self.jobs.wait_events(OWNER, head_id, after, timeout=1)
                after = head.sequence

        return await asyncio.wait_for(look(), LONG_S)

    def read(self, head: HeadRecord) -> dict[str, bytes]:
        """A head's files."""
        found = {}
        for product in head.products:
            with self.store.open(product.key) as stream:
                found[product.name] = stream.read()
        return found


@asynccontextmanager
async def workshop(folder: Path, store: ObjectStore, local: LocalServices, **jobs: Any) -> AsyncIterator[Workshop]:
    """Jobs of their own beside a store and services that tests share."""
    given = {"retry_first_s": 0.02, "retry_longest_s": 0.05, "poll_s": 0.02, **jobs}
    settings = JobSettings(database_url=f"sqlite:///{folder}/jobs.sqlite3", **given)
    async with await open_jobs(settings) as opened:
        yield Workshop(opened, store, local, settings)


@asynccontextmanager
async def real_services(folder: Path) -> AsyncIterator[tuple[ObjectStore, LocalServices]]:
    """The services of this process, and their store."""
    store = FileStore(folder / "store")
    local = LocalServices(store, Settings(), threads=2)
    yield store, local
    await local.close()
