"""The worker: takes jobs, several at once, and takes each through the services.

While it has a job it renews the lease; a heartbeat's answer, or a lease that is lost, ends the work at once. Told to
end, it takes no more jobs, lets those it has go on for a while, and gives the rest back with all their steps recorded.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import TypeVar

from gateway.jobs import Claim, Failure, JobKind, JobStore
from gateway.orchestration import Orchestration, Services
from gateway.patience import Verdict, insist, verdict, verdict_of
from gateway.sweeper import Sweeper
from gateway.workfigures import Outcome, WorkMetrics
from gateway.worksettings import WorkerSettings
from maquette import telemetry
from maquette.errors import LeaseLost, MaquetteError
from maquette.logs import fields
from maquette.store import ObjectStore

T = TypeVar("T")

_BEATS_PER_LEASE = 4
_AFTER_FAILURE_S = 2.0
_LAST_WORDS_S = 10.0
"""How long a worker that ends may take to give its jobs back."""

_log = logging.getLogger(__name__)


class _Stop(Enum):
    """Why work on a job is broken off."""

    CANCELLED = auto()
    LOST = auto()
    DRAINED = auto()


class Worker:
    """Does jobs until it is told to end."""

    def __init__(
        self,
        jobs: JobStore,
        store: ObjectStore,
        services: Services,
        settings: WorkerSettings,
        metrics: WorkMetrics,
        *,
        lease_s: float,
        upload_s: float,
    ) -> None:
        """Prepare a worker.

        Args:
            jobs: Where jobs come from.
            store: Photos, heads and files.
            services: What does the work.
            settings: How it works.
            metrics: Its figures.
            lease_s: How long it may be silent, ``JobSettings.lease_s``.
            upload_s: How long an upload may take, ``JobSettings.upload_s``.
        """
        self._jobs, self._settings, self._metrics = jobs, settings, metrics
        self._orchestration = Orchestration(jobs, store, services, settings, metrics)
        self._sweeper = Sweeper(jobs, store, metrics, upload_s=upload_s)
        self._beat_s = lease_s / _BEATS_PER_LEASE
        self._told = asyncio.Event()
        self._places = asyncio.Semaphore(settings.concurrency)
        self._hands: set[_Hand] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """Jobs that are worked on."""
        return len(self._tasks)

    def stop(self) -> None:
        """Tell it to end; ``run`` returns when it has."""
        self._told.set()

    async def run(self) -> None:
        """Work until told to end, and then until all jobs are done or given back."""
        sweeping = asyncio.create_task(self._sweeper.run(self._settings.sweep_s), name="sweep")
        try:
            _log.info("working", extra=fields(worker=self._settings.name, limit=self._settings.concurrency))
            await self._take_jobs()
            await self._drain()
        finally:
            sweeping.cancel()
            await self._break_off(_Stop.DRAINED)
            await asyncio.gather(sweeping, return_exceptions=True)

    async def _take_jobs(self) -> None:
        while not self._told.is_set():
            if not await self._unless_told(self._places.acquire()):
                return
            claim = None
            try:
                claim = await self._claim()
            finally:
                if claim is None:
                    self._places.release()
            if claim is not None:
                self._begin(claim)

    async def _claim(self) -> Claim | None:
        """A job, or after a while none."""
        if self._told.is_set():
            return None
        try:
            # A claim is never cancelled: a job would be left with nobody until its lease runs out.
            claim = await asyncio.shield(self._jobs.claim(self._settings.name))
            if claim is None:
                await self._unless_told(self._jobs.wait_job(timeout=self._settings.idle_s))
            return claim
        except MaquetteError as error:
            _log.warning("cannot take a job", extra=fields(code=error.code, worker=self._settings.name))
            await self._unless_told(asyncio.sleep(_AFTER_FAILURE_S))
            return None

    def _begin(self, claim: Claim) -> None:
        hand = _Hand(self._jobs, self._orchestration, self._settings, self._metrics, claim, self._beat_s)
        task = asyncio.create_task(hand.work(), name=claim.job.id)
        self._hands.add(hand)
        self._tasks.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._hands.discard(hand)
            self._tasks.discard(done)
            self._places.release()
            if not done.cancelled() and done.exception() is not None:
                _log.error("a job was left to others", exc_info=done.exception(), extra=fields(job=claim.job.id))

        task.add_done_callback(ended)

    async def _drain(self) -> None:
        if self._tasks:
            _log.info("draining", extra=fields(count=len(self._tasks), worker=self._settings.name))
            await asyncio.wait(self._tasks, timeout=self._settings.drain_s)

    async def _break_off(self, why: _Stop) -> None:
        tasks = set(self._tasks)
        for hand in self._hands:
            hand.stop(why)
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=_LAST_WORDS_S)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _unless_told(self, what: Awaitable[T]) -> bool:
        """Wait for something, or until told to end; whether it came to pass."""
        doing = asyncio.ensure_future(what)
        told = asyncio.ensure_future(self._told.wait())
        try:
            await asyncio.wait({doing, told}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                return False
            doing.result()
            return True
        finally:
            told.cancel()
            doing.cancel()
            await asyncio.gather(doing, told, return_exceptions=True)


class _Hand:
    """Holds one job: works on it and renews its lease, side by side."""

    def __init__(
        self,
        jobs: JobStore,
        orchestration: Orchestration,
        settings: WorkerSettings,
        metrics: WorkMetrics,
        claim: Claim,
        beat_s: float,
    ) -> None:
        self._jobs, self._orchestration, self._settings, self._metrics = jobs, orchestration, settings, metrics
        self._claim, self._beat_s = claim, beat_s
        self._why: _Stop | None = None
        self._doing: asyncio.Task[None] | None = None

    def stop(self, why: _Stop) -> None:
        """Break the work off; the first reason counts. What is told of work that is done already is still told."""
        if self._why is None and self._doing is not None and not self._doing.done():
            self._why = why
            self._doing.cancel()

    async def work(self) -> None:
        """Do the job, and say what became of it."""
        job = self._claim.job
        about = {"job": job.id, "head": job.head_id, "kind": str(job.kind), "attempt": job.attempts}
        asked = job.payload.get("trace") if job.kind is JobKind.RECONSTRUCT else None
        with (
            telemetry.server_span("job", asked or {}, job_kind=str(job.kind)),
            self._metrics.job(str(job.kind)) as outcome,
        ):
            _log.info("a job is taken", extra=fields(**about))
            beating = asyncio.create_task(self._beat())
            try:
                outcome.append(await self._work())
            except LeaseLost:
                outcome.append(Outcome.LOST)
            finally:
                beating.cancel()
                await asyncio.gather(beating, return_exceptions=True)
            _log.info("a job is let go", extra=fields(**about, state=str(outcome[-1])))

    async def _work(self) -> Outcome:
        lease = self._claim.lease
        error = self._claim.job.error
        afresh = error is not None and verdict_of(error.code) is Verdict.DOUBTFUL
        self._doing = asyncio.create_task(self._orchestration.perform(self._claim, afresh=afresh))
        try:
            await self._doing
        except asyncio.CancelledError:
            return await self._stopped()
        except LeaseLost:
            raise
        except Exception as failure:
            await self._fail(failure)
            return Outcome.FAILED
        finally:
            self._doing.cancel()
        await self._tell(lambda: self._jobs.finish(lease))
        return Outcome.DONE

    async def _stopped(self) -> Outcome:
        """The work was broken off."""
        lease = self._claim.lease
        if self._why is _Stop.CANCELLED:
            await self._tell(lambda: self._jobs.stopped(lease))
            return Outcome.STOPPED
        if self._why is _Stop.DRAINED:
            await self._tell(lambda: self._jobs.release(lease))
            return Outcome.RELEASED
        if self._why is _Stop.LOST:
            return Outcome.LOST
        raise asyncio.CancelledError

    async def _fail(self, error: Exception) -> None:
        known = error if isinstance(error, MaquetteError) else MaquetteError("the work failed in an unforeseen way")
        meaning = verdict(error)
        last = self._claim.job.failures + 1 >= self._settings.tries
        retry = meaning is Verdict.PASSING or (meaning is Verdict.DOUBTFUL and not last)
        told = fields(job=self._claim.job.id, code=known.code, kind=str(self._claim.job.kind))
        if meaning is Verdict.DOUBTFUL:
            _log.error("a try failed", exc_info=error, extra=told)
        else:
            _log.info("a try failed", extra=told)
        self._metrics.failed(known.code)
        lease = self._claim.lease
        await self._tell(lambda: self._jobs.fail(lease, Failure.of(known), retry=retry))

    async def _tell(self, what: Callable[[], Awaitable[None]]) -> None:
        """Tell the jobs what became of this one, also when their database is away for a while."""
        await insist(what, self._settings.patience_s)

    async def _beat(self) -> None:
        """Renew the lease for as long as there is something to be said of the job."""
        lease = self._claim.lease
        while True:
            await asyncio.sleep(self._beat_s)
            try:
                beat = await self._jobs.heartbeat(lease)
                lease = beat.lease
                if beat.cancel:
                    self.stop(_Stop.CANCELLED)
            except LeaseLost:
                self.stop(_Stop.LOST)
                return
            except MaquetteError as error:
                _log.warning("a lease could not be renewed", extra=fields(job=lease.job_id, code=error.code))
            except Exception as error:
                _log.error("a lease could not be renewed", exc_info=error, extra=fields(job=lease.job_id))
