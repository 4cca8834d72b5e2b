import asyncio
import time

import pytest

from gateway.jobs import EventKind, JobSettings, JobStore, open_jobs
from gateway.jobs.hub import Hub
from gateway.jobs.sql import SqlJobStore
from maquette.errors import HeadNotFound
from maquette.types import Caution
from tests.jobs.customers import SetClock, ask_head, take
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio


async def test_events_are_numbered_without_gaps_and_can_be_resumed_anywhere(jobs: JobStore, clock: SetClock) -> None:
    head = await ask_head(jobs)
    lease = (await take(jobs)).lease
    for i in range(10):
        clock.pass_(1)
        await jobs.advance(lease, progress=i / 20 + 0.01, warnings=[Caution("n", str(i))])
    await jobs.finish(lease)
    every = await jobs.events("anna", head.id)
    assert [e.sequence for e in every] == list(range(1, 24))
    assert [e.at for e in every] == sorted(e.at for e in every)
    for after in (0, 1, 7, 22, 23):
        assert await jobs.events("anna", head.id, after) == every[after:]
    assert await jobs.events("anna", head.id, 3, limit=4) == every[3:7]
    assert await jobs.events("anna", head.id, 10**15) == ()
    assert await jobs.events("anna", head.id, -5) == every
    assert (await jobs.get_head("anna", head.id)).sequence == 23


async def test_events_that_are_there_are_given_at_once(jobs: JobStore) -> None:
    head = await ask_head(jobs)
    (event,) = await jobs.wait_events("anna", head.id, timeout=0)
    assert (event.kind, event.data) == (EventKind.STATE, {"state": "queued"})


async def test_waiting_ends_with_the_next_event(jobs: JobStore) -> None:
    head, other = await ask_head(jobs), await ask_head(jobs)
    leases = {c.head.id: c.lease for c in (await take(jobs), await take(jobs))}
    waiting = asyncio.create_task(jobs.wait_events("anna", head.id, 1, timeout=30))
    await asyncio.sleep(0.2)
    await jobs.advance(leases[other.id], progress=0.5)
    await asyncio.sleep(0.1)
    assert not waiting.done()
    start = time.perf_counter()
    await jobs.advance(leases[head.id], progress=0.5)
    (event,) = await waiting
    assert (event.sequence, event.data) == (2, {"progress": 0.5})
    assert time.perf_counter() - start < 5


async def test_waiting_for_nothing_ends_after_its_time(jobs: JobStore) -> None:
    head = await ask_head(jobs)
    start = time.perf_counter()
    assert await jobs.wait_events("anna", head.id, 1, timeout=0.3) == ()
    assert time.perf_counter() - start >= 0.3


async def test_one_who_has_seen_more_than_there_is_gets_the_next_event(jobs: JobStore) -> None:
    head = await ask_head(jobs)
    lease = (await take(jobs)).lease
    waiting = asyncio.create_task(jobs.wait_events("anna", head.id, 99, timeout=30))
    await asyncio.sleep(0.2)
    await jobs.advance(lease, progress=0.5)
    (event,) = await asyncio.wait_for(waiting, 5)
    assert event.sequence == 2


async def test_one_who_waits_for_a_head_learns_that_it_was_deleted(jobs: JobStore) -> None:
    head = await ask_head(jobs)
    waiting = asyncio.create_task(jobs.wait_events("anna", head.id, 1, timeout=30))
    await asyncio.sleep(0.2)
    await jobs.delete_head("anna", head.id)
    with pytest.raises(HeadNotFound):
        await asyncio.wait_for(waiting, 5)


async def test_events_of_another_process_are_heard(url: str, jobs: JobStore, clock: SetClock) -> None:
    head = await ask_head(jobs)
    async with await open_jobs(JobSettings(database_url=url), clock) as other:
        lease = (await take(other)).lease
        waiting = asyncio.create_task(jobs.wait_events("anna", head.id, 1, timeout=30))
        await asyncio.sleep(0.5)
        await other.advance(lease, progress=0.5)
        (event,) = await asyncio.wait_for(waiting, 5)
        assert event.data == {"progress": 0.5}
        waiting = asyncio.create_task(jobs.wait_events("anna", head.id, 2, timeout=30))
        await asyncio.sleep(0.5)
        await other.delete_head("anna", head.id)
        with pytest.raises(HeadNotFound):
            await asyncio.wait_for(waiting, 5)


