"""The events of a head, numbered without gaps.

The number is taken by updating the head's row, which stays locked until the transaction ends: whoever has seen number
n has all up to n, so that a stream can be resumed after any of them.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update

from gateway.jobs.database import Transaction
from gateway.jobs.rows import no_head
from gateway.jobs.schema import events, heads
from gateway.jobs.types import Event, EventKind, Json


def tell(tx: Transaction, head_id: str, happened: Sequence[tuple[EventKind, Json]], **values: Any) -> None:
    """Change a head and say so; nothing happens when it is no longer there.

    Args:
        tx: The transaction.
        head_id: The head.
        happened: Kind and data of each event.
        values: New values of the head's columns.
    """
    changed = update(heads).where(heads.c.id == head_id).returning(heads.c.sequence)
    last = tx.value(changed.values(sequence=heads.c.sequence + len(happened), updated=tx.now, **values))
    tx.changed.add(head_id)
    if last is None or not happened:
        return
    rows = [
        {"head_id": head_id, "sequence": last - len(happened) + 1 + i, "kind": kind, "data": data, "at": tx.now}
        for i, (kind, data) in enumerate(happened)
    ]
    tx.run(tx.insert(events), rows)


def read(tx: Transaction, owner: str, head_id: str, after: int, limit: int) -> tuple[int, tuple[Event, ...]]:
    """Number of the newest event of an owner's head, and the events after number ``after``.

    Raises:
        HeadNotFound: There is no such head, or it is another's.
    """
    newest = tx.value(select(heads.c.sequence).where(heads.c.id == head_id, heads.c.owner == owner))
    if newest is None:
        raise no_head(head_id)
    if after >= newest:
        return newest, ()
    later = select(events).where(events.c.head_id == head_id, events.c.sequence > after)
    rows = tx.all(later.order_by(events.c.sequence).limit(limit))
    return newest, tuple(Event(row.sequence, EventKind(row.kind), row.data, row.at) for row in rows)
