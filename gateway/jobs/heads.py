"""What customers do with heads; each function is one transaction's work."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, delete, func, select, tuple_, update

from gateway.jobs import names, outcomes, schema
from gateway.jobs.database import Transaction
from gateway.jobs.journal import tell
from gateway.jobs.rows import find_head, no_head, to_heads, to_job
from gateway.jobs.types import (
    CreatedExport,
    CreatedHead,
    EventKind,
    HeadState,
    Idempotency,
    JobKind,
    JobRecord,
    JobState,
    Json,
    NewHead,
    Page,
    ProductRecord,
    Receipt,
)
from maquette.errors import IdempotencyMismatch, JobConflict, Overloaded, ProductNotFound, QuotaExceeded

_MARGIN_S = 30.0
"""A reservation that ends this soon is not taken over: a sweep on a machine whose clock is ahead may be at it."""

_DAY_S = 86_400
_BUSY_S = 10


def reserve(tx: Transaction, owner: str, head_id: str) -> None:
    """Remember the scopes of a head that is being uploaded, so that they are removed if it is never asked for."""
    due = tx.now + tx.settings.upload_s
    reserved = {"head_id": head_id, "owner": owner, "reserved": True, "due": due, "last": due + tx.settings.upload_s}
    scopes = (names.photo_scope(head_id), names.head_scope(head_id))
    tx.run(tx.insert(schema.removals).on_conflict_do_nothing(), [{"scope": s, **reserved} for s in scopes])


def abandon(tx: Transaction, owner: str, head_id: str) -> None:
    """Give a reservation up: its scopes are removed by the next sweep."""
    table = schema.removals
    mine = (table.c.head_id == head_id) & (table.c.owner == owner) & table.c.reserved
    tx.run(update(table).where(mine).values(due=tx.now, last=tx.now))


def create(tx: Transaction, owner: str, new: NewHead, job_id: str) -> CreatedHead:
    """Head, photos and job, all or none."""
    inserted = tx.one(
        tx.insert(schema.heads)
        .values(
            id=new.head_id,
            owner=owner,
            name=new.name,
            state=HeadState.QUEUED,
            progress=0.0,
            options=new.options,
            warnings=[],
            idempotency_key=new.idempotency and new.idempotency.key,
            request_digest=new.idempotency and new.idempotency.digest,
            sequence=0,
            created=tx.now,
            updated=tx.now,
            photos_expire=tx.now + tx.settings.photo_retention_s,
            expires=tx.now + tx.settings.product_retention_s,
        )
        .on_conflict_do_nothing()
        .returning(schema.heads.c.id)
    )
    if inserted is None:
        return _asked_before(tx, owner, new)
    _take_over(tx, owner, new.head_id)
    _check_queue(tx)
    if new.daily_quota is not None:
        _charge(tx, owner, new.daily_quota)
    photos = [
        {
            "head_id": new.head_id,
            "number": i,
            "name": p.name,
            "key": p.key,
            "size": p.size,
            "sha256": p.sha256,
            "media_type": p.media_type,
        }
        for i, p in enumerate(new.photos)
    ]
    tx.run(tx.insert(schema.photos), photos)
    payload: Json = {"trace": new.trace} if new.trace else {}
    _insert_job(tx, owner, new.head_id, job_id, JobKind.RECONSTRUCT, payload, new.priority, None)
    tell(tx, new.head_id, [(EventKind.STATE, {"state": HeadState.QUEUED})])
    tx.ready = True
    return CreatedHead(find_head(tx, owner, new.head_id), created=True)


def page(
    tx: Transaction, owner: str, limit: int, place: tuple[float, str] | None, states: tuple[HeadState, ...]
) -> Page:
    """Heads of an owner, newest first, after a place."""
    table = schema.heads
    wanted = select(table).where(table.c.owner == owner)
    if place is not None:
        wanted = wanted.where(tuple_(table.c.created, table.c.id) < tuple_(*place))
    if states:
        wanted = wanted.where(table.c.state.in_(states))
    found = tx.all(wanted.order_by(table.c.created.desc(), table.c.id.desc()).limit(limit + 1))
    heads = to_heads(tx, found[:limit])
    more = len(found) > limit
    return Page(tuple(heads), names.to_cursor(heads[-1].created, heads[-1].id) if more else None)


def product(tx: Transaction, owner: str, head_id: str, name: str) -> ProductRecord:
    """One file of an owner's head."""
    table = schema.products
    named = (table.c.head_id == head_id) & (table.c.name == name) & (schema.heads.c.owner == owner)
    row = tx.one(select(table).join(schema.heads).where(named)) if names.is_file_name(name) else None
    if row is not None:
        return ProductRecord(row.name, row.key, row.size, row.sha256, row.media_type)
    head = find_head(tx, owner, head_id)
    there = ", ".join(p.name for p in head.products) or "none yet"
    raise ProductNotFound(f"there is no file of that name; there are: {there}", head=head_id, state=head.state)


