"""What Alembic runs: migrations on the connection, and in the transaction, that it was handed."""

from alembic import context

from gateway.jobs.schema import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("migrations run when the jobs' database is opened (gateway.jobs.migrate), not from Alembic's CLI")
# SQLite can change little of a table: batches make a new one and copy.
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
