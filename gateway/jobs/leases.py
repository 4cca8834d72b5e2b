"""What the holder of a job may say about it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, select, update

from gateway.jobs import outcomes
from gateway.jobs.database import Transaction
from gateway.jobs.journal import tell
from gateway.jobs.rows import from_failure
from gateway.jobs.schema import heads, jobs, products, steps
from gateway.jobs.types import EventKind, Failure, HeadState, JobKind, JobState, Json, ProductRecord, Reason
from gateway.jobs.worktypes import Beat, Lease, Step
from maquette.errors import LeaseLost, OptionInvalid
from maquette.types import Caution


def heartbeat(tx: Transaction, lease: Lease) -> Beat:
    """Renew a lease, even one that has run out, as long as nobody else has taken the job."""
    until = tx.now + tx.settings.lease_s
    mine = (jobs.c.id == lease.job_id) & (jobs.c.lease == lease.token) & (jobs.c.state == JobState.RUNNING)
    renewed = tx.one(update(jobs).where(mine).values(lease_until=until).returning(jobs.c.cancel_requested))
    cancel = renewed.cancel_requested if renewed else _held(tx, lease).cancel_requested
    return Beat(replace(lease, until=until), cancel=cancel)


def advance(
    tx: Transaction,
    lease: Lease,
    state: HeadState | None,
    progress: float | None,
    step: Step | None,
    made: Sequence[ProductRecord],
    warnings: Sequence[Caution],
) -> Json | None:
    """Record what has been done, and announce it; what is known already is not announced again."""
    job = _held(tx, lease)
    if state is not None and job.kind == JobKind.EXPORT:
        raise OptionInvalid(f"expected no state for an export, whose head stays as it is, found {state}")
    output = None if step is None else _record(tx, job, step)
    head = tx.all(select(heads).where(heads.c.id == job.head_id).with_for_update())[0]
    happened: list[tuple[EventKind, Json]] = []
    values: dict[str, Any] = {}
    if state is not None and state != head.state:
        values["state"] = state
        happened.append((EventKind.STATE, {"state": state}))
    if progress is not None and progress > head.progress:
        values["progress"] = progress
        happened.append((EventKind.PROGRESS, {"progress": progress}))
    known = {(w["code"], w["message"]) for w in head.warnings}
    fresh = [
        {"code": c.code, "message": c.message} for c in dict.fromkeys(warnings) if (c.code, c.message) not in known
    ]
    if fresh:
        values["warnings"] = head.warnings + fresh
        happened += [(EventKind.WARNING, w) for w in fresh]
    happened += [(EventKind.PRODUCT, p) for p in _register(tx, job.head_id, made)]
    if happened:
        tell(tx, job.head_id, happened, **values)
    return output


def finish(tx: Transaction, lease: Lease) -> None:
    """The job is done; a cancellation that came too late to stop it is of no effect."""
    job = _held(tx, lease, JobState.DONE)
    if job.state == JobState.RUNNING:
        outcomes.done(tx, job)


def fail(tx: Transaction, lease: Lease, failure: Failure, *, retry: bool) -> None:
    """The try has failed."""
    job = _held(tx, lease, JobState.FAILED, JobState.QUEUED, JobState.CANCELLED)
    if job.state != JobState.RUNNING:
        return
    failures = job.failures + 1
    if job.cancel_requested:
        outcomes.cancelled(tx, job, failures=failures)
    elif not retry:
        outcomes.failed(tx, job, Reason.PERMANENT, failure, failures=failures)
    elif failures >= tx.settings.attempts:
        outcomes.failed(tx, job, Reason.EXHAUSTED, failure, failures=failures)
    else:
        again = {"reason": "error", "code": failure.code}
        pause = tx.settings.pause(failures)
        outcomes.queued(tx, job, again, after=pause, failures=failures, error=from_failure(failure))


def stopped(tx: Transaction, lease: Lease) -> None:
    """The holder has stopped, as it was asked to."""
    job = _held(tx, lease, JobState.CANCELLED)
    if job.state == JobState.RUNNING:
        outcomes.cancelled(tx, job)


def release(tx: Transaction, lease: Lease) -> None:
    """The holder gives the job back, for no fault of the job's."""
    job = _held(tx, lease, JobState.QUEUED, JobState.CANCELLED)
    if job.state != JobState.RUNNING:
        return
    if job.cancel_requested:
        outcomes.cancelled(tx, job)
    else:
        outcomes.queued(tx, job)


def _held(tx: Transaction, lease: Lease, *outcome: JobState) -> Row[Any]:
    """The job of a lease, locked; or in the state that the same message, sent before, has brought it to.

    Raises:
        LeaseLost: The job is not the holder's any more.
    """
    job = tx.one(select(jobs).where(jobs.c.id == lease.job_id).with_for_update())
    if job is None:
        raise LeaseLost("the job has been deleted", job=lease.job_id, why="deleted")
    if job.lease != lease.token:
        raise LeaseLost(f"the job is no longer {lease.worker}'s: it is {job.state}", job=lease.job_id, why="taken")
    if job.state != JobState.RUNNING and job.state not in outcome:
        raise LeaseLost(f"the job is over: it is {job.state}", job=lease.job_id, why="over")
    return job


def _record(tx: Transaction, job: Row[Any], step: Step) -> Json:
    """Record a step's output, unless an earlier try has; returns the one that counts."""
    insert = tx.insert(steps).values(job_id=job.id, step=step.name, output=step.output, attempt=job.attempts, at=tx.now)
    tx.run(insert.on_conflict_do_nothing())
    output: Json = tx.value(select(steps.c.output).where(steps.c.job_id == job.id, steps.c.step == step.name))
    return output


def _register(tx: Transaction, head_id: str, made: Sequence[ProductRecord]) -> list[Json]:
    """Enter products by their names; returns the data of an event for each that is new or has other bytes."""
    if not made:
        return []
    there = {p.name: p for p in tx.all(select(products).where(products.c.head_id == head_id))}
    number = max((p.number for p in there.values()), default=0)
    told: list[Json] = []
    for product in made:
        old = there.get(product.name)
        if old is not None and (old.sha256, old.key, old.media_type) == (
            product.sha256,
            product.key,
            product.media_type,
        ):
            continue
        number += 1
        values = {
            "key": product.key,
            "size": product.size,
            "sha256": product.sha256,
            "media_type": product.media_type,
            "number": number,
        }
        insert = tx.insert(products).values(head_id=head_id, name=product.name, **values)
        tx.run(insert.on_conflict_do_update(index_elements=["head_id", "name"], set_=values))
        public = ("media_type", "size", "sha256")
        told.append({"name": product.name, **{name: values[name] for name in public}})
    return told
