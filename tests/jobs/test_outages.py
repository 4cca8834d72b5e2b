import asyncio
import contextlib
import random
import resource
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.jobs import HeadState, JobSettings, JobStore, Step, open_jobs
from maquette.errors import JobsRefused, JobsUnavailable
from tests.jobs.customers import SetClock, ask, ask_head, product, take
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def stoppable(postgres: PostgresServer, postgres_url: str) -> Iterator[str]:
    """A database whose server may be stopped; it runs again afterwards."""
    yield postgres_url
    postgres.start()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
async def test_nothing_is_lost_when_the_server_goes_away_in_the_middle(
    stoppable: str, postgres: PostgresServer, how: signal.Signals
) -> None:
    draw = random.Random(how)
    settings = JobSettings(database_url=stoppable, outage_s=60, lease_s=120, connections=6)
    async with await open_jobs(settings) as jobs:
        acknowledged: list[str] = []
        finished: list[str] = []
        asking = True

        async def customer(name: str) -> None:
            for i in range(12):
                made = await ask(jobs, name, key=f"{name}-{i}")
                acknowledged.append(made.head.id)
                await asyncio.sleep(draw.uniform(0, 0.02))

        async def work(name: str) -> None:
            while asking or (await jobs.counts()).ready:
                if await jobs.wait_job(timeout=0.2) and (claim := await jobs.claim(name)) is not None:
                    await jobs.heartbeat(claim.lease)
                    await jobs.advance(claim.lease, state=HeadState.MESHING, step=Step("a", {"by": name}))
                    await jobs.advance(claim.lease, progress=0.7, products=[product("head.glb")])
                    await jobs.finish(claim.lease)
                    finished.append(claim.head.id)

        async def restart() -> None:
            for _ in range(2):
                await asyncio.sleep(draw.uniform(0.1, 0.4))
                await asyncio.to_thread(postgres.stop, how)
                await asyncio.sleep(draw.uniform(0, 0.3))
                await asyncio.to_thread(postgres.start)

        workers = [asyncio.create_task(work(f"worker-{i}")) for i in range(4)]
        await asyncio.gather(restart(), *(customer(f"customer-{i}") for i in range(4)))
        asking = False
        await asyncio.wait_for(asyncio.gather(*workers), 60)
        assert len(acknowledged) == len(set(acknowledged)) == 48
        assert sorted(finished) == sorted(acknowledged)
        for owner in range(4):
            for head in (await jobs.list_heads(f"customer-{owner}")).heads:
                assert (head.state, head.products) == (HeadState.DONE, (product("head.glb"),))
                told = [e.data for e in await jobs.events(head.owner, head.id)]
                assert told == [
                    {"state": "queued"},
                    {"state": "meshing"},
                    {"progress": 0.7},
                    {"name": "head.glb", "media_type": "model/gltf-binary", "size": 100, "sha256": "0" * 64},
                    {"progress": 1.0},
                    {"state": "done"},
                ]


async def test_those_who_wait_hear_of_what_happens_after_a_restart(
    stoppable: str, postgres: PostgresServer, clock: SetClock
) -> None:
    async with await open_jobs(JobSettings(database_url=stoppable), clock) as jobs:
        head = await ask_head(jobs)
        lease = (await take(jobs)).lease
        waiting = asyncio.create_task(jobs.wait_events("anna", head.id, 1, timeout=60))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(postgres.stop)
        await asyncio.to_thread(postgres.start)
        async with await open_jobs(JobSettings(database_url=stoppable), clock) as other:
            await other.advance(lease, progress=0.5)
        (event,) = await asyncio.wait_for(waiting, 20)
        assert event.data == {"progress": 0.5}


async def test_a_server_that_stays_away_is_named_and_may_come_back(
    stoppable: str, postgres: PostgresServer, clock: SetClock
) -> None:
    async with await open_jobs(JobSettings(database_url=stoppable, outage_s=0.5), clock) as jobs:
        head = await ask_head(jobs)
        postgres.stop()
        start = time.perf_counter()
        with pytest.raises(JobsUnavailable):
            await jobs.check()
        assert time.perf_counter() - start < 5
        for call in (jobs.get_head("anna", head.id), jobs.claim("worker"), jobs.keys.create("a")):
            with pytest.raises(JobsUnavailable):
                await call
        with pytest.raises(JobsUnavailable):
            await open_jobs(JobSettings(database_url=stoppable, outage_s=0.2), clock)
        postgres.start()
        await jobs.check()
        assert (await take(jobs)).head.id == head.id


async def test_wrong_names_are_refused_without_trying_again(postgres: PostgresServer, postgres_url: str) -> None:
    for url in (
        f"{postgres.url}/nowhere",
        postgres_url.replace("maquette@", "nobody:secret@"),
        "postgresql://maquette:sec:ret/@127.0.0.1:secret/x",
        f"{postgres_url}?sslmode=secret",
    ):
        start = time.perf_counter()
        with pytest.raises(JobsRefused) as refused:
            await open_jobs(JobSettings(database_url=url))
        assert time.perf_counter() - start < 5
        assert "secret" not in str(refused.value)


async def test_a_file_that_another_process_locks_is_waited_for(sqlite_url: str, tmp_path: Path) -> None:
    async with await open_jobs(JobSettings(database_url=sqlite_url)) as jobs:
        with _locked(tmp_path / "jobs.sqlite3") as other:
            asking = asyncio.create_task(ask_head(jobs))
            await asyncio.sleep(0.5)
            assert not asking.done()
            other.rollback()
            assert (await asyncio.wait_for(asking, 10)).state is HeadState.QUEUED


async def test_a_file_that_stays_locked_is_named(sqlite_url: str, tmp_path: Path) -> None:
    async with await open_jobs(JobSettings(database_url=sqlite_url, outage_s=0.2)) as jobs:
        head = await ask_head(jobs)
        with _locked(tmp_path / "jobs.sqlite3"):
            with pytest.raises(JobsUnavailable, match="locked"):
                await ask_head(jobs)
            with pytest.raises(JobsUnavailable):
                await jobs.check()
            assert await jobs.get_head("anna", head.id) == head
        await jobs.check()


async def test_a_full_disk_is_named_and_nothing_half_is_left(sqlite_url: str, tmp_path: Path) -> None:
    async with await open_jobs(JobSettings(database_url=sqlite_url, outage_s=0)) as jobs:
        head = await ask_head(jobs)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        # To a process a file that may not grow looks much like a disk that is full.
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "jobs.sqlite3-wal").stat().st_size, limits[1]))
        try:
            with pytest.raises(JobsUnavailable):
                await _ask_until_refused(jobs)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        for found in (await jobs.list_heads("anna", limit=200)).heads:
            assert (len(found.photos), found.sequence) == (1, 1)
        assert (await take(jobs)).head.id == head.id


async def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but long enough to look into: " * 50)
    for path in (tmp_path / "text", tmp_path / "text" / "below", tmp_path):
        with pytest.raises(JobsRefused):
            await open_jobs(JobSettings(database_url=f"sqlite:///{path}"))


async def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    async with await open_jobs(JobSettings(database_url=f"sqlite:///{tmp_path}/new/jobs.sqlite3")) as jobs:
        await ask_head(jobs)
        modes = {p.name: oct(p.stat().st_mode & 0o777) for p in (tmp_path / "new").iterdir()}
    assert set(modes.values()) == {"0o600"}
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


async def _ask_until_refused(jobs: JobStore) -> None:
    for _ in range(100):
        await ask_head(jobs)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[sqlite3.Connection]:
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield other
    finally:
        other.close()