async def test_a_waiting_worker_hears_of_a_job(url: str, jobs: JobStore, clock: SetClock) -> None:
    assert not await jobs.wait_job(timeout=0.2)
    async with await open_jobs(JobSettings(database_url=url), clock) as other:
        for asked_by in (jobs, other):
            waiting = asyncio.create_task(jobs.wait_job(timeout=30))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            await ask_head(asked_by)
            assert await asyncio.wait_for(waiting, 5)
            assert await jobs.wait_job(timeout=0)
            await take(jobs)


async def test_a_waiting_worker_wakes_when_a_pause_or_a_lease_ends(url: str) -> None:
    settings = JobSettings(database_url=url, lease_s=0.5)
    async with await open_jobs(settings) as jobs:
        await ask_head(jobs)
        start = time.time()
        claim = await take(jobs)
        assert await jobs.wait_job(timeout=30)
        assert time.time() >= start + 0.5
        again = await take(jobs)
        assert (again.job.id, again.job.losses) == (claim.job.id, 1)


async def test_a_thousand_wait_without_a_connection_each(url: str, clock: SetClock) -> None:
    settings = JobSettings(database_url=url, connections=4)
    async with await open_jobs(settings, clock) as jobs:
        heads = [await ask_head(jobs) for _ in range(20)]
        leases = {}
        for _ in heads:
            claim = await take(jobs)
            leases[claim.head.id] = claim.lease
        waiting = [asyncio.create_task(jobs.wait_events("anna", heads[i % 20].id, 1, timeout=60)) for i in range(1000)]
        await _settle(jobs, heads[0].id)
        await jobs.advance(leases[heads[3].id], progress=0.5)
        heard = await asyncio.wait_for(asyncio.gather(*waiting[3::20]), 20)
        assert {events[0].data["progress"] for events in heard} == {0.5}
        assert sum(w.done() for w in waiting) == 50
        for w in waiting:
            w.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_thousand_idle_waiters_cost_next_to_nothing(
    url: str, postgres: PostgresServer, clock: SetClock
) -> None:
    settings = JobSettings(database_url=url, connections=4)
    async with await open_jobs(settings, clock) as jobs:
        head = await ask_head(jobs)
        waiting = [asyncio.create_task(jobs.wait_events("anna", head.id, 1, timeout=60)) for _ in range(1000)]
        # All look once before they wait, which may take a moment.
        busy = [await _busy(1)]
        while busy[-1] > 0.1 and len(busy) < 20:
            busy.append(await _busy(1))
        if url.startswith("postgresql"):
            counted = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'maquette'"
            assert int(postgres.value("jobs", counted)) <= 5
        assert busy[-1] < 0.1
        for w in waiting:
            w.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_waiters_who_give_up_leave_nothing_behind(jobs: JobStore) -> None:
    head = await ask_head(jobs)
    waiting = [asyncio.create_task(jobs.wait_events("anna", head.id, 1, timeout=60)) for _ in range(50)]
    waiting += [asyncio.create_task(jobs.wait_events("anna", head.id, 1, timeout=0.1)) for _ in range(50)]
    await asyncio.sleep(0.3)
    for w in waiting[:50]:
        w.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not _hub(jobs).waiting


async def _busy(seconds: float) -> float:
    """How much of a core this process needs while nothing happens."""
    cpu, start = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    return (time.process_time() - cpu) / (time.perf_counter() - start)


def _hub(jobs: JobStore) -> Hub:
    assert isinstance(jobs, SqlJobStore)
    return jobs._database.hub


async def _settle(jobs: JobStore, head_id: str) -> None:
    """Let all who wait look once; readers are served in turn."""
    await asyncio.sleep(0)
    await jobs.events("anna", head_id)
    await asyncio.sleep(0.5)
