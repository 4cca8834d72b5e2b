"""What a job costs beside the work of the rooms: HTTP, upload, queue, database, calls, store, events."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.customer import Wish, customer
from bench.figures import Figure, median
from bench.processes import processor_s
from bench.spans import SERVER, Collector, Span, covered
from bench.stage import ROOMS, Stage

LIMIT_MS = 25.0

_PATIENCE_S = 300.0
_SPANS_S = 30.0
_SERVICES = frozenset(f"maquette-{room}" for room in ROOMS)
_ASKED = ("maquette-gateway", "POST /v1/heads")
_WORKED = ("maquette-worker", "job")
_LAST_CALL = ("maquette-meshproc", "maquette.v1.MeshprocService/Export")


async def measure_overhead(stage: Stage, collector: Collector, photos: Sequence[Path], jobs: int) -> Figure:
    """Make heads one after the other, the first of which does not count.

    A job's time goes from before its photo is sent until its customer has been told that it is done. Of this, every
    moment in which a service answers a call (its span, from its first line to its last) is the rooms'; the rest is
    overhead. So what the services do to fetch and to store payloads counts as theirs, as does the time that they wait
    for their files to be taken; the ratio of heads per second has both.

    Beside it stand two parts of it, the waits for news from another process, which with SQLite come by looking
    (``MAQUETTE_JOBS_POLL_S``) and with PostgreSQL by notification: from the end of the request until a worker begins,
    and from the worker's end until the customer is told.

    Args:
        stage: An installation that sends its spans to ``collector``.
        collector: Gets them.
        photos: Taken in turn.
        jobs: How many heads count.
    """
    jobs_done: list[_Job] = []
    own = stage.pids("gateway", "worker")
    async with customer(stage.url, _PATIENCE_S) as asking:
        for number in range(jobs + 1):
            used = processor_s(own)
            start = time.time()
            await asking.follow(await asking.ask(Wish(photos[number % len(photos)]), f"overhead-{number}"))
            end = time.time()
            used = processor_s(own) - used
            if number:
                for service, name in (_ASKED, _WORKED, _LAST_CALL):
                    await collector.wait_for(service, name, start, _SPANS_S)
                jobs_done.append(_job(collector.spans, start, end, used))
    overheads = [job.overhead_s * 1e3 for job in jobs_done]
    beside = {
        "jobs": jobs,
        "least_ms": min(overheads),
        "most_ms": max(overheads),
        "until_a_worker_begins_ms_median": median([job.begin_s * 1e3 for job in jobs_done]),
        "until_the_customer_is_told_ms_median": median([job.told_s * 1e3 for job in jobs_done]),
        "processor_ms_median": median([job.processor_s * 1e3 for job in jobs_done]),
        "whole_job_ms_median": median([job.whole_s * 1e3 for job in jobs_done]),
    }
    what = "overhead a job, median"
    return Figure(what, "ms", median(overheads), most=LIMIT_MS, values=overheads, beside=beside)


@dataclass(frozen=True)
class _Job:
    """Seconds of one job: all of it, its overhead, the waits within that, processor time of gateway and worker."""

    whole_s: float
    overhead_s: float
    begin_s: float
    told_s: float
    processor_s: float


def _job(spans: Sequence[Span], start: float, end: float, used: float) -> _Job:
    """Figures of the job that was made between two times."""
    own = [s for s in spans if s.start >= start]
    calls = [(s.start, s.end) for s in own if s.service in _SERVICES and s.kind == SERVER]
    asked = max(s.end for s in own if (s.service, s.name) == _ASKED)
    worked = [s for s in own if (s.service, s.name) == _WORKED]
    whole = end - start
    began, ended = min(s.start for s in worked), max(s.end for s in worked)
    return _Job(whole, whole - covered(calls, start, end), began - asked, end - ended, used)