def export(
    tx: Transaction,
    owner: str,
    head_id: str,
    job_id: str,
    payload: Json,
    idempotency: Idempotency | None,
    priority: int,
) -> CreatedExport:
    """A job for further files of a head that is done."""
    table = schema.heads
    state = tx.value(select(table.c.state).where(table.c.id == head_id, table.c.owner == owner).with_for_update())
    if state is None:
        raise no_head(head_id)
    before = _export_before(tx, head_id, job_id, idempotency)
    if before is not None:
        return CreatedExport(before, created=before.id == job_id)
    if state != HeadState.DONE:
        raise JobConflict(f"expected a head that is done, found one that is {state}", head=head_id, state=state)
    _check_queue(tx)
    _insert_job(tx, owner, head_id, job_id, JobKind.EXPORT, payload, priority, idempotency)
    tell(tx, head_id, [(EventKind.EXPORT, {"job": job_id, "state": JobState.QUEUED})])
    tx.ready = True
    return CreatedExport(to_job(tx.all(select(schema.jobs).where(schema.jobs.c.id == job_id))[0]), created=True)


def cancel(tx: Transaction, owner: str, head_id: str) -> None:
    """End what waits, and ask who works to stop."""
    found = tx.all(_jobs_of(owner, head_id))
    if not found:
        raise no_head(head_id)
    open_jobs = [job for job in found if JobState(job.state).open]
    if not open_jobs:
        state = tx.value(select(schema.heads.c.state).where(schema.heads.c.id == head_id))
        if state == HeadState.CANCELLED:
            return
        raise JobConflict(f"expected a head with work to be done, found one that is {state}", head=head_id, state=state)
    for job in open_jobs:
        if job.state == JobState.QUEUED:
            outcomes.cancelled(tx, job, lease=None)
        elif not job.cancel_requested:
            outcomes.change(tx, job, cancel_requested=True)
            tell(tx, head_id, [])


def remove(tx: Transaction, owner: str, head_id: str) -> Receipt:
    """Remove a head's rows, and note its scopes for removal."""
    scopes = (names.photo_scope(head_id), names.head_scope(head_id))
    jobs = tx.all(_jobs_of(owner, head_id))
    table = schema.removals
    if not jobs:
        noted = (table.c.head_id == head_id) & (table.c.owner == owner) & ~table.c.reserved
        left = tx.all(select(table.c.scope).where(noted).order_by(table.c.scope))
        if not left:
            raise no_head(head_id)
        return Receipt(head_id, tx.now, tuple(row.scope for row in left))
    tx.run(delete(schema.heads).where(schema.heads.c.id == head_id))
    remove_scopes(tx, owner, head_id, scopes, writers_until(tx, jobs))
    tx.changed.add(head_id)
    return Receipt(head_id, tx.now, tuple(sorted(scopes)))


def writers_until(tx: Transaction, jobs: Sequence[Row[Any]]) -> float:
    """Until when somebody may still write to the scopes of a head.

    A worker learns at its next heartbeat that its job is gone, which is before the lease runs out; it gets as long
    again to end what it is at.
    """
    leases = [job.lease_until for job in jobs if job.state == JobState.RUNNING]
    return max(leases, default=tx.now - tx.settings.lease_s) + tx.settings.lease_s


