import asyncio
import os
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from setuptools import find_packages
from sqlalchemy import Connection, create_engine
from sqlalchemy.ext.asyncio import create_async_engine

import gateway.jobs
from gateway.jobs import JobSettings, open_jobs
from gateway.jobs.schema import REVISION, metadata
from maquette.errors import JobsRefused
from tests.jobs.customers import ask_head
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio
T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each kind without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/jobs.sqlite3"
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    name = f"empty_{uuid.uuid4().hex}"
    yield postgres.make_database(name)
    postgres.drop_database(name)


async def _open(url: str, **settings: Any) -> None:
    await (await open_jobs(JobSettings(database_url=url, **settings))).close()


async def test_the_migrated_tables_are_those_of_the_code(empty_url: str) -> None:
    await _open(empty_url)
    options = {"compare_type": True}
    found = await _run(empty_url, lambda c: compare_metadata(MigrationContext.configure(c, opts=options), metadata))
    assert found == []


def test_in_sqlite_the_definitions_are_the_same_word_for_word(tmp_path: Path) -> None:
    asyncio.run(_open(f"sqlite:///{tmp_path}/migrated"))
    asyncio.run(_run(f"sqlite:///{tmp_path}/made", metadata.create_all))
    migrated, made = _definitions(tmp_path / "migrated"), _definitions(tmp_path / "made")
    del migrated["alembic_version"], migrated["sqlite_autoindex_alembic_version_1"]
    assert migrated == made
    assert len(made) > len(metadata.tables)


async def test_in_postgres_the_definitions_are_the_same_word_for_word(postgres: PostgresServer) -> None:
    migrated, made = (postgres.make_database(name) for name in ("migrated", "made"))
    await _open(migrated)
    await _run(made, metadata.create_all)
    left, right = (postgres.schema(name) for name in ("migrated", "made"))
    own = "".join(p for p in _statements(left) if "alembic_version" not in p)
    assert own == "".join(_statements(right))
    assert own.count("CREATE TABLE") == len(metadata.tables)


async def test_many_processes_may_open_a_new_database_at_once(empty_url: str) -> None:
    await asyncio.gather(*(_open(empty_url) for _ in range(6)))
    async with await open_jobs(JobSettings(database_url=empty_url)) as jobs:
        await ask_head(jobs)


async def test_what_is_there_stays(empty_url: str) -> None:
    async with await open_jobs(JobSettings(database_url=empty_url)) as jobs:
        head = await ask_head(jobs)
    async with await open_jobs(JobSettings(database_url=empty_url, migrate=False)) as jobs:
        assert await jobs.get_head("anna", head.id) == head


async def test_without_leave_to_migrate_a_new_database_is_refused(empty_url: str) -> None:
    with pytest.raises(JobsRefused, match="found none"):
        await _open(empty_url, migrate=False)


async def test_tables_of_a_newer_version_are_refused(empty_url: str) -> None:
    await _open(empty_url)
    await _run(empty_url, lambda c: c.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'").rowcount)
    for migrate in (True, False):
        with pytest.raises(JobsRefused, match="9999"):
            await _open(empty_url, migrate=migrate)


def test_the_migrations_end_where_the_code_is_and_are_one_line() -> None:
    scripts = ScriptDirectory(str(Path(gateway.jobs.__file__).parent / "migrations"))
    assert scripts.get_heads() == [REVISION]
    assert scripts.get_bases() == ["0001"]
    names = [Path(s.path).stem for s in scripts.walk_revisions()]
    assert all(name.startswith("v") for name in names)


def test_the_migrations_are_part_of_what_is_installed() -> None:
    assert "gateway.jobs.migrations.versions" in find_packages(str(ROOT), include=["gateway*"])


def test_opening_an_up_to_date_database_does_not_import_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.sqlite3"
    asyncio.run(_open(url))
    program = (
        "import asyncio, sys; from gateway.jobs import *\n"
        "async def main(): await (await open_jobs(JobSettings())).close()\n"
        "asyncio.run(main()); assert 'alembic' not in sys.modules and 'asyncpg' not in sys.modules"
    )
    environment = {**os.environ, "MAQUETTE_JOBS_DATABASE_URL": url}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)


async def _run(url: str, work: Callable[[Connection], T]) -> T:
    """Do something to a database that the store would not."""
    if url.startswith("sqlite"):
        engine = create_engine(url)
        with engine.begin() as connection:
            result = work(connection)
        engine.dispose()
        return result
    async_engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    async with async_engine.begin() as async_connection:
        result = await async_connection.run_sync(work)
    await async_engine.dispose()
    return result


def _definitions(path: Path) -> dict[str, str | None]:
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
        return {name: sql and " ".join(sql.split()) for name, sql in rows}
    finally:
        connection.close()


def _statements(schema: str) -> list[str]:
    return [s for s in schema.split(";\n") if s.strip()]
