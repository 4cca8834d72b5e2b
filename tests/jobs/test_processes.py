"""Many workers, of one process and of several, and what happens when they die."""

import asyncio
import collections
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gateway.jobs import Claim, Failure, HeadState, JobSettings, JobStore, Step, open_jobs
from maquette.errors import JobConflict, LeaseLost
from tests.jobs.customers import SetClock, ask_head, product, take

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def worker(url: str, name: str, what: str, lease_s: float = 30.0) -> Iterator["subprocess.Popen[str]"]:
    """A process that works; killed in the end."""
    command = [sys.executable, "-m", "tests.jobs.worker", url, name, what, str(lease_s)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_eight_workers_claim_200_jobs_and_none_twice(url: str, jobs: JobStore, clock: SetClock) -> None:
    async with await open_jobs(JobSettings(database_url=url), clock) as other:
        asked = {(await ask_head(jobs, f"customer-{i % 7}")).id for i in range(200)}
        claimed: list[str] = []

        async def work(store: JobStore, name: str) -> None:
            while (claim := await store.claim(name)) is not None:
                claimed.append(claim.head.id)

        await asyncio.gather(*(work((jobs, other)[i % 2], f"worker-{i}") for i in range(8)))
        assert len(claimed) == 200
        assert set(claimed) == asked
        assert await jobs.claim("late") is None


async def test_two_processes_share_one_database(url: str) -> None:
    async with await open_jobs(JobSettings(database_url=url)) as jobs:
        asked = [(await ask_head(jobs)).id for _ in range(40)]
        with worker(url, "one", "drain") as one, worker(url, "two", "drain") as two:
            more = [(await ask_head(jobs)).id for _ in range(10)]
            outputs = await asyncio.gather(*(asyncio.to_thread(p.communicate, timeout=120) for p in (one, two)))
            assert one.returncode == two.returncode == 0
        done = [head for output, _ in outputs for head in output.split()]
        waiting = {c.head.id async for c in _claims(jobs)}
        assert sorted(done + sorted(waiting)) == sorted(asked + more)
        for head_id in done:
            head = await jobs.get_head("anna", head_id)
            assert (head.state, head.products) == (HeadState.DONE, (product("head.glb"),))
            assert [e.sequence for e in await jobs.events("anna", head_id)] == list(range(1, head.sequence + 1))


async def test_the_job_of_a_killed_process_is_taken_over(url: str) -> None:
    async with await open_jobs(JobSettings(database_url=url, lease_s=1.0)) as jobs:
        head = await ask_head(jobs)
        with worker(url, "doomed", "hold", 1.0) as doomed:
            assert doomed.stdout is not None
            assert (await asyncio.to_thread(doomed.stdout.readline)).strip() == head.id
            doomed.send_signal(signal.SIGKILL)
        assert await jobs.wait_job(timeout=30)
        claim = await take(jobs, "heir")
        assert (claim.head.id, claim.job.losses) == (head.id, 1)


async def test_processes_killed_while_they_write_leave_whole_records(url: str) -> None:
    draw = random.Random(11)
    async with await open_jobs(JobSettings(database_url=url, lease_s=0.5, losses=1000)) as jobs:
        head = await ask_head(jobs)
        for _ in range(2):
            with worker(url, "doomed", "burn", 0.5) as doomed:
                assert doomed.stdout is not None
                assert (await asyncio.to_thread(doomed.stdout.readline)).strip() == head.id
                await asyncio.sleep(draw.uniform(0.05, 0.3))
                doomed.send_signal(signal.SIGKILL)
            assert await jobs.wait_job(timeout=30)
        claim = await take(jobs, "heir")
        assert claim.job.attempts == 3
        # What was recorded together is there together, and in the order in which it was recorded.
        steps = sorted(claim.steps, key=lambda name: int(name.removeprefix("step-")))
        assert steps
        assert [p.name for p in claim.head.products] == [name.replace("step", "file") for name in steps]
        assert [e.sequence for e in await jobs.events("anna", head.id, limit=10_000)] == list(
            range(1, claim.head.sequence + 1)
        )


async def test_whatever_workers_and_customers_do_every_head_ends_once(url: str) -> None:
    """Eight workers that fail, fall silent and give up at random; customers that cancel and delete meanwhile."""
    draw = random.Random(7)
    clock = SetClock()
    settings = JobSettings(database_url=url, losses=1000, attempts=1000, retry_first_s=0.01, retry_longest_s=0.01)
    async with await open_jobs(settings, clock) as jobs:
        heads = [(await ask_head(jobs, f"customer-{i % 5}")) for i in range(60)]
        cancelled, deleted = {h.id for h in heads[::7]}, {h.id for h in heads[3::11]}
        finished: collections.Counter[str] = collections.Counter()

        async def work(name: str) -> None:
            while True:
                claim = await jobs.claim(name)
                clock.pass_(0.1)
                if claim is None:
                    if all(state.final for state in (await jobs.counts()).heads):
                        return
                    continue
                try:
                    if (await jobs.heartbeat(claim.lease)).cancel:
                        await jobs.stopped(claim.lease)
                        continue
                    await jobs.advance(claim.lease, state=HeadState.DETECTING, step=Step("a", {"by": name}))
                    fate = draw.random()
                    if fate < 0.2:
                        await jobs.fail(claim.lease, Failure("service_unavailable", "x"), retry=True)
                    elif fate < 0.3:
                        clock.pass_(31)
                    elif fate < 0.4:
                        await jobs.release(claim.lease)
                    else:
                        await jobs.advance(claim.lease, products=[product("head.glb"), product("print.stl", 1)])
                        await jobs.finish(claim.lease)
                        finished[claim.head.id] += 1
                except LeaseLost:
                    continue

        async def disturb() -> None:
            for head in heads:
                if head.id in deleted:
                    await jobs.delete_head(head.owner, head.id)
                elif head.id in cancelled:
                    with suppress(JobConflict):  # it has ended before
                        await jobs.cancel_head(head.owner, head.id)
                await asyncio.sleep(0.005)

        await asyncio.gather(disturb(), *(work(f"worker-{i}") for i in range(8)))
        assert max(finished.values()) == 1
        for head in heads:
            if head.id in deleted:
                continue
            after = await jobs.get_head(head.owner, head.id)
            assert after.state in (HeadState.DONE, HeadState.CANCELLED)
            assert after.state is HeadState.DONE or head.id in cancelled
            assert (after.state is HeadState.DONE) == (finished[head.id] == 1)
            events = await jobs.events(head.owner, head.id, limit=10_000)
            assert [e.sequence for e in events] == list(range(1, after.sequence + 1))
            assert sum(e.data.get("state") == "done" for e in events) == finished[head.id]
            assert sum(e.data.get("name") == "head.glb" for e in events) <= 1


async def test_calls_that_are_cancelled_leave_the_store_whole(url: str, clock: SetClock) -> None:
    draw = random.Random(3)
    async with await open_jobs(JobSettings(database_url=url, connections=2), clock) as jobs:
        for i in range(60):
            call = asyncio.create_task(ask_head(jobs) if i % 2 else jobs.sweep())
            await asyncio.sleep(draw.uniform(0, 0.01))
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        head = await asyncio.wait_for(ask_head(jobs, "bert"), 10)
        listed = (await jobs.list_heads("anna", limit=200)).heads
        assert all(h.photos and h.sequence == 1 for h in listed)
        claims = [c.head.id async for c in _claims(jobs)]
        assert sorted(claims) == sorted([head.id, *(h.id for h in listed)])


async def _claims(jobs: JobStore) -> AsyncIterator[Claim]:
    while (claim := await jobs.claim("last")) is not None:
        yield claim