def remove_scopes(tx: Transaction, owner: str, head_id: str, scopes: tuple[str, ...], last: float) -> None:
    """Note scopes for removal, now and again after ``last``."""
    insert = tx.insert(schema.removals)
    noted = {"head_id": head_id, "owner": owner, "reserved": False, "due": tx.now, "last": last}
    upsert = insert.on_conflict_do_update(
        index_elements=["scope"], set_={name: insert.excluded[name] for name in ("reserved", "due", "last")}
    )
    tx.run(upsert, [{"scope": scope, **noted} for scope in scopes])


def _jobs_of(owner: str, head_id: str) -> Select[Any]:
    table = schema.jobs
    return (
        select(table).where(table.c.head_id == head_id, table.c.owner == owner).order_by(table.c.id).with_for_update()
    )


def _asked_before(tx: Transaction, owner: str, new: NewHead) -> CreatedHead:
    """The head that stands in the way of a new one: the same, asked for before, or somebody's by accident."""
    table = schema.heads
    if new.idempotency is not None:
        same_key = (table.c.owner == owner) & (table.c.idempotency_key == new.idempotency.key)
        row = tx.one(select(table).where(same_key))
        if row is not None:
            _same(new.idempotency, row.request_digest)
            if row.id != new.head_id:
                abandon(tx, owner, new.head_id)
            return CreatedHead(to_heads(tx, [row])[0], created=row.id == new.head_id)
    if tx.repeated:
        return CreatedHead(find_head(tx, owner, new.head_id), created=True)
    raise JobConflict("expected a head that was reserved and not asked for yet, found one that was", head=new.head_id)


def _take_over(tx: Transaction, owner: str, head_id: str) -> None:
    table = schema.removals
    mine = (table.c.head_id == head_id) & (table.c.owner == owner) & table.c.reserved
    taken = tx.run(delete(table).where(mine, table.c.due > tx.now + _MARGIN_S))
    if taken.rowcount == 0:
        raise JobConflict(
            f"expected a head that was reserved less than {tx.settings.upload_s:g} s ago, found none", head=head_id
        )


def _check_queue(tx: Transaction) -> None:
    limit = tx.settings.queue_limit
    waiting = tx.value(select(func.count()).select_from(schema.jobs).where(schema.jobs.c.state == JobState.QUEUED))
    if waiting >= limit:
        raise Overloaded(f"expected fewer than {limit} jobs that wait, found {waiting}", retry_after_seconds=_BUSY_S)


def _charge(tx: Transaction, owner: str, quota: int) -> None:
    day = int(tx.now // _DAY_S)
    table = schema.usage
    charge = tx.insert(table).values(owner=owner, day=day, heads=1)
    counted = charge.on_conflict_do_update(index_elements=["owner", "day"], set_={"heads": table.c.heads + 1})
    used = tx.value(counted.returning(table.c.heads))
    if used > quota:
        raise QuotaExceeded(
            f"expected at most {quota} heads a day, found one more",
            quota=quota,
            retry_after_seconds=int((day + 1) * _DAY_S - tx.now) + 1,
        )


def _insert_job(
    tx: Transaction,
    owner: str,
    head_id: str,
    job_id: str,
    kind: JobKind,
    payload: Json,
    priority: int,
    idempotency: Idempotency | None,
) -> None:
    tx.run(
        tx.insert(schema.jobs).values(
            id=job_id,
            head_id=head_id,
            owner=owner,
            kind=kind,
            payload=payload,
            priority=priority,
            state=JobState.QUEUED,
            attempts=0,
            failures=0,
            losses=0,
            not_before=tx.now,
            cancel_requested=False,
            idempotency_key=idempotency and idempotency.key,
            request_digest=idempotency and idempotency.digest,
            created=tx.now,
        )
    )


def _export_before(tx: Transaction, head_id: str, job_id: str, idempotency: Idempotency | None) -> JobRecord | None:
    table = schema.jobs
    same = table.c.id == job_id
    if idempotency is not None:
        same |= (table.c.head_id == head_id) & (table.c.idempotency_key == idempotency.key)
    row = tx.one(select(table).where(same))
    if row is not None and idempotency is not None:
        _same(idempotency, row.request_digest)
    return None if row is None else to_job(row)


def _same(idempotency: Idempotency, digest: str) -> None:
    if idempotency.digest != digest:
        raise IdempotencyMismatch("expected the request that this idempotency key was first used for, found another")
