"""Heads, jobs, events and keys: the first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _heads()
    _files()
    _jobs()
    _events()
    _owners()


def _heads() -> None:
    op.create_table(
        "heads",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("error", sa.JSON()),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("request_digest", sa.Text()),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.Column("photos_expire", sa.Double()),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'detecting', 'reconstructing', 'meshing', 'done', 'failed', 'cancelled', 'expired')",
            name=op.f("ck_heads_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_heads")),
        sa.UniqueConstraint("owner", "idempotency_key", name=op.f("uq_heads_owner_idempotency_key")),
    )
    op.create_index("ix_heads_owner_created_id", "heads", ["owner", "created", "id"])
    op.create_index("ix_heads_photos_expire", "heads", ["photos_expire"], **_where("photos_expire IS NOT NULL"))
    op.create_index("ix_heads_expires", "heads", ["expires"])


def _files() -> None:
    def stored() -> tuple[sa.Column[str], sa.Column[str], sa.Column[int], sa.Column[str], sa.Column[str]]:
        return (
            sa.Column("name", sa.Text(), nullable=False),
            sa.Column("key", sa.Text(), nullable=False),
            sa.Column("size", sa.BigInteger(), nullable=False),
            sa.Column("sha256", sa.Text(), nullable=False),
            sa.Column("media_type", sa.Text(), nullable=False),
        )

    op.create_table(
        "photos",
        sa.Column("head_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        *stored(),
        sa.PrimaryKeyConstraint("head_id", "number", name=op.f("pk_photos")),
        sa.ForeignKeyConstraint(["head_id"], ["heads.id"], name=op.f("fk_photos_head_id"), ondelete="CASCADE"),
    )
    op.create_table(
        "products",
        sa.Column("head_id", sa.Text(), nullable=False),
        *stored(),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("head_id", "name", name=op.f("pk_products")),
        sa.ForeignKeyConstraint(["head_id"], ["heads.id"], name=op.f("fk_products_head_id"), ondelete="CASCADE"),
    )
    op.create_table(
        "removals",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("head_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("reserved", sa.Boolean(), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.Column("last", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_removals")),
    )
    op.create_index("ix_removals_due", "removals", ["due"])
    op.create_index("ix_removals_head_id", "removals", ["head_id"])


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("head_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("losses", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.Double(), nullable=False),
        sa.Column("worker", sa.Text()),
        sa.Column("lease", sa.Text()),
        sa.Column("lease_until", sa.Double()),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("error", sa.JSON()),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("request_digest", sa.Text()),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("started", sa.Double()),
        sa.Column("finished", sa.Double()),
        sa.CheckConstraint("kind IN ('reconstruct', 'export')", name=op.f("ck_jobs_kind")),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name=op.f("ck_jobs_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("head_id", "idempotency_key", name=op.f("uq_jobs_head_id_idempotency_key")),
        sa.ForeignKeyConstraint(["head_id"], ["heads.id"], name=op.f("fk_jobs_head_id"), ondelete="CASCADE"),
    )
    op.create_index("ix_jobs_head_id", "jobs", ["head_id"])
    op.create_index("ix_jobs_state_kind", "jobs", ["state", "kind"])
    op.create_index("ix_jobs_queue", "jobs", ["owner", "priority", "created"], **_where("state = 'queued'"))
    op.create_index("ix_jobs_leases", "jobs", ["lease_until"], **_where("state = 'running'"))
    op.create_table(
        "steps",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("output", sa.JSON(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "step", name=op.f("pk_steps")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_steps_job_id"), ondelete="CASCADE"),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("head_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('state', 'progress', 'product', 'warning', 'export')", name=op.f("ck_events_kind")
        ),
        sa.PrimaryKeyConstraint("head_id", "sequence", name=op.f("pk_events")),
        sa.ForeignKeyConstraint(["head_id"], ["heads.id"], name=op.f("fk_events_head_id"), ondelete="CASCADE"),
    )


def _owners() -> None:
    op.create_table(
        "turns",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_turns")),
    )
    op.create_index("ix_turns_turn", "turns", ["turn"])
    op.create_table(
        "usage",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("heads", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "day", name=op.f("pk_usage")),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("rate", sa.Text()),
        sa.Column("quota", sa.Integer()),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("revoked", sa.Double()),
        sa.Column("last_used", sa.Double()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
