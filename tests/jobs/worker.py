"""A worker process of the tests: ``python -m tests.jobs.worker URL NAME WHAT LEASE_S``.

``drain`` does all jobs and prints their heads; ``hold`` claims one, prints it and stays; ``burn`` records steps of one
job until it is killed.
"""

import asyncio
import sys

from gateway.jobs import JobSettings, JobStore, Step, open_jobs
from tests.jobs.customers import product


async def main(url: str, name: str, what: str, lease_s: float) -> None:
    async with await open_jobs(JobSettings(database_url=url, lease_s=lease_s, losses=1000)) as jobs:
        if what == "drain":
            await drain(jobs, name)
            return
        claim = await jobs.claim(name)
        assert claim is not None
        print(claim.head.id, flush=True)
        for i in range(1_000_000):
            if what == "hold":
                await asyncio.sleep(1)
            else:
                await jobs.heartbeat(claim.lease)
                await jobs.advance(claim.lease, step=Step(f"step-{i}", {"n": i}), products=[product(f"file-{i}", i)])


async def drain(jobs: JobStore, name: str) -> list[str]:
    """Do jobs until there are none; returns and prints their heads."""
    done = []
    while (claim := await jobs.claim(name)) is not None:
        await jobs.advance(claim.lease, progress=0.5, step=Step("work", {"by": name}), products=[product("head.glb")])
        await jobs.finish(claim.lease)
        done.append(claim.head.id)
        print(claim.head.id, flush=True)
    return done


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
