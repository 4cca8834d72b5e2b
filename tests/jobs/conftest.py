"""A store of either kind, empty, for each test."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.jobs import JobSettings, JobStore, open_jobs
from gateway.jobs.schema import metadata
from tests.jobs.customers import SetClock
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="session")
def prepared_postgres_url(postgres: PostgresServer) -> str:
    """A database with the tables."""
    url = postgres.make_database("jobs")

    async def make() -> None:
        await (await open_jobs(JobSettings(database_url=url))).close()

    asyncio.run(make())
    return url


@pytest.fixture
def postgres_url(postgres: PostgresServer, prepared_postgres_url: str) -> str:
    """A database with empty tables; a new one for each test would take a second."""
    postgres.value("jobs", "; ".join(f'DELETE FROM "{table.name}"' for table in reversed(metadata.sorted_tables)))
    return prepared_postgres_url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A file that is not there yet."""
    return f"sqlite:///{tmp_path}/jobs.sqlite3"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """A database of each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def clock() -> SetClock:
    """Time that passes when it is told to."""
    return SetClock()


@pytest.fixture
async def jobs(url: str, clock: SetClock) -> AsyncIterator[JobStore]:
    """A store of each kind, at a set time."""
    async with await open_jobs(JobSettings(database_url=url), clock) as store:
        yield store
