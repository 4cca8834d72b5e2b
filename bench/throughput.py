"""Heads per second through gateway and services, against the engine in process on the same cores."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path

from bench.customer import Customer, Wish, customer
from bench.engine import engines
from bench.figures import Figure, median
from bench.processes import processor_s
from bench.stage import Stage

LEAST = 0.9

_PATIENCE_S = 600.0


async def measure_throughput(stage: Stage, photos: Sequence[Path], cores: int, heads: int, rounds: int) -> Figure:
    """Make the same heads in process and through the services by turns, after a first round that does not count.

    In process there is one process for each core, which reads the photos, makes heads with their files and writes these
    to a folder; nothing passes between processes. The services get all photos at once.

    Args:
        stage: The installation.
        photos: Taken in turn.
        cores: That both have.
        heads: In each round.
        rounds: Of each; a busy moment of the machine falls on both.
    """
    wishes = [Wish(photo) for photo in itertools.islice(itertools.cycle(photos), heads)]
    in_process, services = [], []
    processor: list[tuple[float, float]] = []
    async with customer(stage.url, _PATIENCE_S) as asking:
        with engines(cores) as engine:
            for number in range(rounds + 1):
                alone, used_alone = await _spent(engine.pids, asyncio.to_thread(engine.reconstruct, wishes))
                together, used_together = await _spent(stage.pids(), _through(asking, wishes, number))
                if number:
                    in_process.append(heads / alone)
                    services.append(heads / together)
                    processor.append((used_together / heads, used_alone / heads))
    ratios = [a / b for a, b in zip(services, in_process, strict=True)]
    beside = {
        "heads_per_round": heads,
        "rounds": rounds,
        "through_services_per_s": median(services),
        "in_process_per_s": median(in_process),
        "through_services_processor_s_per_head": median([a for a, _ in processor]),
        "in_process_processor_s_per_head": median([b for _, b in processor]),
    }
    what = "heads a second, services : in process"
    return Figure(what, "", median(ratios), least=LEAST, values=ratios, beside=beside)


async def _spent(pids: Sequence[int], work: Awaitable[float]) -> tuple[float, float]:
    """What work returns, and the processor seconds that processes use for it."""
    before = processor_s(pids)
    seconds = await work
    return seconds, processor_s(pids) - before


async def _through(asking: Customer, wishes: Sequence[Wish], number: int) -> float:
    """Wall seconds from the first photo that is sent until the last head is told to be done."""

    async def one(place: int, wish: Wish) -> None:
        events = await asking.follow(await asking.ask(wish, f"throughput-{number}-{place}"))
        if events[-1].data["state"] != "done":
            raise RuntimeError(f"expected a head, found {events[-1].data}")

    start = time.perf_counter()
    await asyncio.gather(*(one(place, wish) for place, wish in enumerate(wishes)))
    return time.perf_counter() - start
