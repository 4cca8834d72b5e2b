"""Bringing a database's tables up to those of this version."""

from sqlalchemy import Connection, inspect, select, text

from gateway.jobs.schema import REVISION
from maquette.errors import JobsRefused

_LOCK = 0x6D617175657474
"""PostgreSQL's advisory locks have numbers; this one says ``maquett``."""


def upgrade(connection: Connection, *, migrate: bool = True) -> None:
    """Make the tables, or bring them up to date, within the connection's transaction.

    Several processes may do it at once: the first does it, the others find it done.

    Args:
        connection: In a transaction that writes.
        migrate: Whether to; if not, only to look.

    Raises:
        JobsRefused: The tables are not there and may not be made, or are of another version.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(text(f"pg_advisory_xact_lock({_LOCK})")))
    found = revision(connection)
    if found == REVISION:
        return
    if not migrate:
        raise JobsRefused(f"expected tables of version {REVISION} in the jobs' database, found {found or 'none'}")
    # Alembic takes as long to import as all the rest; most starts need only the line above.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "gateway.jobs:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, REVISION)
    except CommandError as error:
        raise JobsRefused(
            f"expected tables of version {REVISION} or older in the jobs' database, found {found}: {error}"
        ) from error


def revision(connection: Connection) -> str | None:
    """Version of the tables; None where there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)
