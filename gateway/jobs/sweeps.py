"""What time brings: expiry, removal, and figures about all of it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, func, select, update

from gateway.jobs import names, outcomes
from gateway.jobs.claims import reclaim
from gateway.jobs.database import Transaction
from gateway.jobs.heads import remove_scopes, writers_until
from gateway.jobs.journal import tell
from gateway.jobs.rows import to_job
from gateway.jobs.schema import heads, jobs, photos, products, removals, steps, usage
from gateway.jobs.types import EventKind, Failure, HeadState, JobKind, JobRecord, JobState, Reason
from gateway.jobs.worktypes import Counts, Removal, Swept
from maquette.errors import HeadNotFound, JobConflict, PhotosExpired

_USAGE_DAYS = 31
_DAY_S = 86_400


def sweep(tx: Transaction, limit: int) -> Swept:
    """Do what is due, ``limit`` of each kind at most."""
    reclaimed = reclaim(tx, limit)
    found = []
    for expire, column, due in (
        (_expire_photos, heads.c.photos_expire, heads.c.state != HeadState.EXPIRED),
        (_expire, heads.c.expires, heads.c.state != HeadState.EXPIRED),
        (_forget, heads.c.expires, heads.c.state == HeadState.EXPIRED),
    ):
        due &= column <= tx.now
        ids = [row.id for row in tx.all(select(heads.c.id).where(due).order_by(column).limit(limit))]
        for head_id in ids:
            # Jobs before heads: the order in which everybody locks them.
            its_jobs = tx.all(select(jobs).where(jobs.c.head_id == head_id).order_by(jobs.c.id).with_for_update())
            head = tx.one(select(heads).where(heads.c.id == head_id, due).with_for_update())
            if head is not None:
                expire(tx, head, its_jobs)
        found.append(len(ids))
    tx.run(delete(usage).where(usage.c.day < int(tx.now // _DAY_S) - _USAGE_DAYS))
    photo_heads, old, forgotten = found
    return Swept(reclaimed, photo_heads, old, forgotten, more=limit in (reclaimed, *found))


def _expire_photos(tx: Transaction, head: Row[Any], its_jobs: Sequence[Row[Any]]) -> None:
    """Remove a head's photos; without them a reconstruction that has not ended cannot."""
    failure = Failure.of(
        PhotosExpired(
            f"the photos were kept for {tx.settings.photo_retention_s:g} s, and the head was not done by then",
            kept_s=tx.settings.photo_retention_s,
        )
    )
    for job in its_jobs:
        if job.kind == JobKind.RECONSTRUCT and JobState(job.state).open:
            outcomes.failed(tx, job, Reason.PHOTOS_EXPIRED, failure, lease=None)
    tx.run(delete(photos).where(photos.c.head_id == head.id))
    remove_scopes(tx, head.owner, head.id, (names.photo_scope(head.id),), writers_until(tx, its_jobs))
    tell(tx, head.id, [], photos_expire=None)


def _expire(tx: Transaction, head: Row[Any], its_jobs: Sequence[Row[Any]]) -> None:
    """Remove all of a head but the memory that there was one."""
    for job in its_jobs:
        if JobState(job.state).open:
            outcomes.cancelled(tx, job, lease=None)
        tx.run(delete(steps).where(steps.c.job_id == job.id))
    for table in (photos, products):
        tx.run(delete(table).where(table.c.head_id == head.id))
    scopes = (names.photo_scope(head.id), names.head_scope(head.id))
    remove_scopes(tx, head.owner, head.id, scopes, writers_until(tx, its_jobs))
    values = {"state": HeadState.EXPIRED, "name": "", "photos_expire": None}
    happened = [(EventKind.STATE, {"state": HeadState.EXPIRED})]
    tell(tx, head.id, happened, expires=tx.now + tx.settings.row_retention_s, **values)


def _forget(tx: Transaction, head: Row[Any], _jobs: Sequence[Row[Any]]) -> None:
    """Remove that memory too."""
    tx.run(delete(heads).where(heads.c.id == head.id))
    tx.changed.add(head.id)


def due_removals(tx: Transaction, limit: int) -> tuple[Removal, ...]:
    """Scopes whose objects are to be deleted now."""
    found = tx.all(select(removals).where(removals.c.due <= tx.now).order_by(removals.c.due).limit(limit))
    return tuple(Removal(row.scope, row.head_id) for row in found)


def removed(tx: Transaction, scopes: Sequence[str]) -> None:
    """The objects of these scopes are gone; where somebody may still write to one, it is looked at again then."""
    these = removals.c.scope.in_(scopes)
    # In this order, so that two who do this at once cannot wait for each other.
    tx.all(select(removals.c.scope).where(these).order_by(removals.c.scope).with_for_update())
    due = these & (removals.c.due <= tx.now)
    tx.run(delete(removals).where(due, removals.c.last <= tx.now))
    tx.run(update(removals).where(due, removals.c.last > tx.now).values(due=removals.c.last))


def counts(tx: Transaction) -> Counts:
    """Figures for metrics and scaling."""
    by_state = tx.all(select(heads.c.state, func.count().label("number")).group_by(heads.c.state))
    by_kind = tx.all(
        select(jobs.c.kind, jobs.c.state, func.count().label("number")).group_by(jobs.c.kind, jobs.c.state)
    )
    ready = (jobs.c.state == JobState.QUEUED) & (jobs.c.not_before <= tx.now)
    queue = tx.all(select(func.count().label("number"), func.min(jobs.c.not_before).label("oldest")).where(ready))[0]
    return Counts(
        heads={HeadState(row.state): row.number for row in by_state},
        jobs={(JobKind(row.kind), JobState(row.state)): row.number for row in by_kind},
        ready=queue.number,
        oldest_ready_s=0.0 if queue.oldest is None else tx.now - queue.oldest,
        removals=tx.value(select(func.count()).select_from(removals).where(removals.c.due <= tx.now)),
    )


def dead_letters(tx: Transaction, limit: int) -> tuple[JobRecord, ...]:
    """Failed jobs of all owners, the latest first."""
    failed = select(jobs).where(jobs.c.state == JobState.FAILED)
    return tuple(to_job(row) for row in tx.all(failed.order_by(jobs.c.finished.desc(), jobs.c.id).limit(limit)))


def revive(tx: Transaction, job_id: str) -> JobRecord:
    """Queue a failed job again, as if it had not failed before."""
    job = tx.one(select(jobs).where(jobs.c.id == job_id).with_for_update())
    if job is None:
        raise HeadNotFound(f"there is no job {job_id}", job=job_id)
    if job.state != JobState.FAILED:
        if tx.repeated and job.state == JobState.QUEUED:
            return to_job(job)
        raise JobConflict(f"expected a job that has failed, found one that is {job.state}", job=job_id, state=job.state)
    head = tx.all(select(heads).where(heads.c.id == job.head_id))[0]
    if head.state == HeadState.EXPIRED or (job.kind == JobKind.RECONSTRUCT and head.photos_expire is None):
        raise PhotosExpired("expected a job whose photos are still there, found them expired", job=job_id)
    outcomes.queued(tx, job, lease=None, losses=0, failures=0, reason=None, error=None, finished=None)
    return to_job(tx.all(select(jobs).where(jobs.c.id == job_id))[0])
