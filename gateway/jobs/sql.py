"""The jobs in SQL: what both databases share, which is all but connecting and waiting."""

import asyncio
import math
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from sqlalchemy import update

from gateway.jobs import claims, heads, journal, leases, names, rows, schema, sweeps
from gateway.jobs.database import Database, Transaction
from gateway.jobs.keys import KeyStore
from gateway.jobs.types import (
    CreatedExport,
    CreatedHead,
    Event,
    Failure,
    HeadRecord,
    HeadState,
    Idempotency,
    JobRecord,
    Json,
    NewHead,
    Page,
    ProductRecord,
    Receipt,
)
from gateway.jobs.worktypes import Beat, Claim, Counts, Lease, Removal, Step, Swept
from maquette.errors import HeadNotFound, OptionInvalid
from maquette.types import Caution

_MOST_PHOTOS = 16
_LONGEST_PAGE = 200
_LONGEST_NAME = 200
_LEAST_NAP_S = 0.01


class SqlJobStore:
    """Implements ``JobStore`` on a ``Database``; see there for what each call does."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.keys = KeyStore(database)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def prepare(self) -> None:
        """Make or update the tables (see ``Database.prepare``)."""
        await self._database.prepare()

    async def close(self) -> None:
        """See ``JobStore.close``."""
        await self.keys.settle()
        await self._database.close()

    async def check(self) -> None:
        """See ``JobStore.check``."""
        nobody = update(schema.heads).where(schema.heads.c.id == "").values(progress=0.0)
        await self._database.write_once(lambda tx: tx.run(nobody).rowcount)

    async def reserve(self, owner: str) -> str:
        """See ``JobStore.reserve``."""
        head_id = names.new_head_id()
        await self._database.write(lambda tx: heads.reserve(tx, owner, head_id))
        return head_id

    async def abandon(self, owner: str, head_id: str) -> None:
        """See ``JobStore.abandon``."""
        await self._database.write(lambda tx: heads.abandon(tx, owner, head_id))

    async def create_head(self, owner: str, new: NewHead) -> CreatedHead:
        """See ``JobStore.create_head``."""
        names.check_head_id(new.head_id)
        names.check_text("name", new.name, _LONGEST_NAME)
        _check_idempotency(new.idempotency)
        if not 1 <= len(new.photos) <= _MOST_PHOTOS:
            raise OptionInvalid(f"expected 1 to {_MOST_PHOTOS} photos, found {len(new.photos)}")
        for photo in new.photos:
            names.check_text("photo's name", photo.name, _LONGEST_NAME)
        job_id = names.new_job_id()
        return await self._database.write(lambda tx: heads.create(tx, owner, new, job_id))

    async def get_head(self, owner: str, head_id: str) -> HeadRecord:
        """See ``JobStore.get_head``."""
        names.check_head_id(head_id)
        return await self._database.read(lambda tx: rows.find_head(tx, owner, head_id))

    async def list_heads(
        self, owner: str, *, limit: int = 50, cursor: str | None = None, states: Sequence[HeadState] = ()
    ) -> Page:
        """See ``JobStore.list_heads``."""
        if not 1 <= limit <= _LONGEST_PAGE:
            raise OptionInvalid(f"expected a limit of 1 to {_LONGEST_PAGE}, found {limit}")
        place = None if cursor is None else names.from_cursor(cursor)
        return await self._database.read(lambda tx: heads.page(tx, owner, limit, place, tuple(states)))

    async def get_product(self, owner: str, head_id: str, name: str) -> ProductRecord:
        """See ``JobStore.get_product``."""
        names.check_head_id(head_id)
        return await self._database.read(lambda tx: heads.product(tx, owner, head_id, name))

    async def create_export(
        self, owner: str, head_id: str, payload: Json, *, idempotency: Idempotency | None = None, priority: int = 0
    ) -> CreatedExport:
        """See ``JobStore.create_export``."""
        names.check_head_id(head_id)
        _check_idempotency(idempotency)
        job_id = names.new_job_id()

        def work(tx: Transaction) -> CreatedExport:
            return heads.export(tx, owner, head_id, job_id, payload, idempotency, priority)

        return await self._database.write(work)

    async def cancel_head(self, owner: str, head_id: str) -> HeadRecord:
        """See ``JobStore.cancel_head``."""
        names.check_head_id(head_id)

        def work(tx: Transaction) -> HeadRecord:
            heads.cancel(tx, owner, head_id)
            return rows.find_head(tx, owner, head_id)

        return await self._database.write(work)

    async def delete_head(self, owner: str, head_id: str) -> Receipt:
        """See ``JobStore.delete_head``."""
        names.check_head_id(head_id)
        return await self._database.write(lambda tx: heads.remove(tx, owner, head_id))

    async def events(self, owner: str, head_id: str, after: int = 0, *, limit: int = 100) -> tuple[Event, ...]:
        """See ``JobStore.events``."""
        names.check_head_id(head_id)
        _newest, found = await self._database.read(lambda tx: journal.read(tx, owner, head_id, after, limit))
        return found

    async def wait_events(
        self, owner: str, head_id: str, after: int = 0, *, timeout: float, limit: int = 100
    ) -> tuple[Event, ...]:
        """See ``JobStore.wait_events``."""
        names.check_head_id(head_id)
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        self._database.watch()
        with self._database.hub.watch_head(head_id, after) as woken:
            while True:
                # In this order: what happens between looking and waiting sets the event again.
                woken.clear()
                newest, found = await self._database.read(lambda tx: journal.read(tx, owner, head_id, after, limit))
                if after > newest:
                    return await self.wait_events(owner, head_id, newest, timeout=end - loop.time(), limit=limit)
                if found or not await _woken(woken, end - loop.time()):
                    return found

    async def claim(self, worker: str) -> Claim | None:
        """See ``JobStore.claim``."""
        names.check_text("worker's name", worker, _LONGEST_NAME, 1)
        token = names.random_text(16)
        return await self._database.write(lambda tx: claims.claim(tx, worker, token), durable=False)

    async def wait_job(self, *, timeout: float) -> bool:
        """See ``JobStore.wait_job``."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        self._database.watch()
        with self._database.hub.watch_jobs() as woken:
            while True:
                woken.clear()
                due = await self._database.read(claims.next_due)
                nap = math.inf if due is None else due - self._database.clock()
                if nap <= 0:
                    return True
                left = end - loop.time()
                if left <= 0:
                    return False
                await _woken(woken, min(left, max(nap, _LEAST_NAP_S)))

    async def heartbeat(self, lease: Lease) -> Beat:
        """See ``JobStore.heartbeat``."""
        return await self._database.write(lambda tx: leases.heartbeat(tx, lease), durable=False)

    async def advance(
        self,
        lease: Lease,
        *,
        state: HeadState | None = None,
        progress: float | None = None,
        step: Step | None = None,
        products: Sequence[ProductRecord] = (),
        warnings: Sequence[Caution] = (),
    ) -> Json | None:
        """See ``JobStore.advance``."""
        if state is not None and not state.working:
            raise OptionInvalid(f"expected a state that is reported by workers, found {state}")
        if progress is not None and not 0 <= progress <= 1:
            raise OptionInvalid(f"expected a progress of 0 to 1, found {progress:g}")
        if step is not None:
            names.check_text("step's name", step.name, _LONGEST_NAME, 1)
        for product in products:
            names.check_file_name(product.name)

        def work(tx: Transaction) -> Json | None:
            return leases.advance(tx, lease, state, progress, step, products, warnings)

        return await self._database.write(work, durable=False)

    async def finish(self, lease: Lease) -> None:
        """See ``JobStore.finish``."""
        await self._database.write(lambda tx: leases.finish(tx, lease), durable=False)

    async def fail(self, lease: Lease, failure: Failure, *, retry: bool) -> None:
        """See ``JobStore.fail``."""
        await self._database.write(lambda tx: leases.fail(tx, lease, failure, retry=retry), durable=False)

    async def stopped(self, lease: Lease) -> None:
        """See ``JobStore.stopped``."""
        await self._database.write(lambda tx: leases.stopped(tx, lease), durable=False)

    async def release(self, lease: Lease) -> None:
        """See ``JobStore.release``."""
        await self._database.write(lambda tx: leases.release(tx, lease), durable=False)

    async def sweep(self, *, limit: int = 100) -> Swept:
        """See ``JobStore.sweep``."""
        return await self._database.write(lambda tx: sweeps.sweep(tx, limit), durable=False)

    async def removals(self, *, limit: int = 100) -> tuple[Removal, ...]:
        """See ``JobStore.removals``."""
        return await self._database.read(lambda tx: sweeps.due_removals(tx, limit))

    async def removed(self, scopes: Sequence[str]) -> None:
        """See ``JobStore.removed``."""
        await self._database.write(lambda tx: sweeps.removed(tx, scopes), durable=False)

    async def counts(self) -> Counts:
        """See ``JobStore.counts``."""
        return await self._database.read(sweeps.counts)

    async def dead_letters(self, *, limit: int = 100) -> tuple[JobRecord, ...]:
        """See ``JobStore.dead_letters``."""
        return await self._database.read(lambda tx: sweeps.dead_letters(tx, limit))

    async def revive(self, job_id: str) -> JobRecord:
        """See ``JobStore.revive``."""
        if not names.is_job_id(job_id):
            raise HeadNotFound("expected the identifier of a job, job_ and 26 letters and digits, found something else")
        return await self._database.write(lambda tx: sweeps.revive(tx, job_id))


def _check_idempotency(idempotency: Idempotency | None) -> None:
    if idempotency is not None:
        names.check_text("idempotency key", idempotency.key, _LONGEST_NAME, 1)


async def _woken(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event; False when it was not set in time."""
    if seconds <= 0:
        return False
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
