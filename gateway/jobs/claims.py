"""Which job is next, and jobs whose workers have fallen silent."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import Row, and_, func, select, update

from gateway.jobs import outcomes
from gateway.jobs.database import Transaction
from gateway.jobs.rows import from_failure, to_heads, to_job
from gateway.jobs.schema import heads, jobs, steps, turns
from gateway.jobs.types import Failure, JobKind, JobState, Json, Reason
from gateway.jobs.worktypes import Claim, Lease
from maquette.errors import WorkerLost

_RECLAIMED_AT_ONCE = 100
_CANDIDATES = 100
"""So many at least of those who are served next; when others are claiming from all of them, the next claim is soon."""


def claim(tx: Transaction, worker: str, token: str) -> Claim | None:
    """Give a worker the next job.

    The highest priority first; then the owner with the fewest running jobs; of these the one who was served longest ago
    (with one worker nobody has a job running when the next is chosen); then the oldest job.
    """
    if tx.repeated:
        mine = tx.one(select(jobs).where(jobs.c.lease == token, jobs.c.state == JobState.RUNNING))
        if mine is not None:
            return _claimed(tx, mine)
    reclaim(tx, _RECLAIMED_AT_ONCE)
    job = next((job for job in map(partial(_oldest, tx), _candidates(tx)) if job is not None), None)
    if job is None:
        return None
    _served(tx, job.owner)
    taken = update(jobs).where(jobs.c.id == job.id).returning(jobs)
    values = {"attempts": job.attempts + 1, "worker": worker, "lease": token, "started": tx.now}
    until = tx.now + tx.settings.lease_s
    return _claimed(tx, tx.all(taken.values(state=JobState.RUNNING, lease_until=until, **values))[0])


def reclaim(tx: Transaction, limit: int) -> int:
    """Take jobs from workers whose leases have run out; returns how many."""
    silent = and_(jobs.c.state == JobState.RUNNING, jobs.c.lease_until <= tx.now)
    found = tx.all(
        select(jobs).where(silent).order_by(jobs.c.lease_until).limit(limit).with_for_update(skip_locked=True)
    )
    for job in found:
        losses = job.losses + 1
        failure = Failure.of(
            WorkerLost(
                f"the worker that had the job fell silent ({losses} of {tx.settings.losses} times)",
                losses=losses,
            )
        )
        # Without its token the old holder is told that it has lost the job, whatever it says next.
        if job.cancel_requested:
            outcomes.cancelled(tx, job, lease=None, losses=losses)
        elif losses >= tx.settings.losses:
            outcomes.failed(tx, job, Reason.WORKER_LOST, failure, lease=None, losses=losses)
        else:
            retry = {"reason": Reason.WORKER_LOST, "code": failure.code}
            outcomes.queued(tx, job, retry, lease=None, losses=losses, error=from_failure(failure))
    return len(found)


def next_due(tx: Transaction) -> float | None:
    """When there will be something to claim at the latest; None when nothing is known to come."""
    waiting = tx.value(select(func.min(jobs.c.not_before)).where(jobs.c.state == JobState.QUEUED))
    silent = tx.value(select(func.min(jobs.c.lease_until)).where(jobs.c.state == JobState.RUNNING))
    return min((t for t in (waiting, silent) if t is not None), default=None)


def _candidates(tx: Transaction) -> Sequence[Row[Any]]:
    """Priorities and owners with jobs to claim, in the order in which they are served."""
    waiting = (
        select(jobs.c.priority, jobs.c.owner, func.min(jobs.c.created).label("oldest"))
        .where(jobs.c.state == JobState.QUEUED, jobs.c.not_before <= tx.now)
        .group_by(jobs.c.priority, jobs.c.owner)
        .subquery()
    )
    running = (
        select(jobs.c.owner, func.count().label("number"))
        .where(jobs.c.state == JobState.RUNNING)
        .group_by(jobs.c.owner)
        .subquery()
    )
    return tx.all(
        select(waiting.c.priority, waiting.c.owner)
        .outerjoin(running, running.c.owner == waiting.c.owner)
        .outerjoin(turns, turns.c.owner == waiting.c.owner)
        .order_by(
            waiting.c.priority.desc(),
            func.coalesce(running.c.number, 0),
            func.coalesce(turns.c.turn, 0),
            waiting.c.oldest,
            waiting.c.owner,
        )
        .limit(_CANDIDATES)
    )


def _oldest(tx: Transaction, candidate: Row[Any]) -> Row[Any] | None:
    """The oldest job of a priority and an owner, locked; None when others are claiming all there are."""
    theirs = (jobs.c.owner == candidate.owner) & (jobs.c.priority == candidate.priority)
    ready = theirs & (jobs.c.state == JobState.QUEUED) & (jobs.c.not_before <= tx.now)
    ordered = select(jobs).where(ready).order_by(jobs.c.created, jobs.c.id)
    return tx.one(ordered.limit(1).with_for_update(skip_locked=True))


def _served(tx: Transaction, owner: str) -> None:
    latest = turns.alias()
    turn = select(func.coalesce(func.max(latest.c.turn), 0) + 1).scalar_subquery()
    insert = tx.insert(turns).values(owner=owner, turn=turn)
    tx.run(insert.on_conflict_do_update(index_elements=["owner"], set_={"turn": insert.excluded.turn}))


def _claimed(tx: Transaction, row: Row[Any]) -> Claim:
    head = to_heads(tx, tx.all(select(heads).where(heads.c.id == row.head_id)))[0]
    lease = Lease(row.id, row.head_id, row.worker, row.lease, row.lease_until)
    made = {}
    if row.kind == JobKind.EXPORT:
        first = (jobs.c.head_id == row.head_id) & (jobs.c.kind == JobKind.RECONSTRUCT)
        made = _outputs(tx, select(jobs.c.id).where(first).scalar_subquery())
    return Claim(lease, to_job(row), head, _outputs(tx, row.id), made)


def _outputs(tx: Transaction, job_id: Any) -> dict[str, Json]:
    return {s.step: s.output for s in tx.all(select(steps).where(steps.c.job_id == job_id))}
