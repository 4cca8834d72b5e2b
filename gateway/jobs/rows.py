"""Rows of the tables as records."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, Table, select

from gateway.jobs import schema
from gateway.jobs.database import Transaction
from gateway.jobs.types import (
    Failure,
    HeadRecord,
    HeadState,
    JobKind,
    JobRecord,
    JobState,
    PhotoRecord,
    ProductRecord,
    Reason,
)
from maquette.errors import HeadNotFound
from maquette.types import Caution


def find_head(tx: Transaction, owner: str, head_id: str) -> HeadRecord:
    """One head of an owner.

    Raises:
        HeadNotFound: There is none, or it is another's.
    """
    row = tx.one(select(schema.heads).where(schema.heads.c.id == head_id, schema.heads.c.owner == owner))
    if row is None:
        raise no_head(head_id)
    return to_heads(tx, [row])[0]


def no_head(head_id: str) -> HeadNotFound:
    """The error for a head that is not there, or not the caller's: the two look the same."""
    return HeadNotFound(f"there is no head {head_id}", head=head_id)


def to_heads(tx: Transaction, rows: Sequence[Row[Any]]) -> list[HeadRecord]:
    """Heads in the order of their rows, with all that belongs to them."""
    ids = [row.id for row in rows]
    photos: dict[str, list[PhotoRecord]] = defaultdict(list)
    products: dict[str, list[ProductRecord]] = defaultdict(list)
    jobs: dict[str, list[JobRecord]] = defaultdict(list)
    for row in tx.all(_of(schema.photos, ids)):
        photos[row.head_id].append(PhotoRecord(row.name, row.key, row.size, row.sha256, row.media_type))
    for row in tx.all(_of(schema.products, ids)):
        products[row.head_id].append(ProductRecord(row.name, row.key, row.size, row.sha256, row.media_type))
    ordered = (
        select(schema.jobs).where(schema.jobs.c.head_id.in_(ids)).order_by(schema.jobs.c.created, schema.jobs.c.id)
    )
    for row in tx.all(ordered):
        jobs[row.head_id].append(to_job(row))
    return [_to_head(row, photos[row.id], products[row.id], jobs[row.id]) for row in rows]


def to_job(row: Row[Any]) -> JobRecord:
    """A job."""
    return JobRecord(
        id=row.id,
        head_id=row.head_id,
        owner=row.owner,
        kind=JobKind(row.kind),
        payload=row.payload,
        priority=row.priority,
        state=JobState(row.state),
        attempts=row.attempts,
        failures=row.failures,
        losses=row.losses,
        not_before=row.not_before,
        worker=row.worker,
        lease_until=row.lease_until,
        cancel_requested=row.cancel_requested,
        reason=None if row.reason is None else Reason(row.reason),
        error=to_failure(row.error),
        created=row.created,
        started=row.started,
        finished=row.finished,
    )


def from_failure(failure: Failure | None) -> dict[str, Any] | None:
    """JSON of a failure."""
    if failure is None:
        return None
    return {"code": failure.code, "message": failure.message, "detail": failure.detail}


def to_failure(data: Mapping[str, Any] | None) -> Failure | None:
    """A failure from its JSON."""
    return None if data is None else Failure(data["code"], data["message"], data["detail"])


def _of(table: Table, head_ids: Sequence[str]) -> Select[Any]:
    return select(table).where(table.c.head_id.in_(head_ids)).order_by(table.c.head_id, table.c.number)


def _to_head(
    row: Row[Any], photos: list[PhotoRecord], products: list[ProductRecord], jobs: list[JobRecord]
) -> HeadRecord:
    return HeadRecord(
        id=row.id,
        owner=row.owner,
        name=row.name,
        state=HeadState(row.state),
        progress=row.progress,
        options=row.options,
        warnings=tuple(Caution(w["code"], w["message"]) for w in row.warnings),
        error=to_failure(row.error),
        created=row.created,
        updated=row.updated,
        photos_expire=row.photos_expire,
        expires=row.expires,
        cancelling=any(j.cancel_requested and j.state is JobState.RUNNING for j in jobs),
        sequence=row.sequence,
        photos=tuple(photos),
        products=tuple(products),
        exports=tuple(j for j in jobs if j.kind is JobKind.EXPORT),
    )
