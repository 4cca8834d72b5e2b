"""Removes what has expired or was deleted, and what killed uploads have left behind."""

import asyncio
import logging
import time
from collections.abc import Callable

from gateway.jobs import JobStore
from gateway.workfigures import WorkMetrics
from maquette.errors import MaquetteError
from maquette.logs import fields
from maquette.store import ObjectStore

_BATCH = 100
_LEFTOVERS_EVERY_S = 3600.0
_log = logging.getLogger(__name__)


class Sweeper:
    """Any number of workers may sweep at once: each finds what the others have left."""

    def __init__(
        self,
        jobs: JobStore,
        store: ObjectStore,
        metrics: WorkMetrics,
        *,
        upload_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare.

        Args:
            jobs: Say what has expired.
            store: Has the objects.
            metrics: Count what is removed.
            upload_s: How long an upload may take; what is left of one twice as old is removed.
            clock: Seconds since 1970, as the store's.
        """
        self._jobs, self._store, self._metrics = jobs, store, metrics
        self._upload_s, self._clock = upload_s, clock
        self._leftovers_at = 0.0

    async def run(self, every_s: float) -> None:
        """Sweep for ever; a sweep that fails is done again by the next one."""
        while True:
            try:
                await self.sweep()
            except MaquetteError as error:
                _log.warning("a sweep failed", extra=fields(code=error.code))
            except Exception as error:
                _log.error("a sweep failed", exc_info=error)
            await asyncio.sleep(every_s)

    async def sweep(self) -> int:
        """Do all that is due; returns how many objects were removed.

        Raises:
            JobsUnavailable: The jobs' database does not answer.
            StoreError: The store failed; what is left comes up again.
        """
        while (await self._jobs.sweep(limit=_BATCH)).more:
            pass
        removed = 0
        while due := await self._jobs.removals(limit=_BATCH):
            for removal in due:
                removed += len(await asyncio.to_thread(self._store.delete_scope, removal.scope))
            await self._jobs.removed([removal.scope for removal in due])
            if len(due) < _BATCH:
                break
        removed += await self._sweep_leftovers()
        if removed:
            self._metrics.removed.inc(removed)
            _log.info("objects removed", extra=fields(count=removed))
        return removed

    async def _sweep_leftovers(self) -> int:
        now = self._clock()
        if now < self._leftovers_at:
            return 0
        found = await asyncio.to_thread(self._store.sweep, now - 2 * self._upload_s)
        self._leftovers_at = now + _LEFTOVERS_EVERY_S
        return len(found)
