"""The Protocol of the jobs: what the gateway, its workers and its operators may ask."""

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

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
from maquette.types import Caution


class JobStore(Protocol):
    """Heads and the jobs that make them. A job's row is the truth about it.

    What a customer asks for and is answered is durable. What a worker reports outlives every process; after a power
    failure it may be undone, and is then done again.

    Every call may raise JobsUnavailable, when the database has not answered for ``JobSettings.outage_s``, and
    JobsRefused. What a call that raised JobsUnavailable was to do may have been done; asking again does it once.

    What is another owner's does not exist: the error for it is that for what is not there.

    Calls may be cancelled at any time, but a cancelled ``claim`` may leave a job with nobody until its lease runs out:
    wait in ``wait_job``.

    Attributes:
        keys: The API keys, in the same database.
    """

    keys: KeyStore

    async def __aenter__(self) -> Self:
        """The store."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        ...

    async def close(self) -> None:
        """Give back connections; nothing may be asked afterwards."""
        ...

    async def check(self) -> None:
        """See whether the database can be written to, at once.

        Raises:
            JobsUnavailable: It does not answer.
        """
        ...

    async def reserve(self, owner: str) -> str:
        """Identifier for a head that is about to be uploaded.

        Photos go to ``photo_scope(head_id)``. Unless ``create_head`` follows within ``JobSettings.upload_s``, the
        head's scopes come up among the ``removals``.
        """
        ...

    async def abandon(self, owner: str, head_id: str) -> None:
        """Give up a reservation: what was uploaded is to be removed now. Does nothing to a head that was asked for."""
        ...

    async def create_head(self, owner: str, new: NewHead) -> CreatedHead:
        """Ask for a head whose photos are durable: it and its job are there, or neither.

        Raises:
            IdempotencyMismatch: The key was used for another request.
            JobConflict: The head was not reserved, too long ago, or asked for already.
            QuotaExceeded: The owner may ask for no more today; ``retry_after_seconds`` says when.
            Overloaded: Too many jobs wait; ``retry_after_seconds`` says when to come again.
            OptionInvalid: A name, key or the number of photos is out of its range.
        """
        ...

    async def get_head(self, owner: str, head_id: str) -> HeadRecord:
        """A head as it stands.

        Raises:
            HeadNotFound: There is none, or it is another's.
        """
        ...

    async def list_heads(
        self, owner: str, *, limit: int = 50, cursor: str | None = None, states: Sequence[HeadState] = ()
    ) -> Page:
        """Heads of an owner, newest first.

        Args:
            owner: Whose.
            limit: 1 to 200.
            cursor: Of the page before.
            states: Only these; all when empty.

        Raises:
            OptionInvalid: The limit is out of range, or the cursor is none.
        """
        ...

    async def get_product(self, owner: str, head_id: str, name: str) -> ProductRecord:
        """One file of a head.

        Raises:
            HeadNotFound: There is no such head, or it is another's.
            ProductNotFound: It has no such file.
        """
        ...

    async def create_export(
        self, owner: str, head_id: str, payload: Json, *, idempotency: Idempotency | None = None, priority: int = 0
    ) -> CreatedExport:
        """Ask for further files of a head that is done.

        Raises:
            HeadNotFound: There is no such head, or it is another's.
            JobConflict: It is not done.
            IdempotencyMismatch: The key was used for another export of this head.
            Overloaded: Too many jobs wait.
        """
        ...

    async def cancel_head(self, owner: str, head_id: str) -> HeadRecord:
        """End a head's jobs: those that wait at once; the holders of those that run learn at their next heartbeat.

        Raises:
            HeadNotFound: There is no such head, or it is another's.
            JobConflict: There is nothing to cancel; a head that is cancelled already is returned as it is.
        """
        ...

    async def delete_head(self, owner: str, head_id: str) -> Receipt:
        """Remove all rows of a head; a worker that has it learns at its next heartbeat.

        The caller deletes the receipt's scopes and says so with ``removed``. If it dies before, ``removals`` lists
        them, and until then a second call gives the receipt again.

        Raises:
            HeadNotFound: There is no such head, or it is another's.
        """
        ...

    async def events(self, owner: str, head_id: str, after: int = 0, *, limit: int = 100) -> tuple[Event, ...]:
        """Events after number ``after``, oldest first.

        Raises:
            HeadNotFound: There is no such head, or it is another's.
        """
        ...

    async def wait_events(
        self, owner: str, head_id: str, after: int = 0, *, timeout: float, limit: int = 100
    ) -> tuple[Event, ...]:
        """As ``events``, but waits until there are some; empty when there are none after ``timeout`` seconds.

        When there is no event with number ``after`` yet, the next one is waited for.

        A thousand may wait at once: waiting takes no connection.

        Raises:
            HeadNotFound: There is no such head, it is another's, or it was deleted meanwhile.
        """
        ...

    async def claim(self, worker: str) -> Claim | None:
        """The next job for a worker; None when there is nothing to do.

        Args:
            worker: Name for people, 1 to 200 characters.
        """
        ...

    async def wait_job(self, *, timeout: float) -> bool:
        """Wait until there may be a job to claim; False when there is none after ``timeout`` seconds."""
        ...

    async def heartbeat(self, lease: Lease) -> Beat:
        """Renew a lease; several times in ``JobSettings.lease_s``.

        Raises:
            LeaseLost: The job is another's, over or deleted; ``why`` is ``taken``, ``over`` or ``deleted``.
        """
        ...

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
        """Record progress of a job, all of it or nothing, and announce what is new.

        Args:
            lease: Of the job.
            state: What is being done; not for exports.
            progress: 0 to 1; less than before is ignored.
            step: A step that is done. One that an earlier try has recorded keeps its output.
            products: Files that are ready, in the object store already. The same again changes nothing; other bytes
                under a name that is there replace it.
            warnings: What the head's user should know; the same again changes nothing.

        Returns:
            The output of the step that counts; None without a step.

        Raises:
            LeaseLost: See ``heartbeat``; nothing was recorded.
            OptionInvalid: A name, the progress or the state is out of range.
        """
        ...

    async def finish(self, lease: Lease) -> None:
        """The job is done, and with a reconstruction the head.

        Raises:
            LeaseLost: See ``heartbeat``.
        """
        ...

    async def fail(self, lease: Lease, failure: Failure, *, retry: bool) -> None:
        """The try has failed.

        Args:
            lease: Of the job.
            failure: Why.
            retry: Whether another try may succeed: then the job is queued again, to be claimed after
                ``JobSettings.pause``, unless that was the last try. Otherwise it has failed.

        Raises:
            LeaseLost: See ``heartbeat``.
        """
        ...

    async def stopped(self, lease: Lease) -> None:
        """The holder has stopped, as a heartbeat asked it to: the job is cancelled.

        Raises:
            LeaseLost: See ``heartbeat``.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Give a job back unfinished, as a worker does that is told to end: no try is counted as failed or lost.

        Raises:
            LeaseLost: See ``heartbeat``.
        """
        ...

    async def sweep(self, *, limit: int = 100) -> Swept:
        """Take jobs from silent workers, expire photos and heads, forget heads long expired.

        Any number of processes may do this at once. The objects are then listed by ``removals``.
        """
        ...

    async def removals(self, *, limit: int = 100) -> tuple[Removal, ...]:
        """Scopes of the object store to be deleted now, as the caller then does, and says with ``removed``."""
        ...

    async def removed(self, scopes: Sequence[str]) -> None:
        """These scopes are deleted. One that a worker may still write to comes up again when it no longer can."""
        ...

    async def counts(self) -> Counts:
        """Figures for metrics and scaling."""
        ...

    async def dead_letters(self, *, limit: int = 100) -> tuple[JobRecord, ...]:
        """Failed jobs of all owners with their reasons, the latest first."""
        ...

    async def revive(self, job_id: str) -> JobRecord:
        """Queue a failed job again, with all its tries.

        Raises:
            HeadNotFound: There is no such job.
            JobConflict: It has not failed.
            PhotosExpired: It cannot be done any more.
        """
        ...
