"""The jobs: what was asked for, who is at it, and what has come of it.

    from gateway.jobs import JobSettings, open_jobs

    async with await open_jobs(JobSettings()) as jobs:
        claim = await jobs.claim("worker-1")

``JobStore`` is the Protocol; ``SqliteJobStore`` the embedded implementation and ``PostgresJobStore`` the cluster's pass
the same tests.
"""

import time

from gateway.jobs.database import Clock
from gateway.jobs.names import HEAD_SCOPES, PHOTO_SCOPES, head_scope, photo_scope, request_digest
from gateway.jobs.settings import JobSettings
from gateway.jobs.sql import SqlJobStore
from gateway.jobs.store import JobStore
from gateway.jobs.types import (
    CreatedExport,
    CreatedHead,
    Event,
    EventKind,
    Failure,
    HeadRecord,
    HeadState,
    Idempotency,
    JobKind,
    JobRecord,
    JobState,
    Json,
    NewHead,
    Page,
    PhotoRecord,
    ProductRecord,
    Reason,
    Receipt,
)
from gateway.jobs.worktypes import Beat, Claim, Counts, Lease, Removal, Step, Swept

__all__ = [
    "HEAD_SCOPES",
    "PHOTO_SCOPES",
    "Beat",
    "Claim",
    "Clock",
    "Counts",
    "CreatedExport",
    "CreatedHead",
    "Event",
    "EventKind",
    "Failure",
    "HeadRecord",
    "HeadState",
    "Idempotency",
    "JobKind",
    "JobRecord",
    "JobSettings",
    "JobState",
    "JobStore",
    "Json",
    "Lease",
    "NewHead",
    "Page",
    "PhotoRecord",
    "ProductRecord",
    "Reason",
    "Receipt",
    "Removal",
    "Step",
    "Swept",
    "head_scope",
    "open_jobs",
    "photo_scope",
    "request_digest",
]


async def open_jobs(settings: JobSettings, clock: Clock = time.time) -> JobStore:
    """The store that the settings name, its tables up to date.

    Args:
        settings: Where it is and how it treats jobs.
        clock: Seconds since 1970, UTC.

    Raises:
        JobsUnavailable: The database has not answered for ``settings.outage_s``.
        JobsRefused: Wrong credentials, or tables of another version.
        DependencyMissing: The driver is not installed.
    """
    path = settings.sqlite_path
    store: SqlJobStore
    if path is not None:
        from gateway.jobs.sqlite import SqliteJobStore

        store = SqliteJobStore(path, settings, clock)
    else:
        from gateway.jobs.postgres import PostgresJobStore

        store = PostgresJobStore(settings, clock)
    try:
        await store.prepare()
    except BaseException:
        await store.close()
        raise
    return store
