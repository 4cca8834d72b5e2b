"""The tables, once for both databases.

``migrations`` makes them; a test holds the two together. Times are seconds since 1970, UTC. Rows of one head go with
it (``ON DELETE CASCADE``).
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.schema import SchemaItem

from gateway.jobs.types import EventKind, HeadState, JobKind, JobState

REVISION = "0001"
"""The migration that these tables are the result of."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _one_of(column: str, values: type[HeadState] | type[JobState] | type[JobKind] | type[EventKind]) -> SchemaItem:
    listed = ", ".join(f"'{v}'" for v in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _json(name: str, *, nullable: bool = False) -> Column[object]:
    # Text, not JSONB: what is written is what is read, members in their order.
    return Column(name, JSON(none_as_null=True), nullable=nullable)


def _head_id(*, primary_key: bool = False) -> Column[str]:
    return Column("head_id", Text, ForeignKey("heads.id", ondelete="CASCADE"), primary_key=primary_key, nullable=False)


def _object(*, named_by: bool = False) -> tuple[SchemaItem, ...]:
    return (
        Column("name", Text, primary_key=named_by, nullable=False),
        Column("key", Text, nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("sha256", Text, nullable=False),
        Column("media_type", Text, nullable=False),
    )


heads = Table(
    "heads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("progress", Double, nullable=False),
    _json("options"),
    _json("warnings"),
    _json("error", nullable=True),
    Column("idempotency_key", Text),
    Column("request_digest", Text),
    Column("sequence", BigInteger, nullable=False),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    Column("photos_expire", Double),
    Column("expires", Double, nullable=False),
    _one_of("state", HeadState),
    UniqueConstraint("owner", "idempotency_key"),
    Index("ix_heads_owner_created_id", "owner", "created", "id"),
    Index(
        "ix_heads_photos_expire",
        "photos_expire",
        sqlite_where=text("photos_expire IS NOT NULL"),
        postgresql_where=text("photos_expire IS NOT NULL"),
    ),
    Index("ix_heads_expires", "expires"),
)

photos = Table(
    "photos",
    metadata,
    _head_id(primary_key=True),
    Column("number", Integer, primary_key=True),
    *_object(),
)

products = Table(
    "products",
    metadata,
    _head_id(primary_key=True),
    *_object(named_by=True),
    Column("number", Integer, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    _head_id(),
    Column("owner", Text, nullable=False),
    Column("kind", Text, nullable=False),
    _json("payload"),
    Column("priority", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("not_before", Double, nullable=False),
    Column("worker", Text),
    Column("lease", Text),
    Column("lease_until", Double),
    Column("cancel_requested", Boolean, nullable=False),
    Column("reason", Text),
    _json("error", nullable=True),
    Column("idempotency_key", Text),
    Column("request_digest", Text),
    Column("created", Double, nullable=False),
    Column("started", Double),
    Column("finished", Double),
    _one_of("kind", JobKind),
    _one_of("state", JobState),
    UniqueConstraint("head_id", "idempotency_key"),
    Index("ix_jobs_head_id", "head_id"),
    Index("ix_jobs_state_kind", "state", "kind"),
    Index(
        "ix_jobs_queue",
        "owner",
        "priority",
        "created",
        sqlite_where=text("state = 'queued'"),
        postgresql_where=text("state = 'queued'"),
    ),
    Index(
        "ix_jobs_leases",
        "lease_until",
        sqlite_where=text("state = 'running'"),
        postgresql_where=text("state = 'running'"),
    ),
)

steps = Table(
    "steps",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("step", Text, primary_key=True),
    _json("output"),
    Column("attempt", Integer, nullable=False),
    Column("at", Double, nullable=False),
)

events = Table(
    "events",
    metadata,
    _head_id(primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    _json("data"),
    Column("at", Double, nullable=False),
    _one_of("kind", EventKind),
)

turns = Table(
    "turns",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("turn", BigInteger, nullable=False),
    Index("ix_turns_turn", "turn"),
)
"""When an owner was last served, as a running number: who has waited longest is next."""

usage = Table(
    "usage",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("heads", Integer, nullable=False),
)
"""Heads asked for by owner and day since 1970; deleting a head does not give any back."""

removals = Table(
    "removals",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("head_id", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("reserved", Boolean, nullable=False),
    Column("due", Double, nullable=False),
    Column("last", Double, nullable=False),
    Index("ix_removals_due", "due"),
    Index("ix_removals_head_id", "head_id"),
)
"""Scopes of the object store to be deleted, from ``due`` on, and again after ``last``.

A scope is here from before the first byte is uploaded until the head that takes it over is acknowledged (``reserved``),
and again from when the head's or the photos' time is over until the objects are gone. So whatever dies in between,
nothing stays behind. ``last`` is when nobody can write to the scope any more.
"""

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("sha256", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    _json("scopes"),
    Column("rate", Text),
    Column("quota", Integer),
    Column("created", Double, nullable=False),
    Column("revoked", Double),
    Column("last_used", Double),
)
