"""What becomes of a job, and of its head with it.

The rows of jobs that these functions are given are locked; a head's row is only ever locked after its job's.
"""

from typing import Any

from sqlalchemy import Row, update

from gateway.jobs.database import Transaction
from gateway.jobs.journal import tell
from gateway.jobs.rows import from_failure
from gateway.jobs.schema import jobs
from gateway.jobs.types import EventKind, Failure, HeadState, JobKind, JobState, Json, Reason


def done(tx: Transaction, job: Row[Any]) -> None:
    """It is finished."""
    change(tx, job, state=JobState.DONE, finished=tx.now, error=None)
    if job.kind == JobKind.EXPORT:
        tell(tx, job.head_id, [(EventKind.EXPORT, {"job": job.id, "state": JobState.DONE})])
    else:
        happened: list[tuple[EventKind, Json]] = [
            (EventKind.PROGRESS, {"progress": 1.0}),
            (EventKind.STATE, {"state": HeadState.DONE}),
        ]
        expires = tx.now + tx.settings.product_retention_s
        tell(tx, job.head_id, happened, state=HeadState.DONE, progress=1.0, error=None, expires=expires)


def failed(tx: Transaction, job: Row[Any], reason: Reason, failure: Failure, **values: Any) -> None:
    """It has failed for good: a dead letter."""
    error = from_failure(failure)
    change(tx, job, state=JobState.FAILED, finished=tx.now, reason=reason, error=error, **values)
    if job.kind == JobKind.EXPORT:
        tell(tx, job.head_id, [(EventKind.EXPORT, {"job": job.id, "state": JobState.FAILED, "error": error})])
    else:
        happened = [(EventKind.STATE, {"state": HeadState.FAILED, "error": error})]
        tell(tx, job.head_id, happened, state=HeadState.FAILED, error=error)


def cancelled(tx: Transaction, job: Row[Any], **values: Any) -> None:
    """It will not be done, as was asked."""
    change(tx, job, state=JobState.CANCELLED, finished=tx.now, **values)
    if job.kind == JobKind.EXPORT:
        tell(tx, job.head_id, [(EventKind.EXPORT, {"job": job.id, "state": JobState.CANCELLED})])
    else:
        tell(tx, job.head_id, [(EventKind.STATE, {"state": HeadState.CANCELLED})], state=HeadState.CANCELLED)


def queued(tx: Transaction, job: Row[Any], retry: Json | None = None, *, after: float = 0.0, **values: Any) -> None:
    """It is to be done, or done again.

    Args:
        tx: The transaction.
        job: The job.
        retry: ``reason`` and ``code``, when a try has failed.
        after: How long to wait first, seconds.
        values: Further columns.
    """
    change(tx, job, state=JobState.QUEUED, not_before=tx.now + after, **values)
    tx.ready = True
    data: Json = {} if retry is None else {"retry": {**retry, "after": after}}
    if job.kind == JobKind.EXPORT:
        tell(tx, job.head_id, [(EventKind.EXPORT, {"job": job.id, "state": JobState.QUEUED, **data})])
    else:
        happened = [(EventKind.STATE, {"state": HeadState.QUEUED, **data})]
        tell(tx, job.head_id, happened, state=HeadState.QUEUED, error=None)


def change(tx: Transaction, job: Row[Any], **values: Any) -> None:
    """Set columns of a job."""
    tx.run(update(jobs).where(jobs.c.id == job.id).values(**values))
