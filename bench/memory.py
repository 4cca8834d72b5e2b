"""Memory of all processes over many jobs."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from bench.customer import QUICK, Wish, customer
from bench.figures import Figure
from bench.processes import resident_mb
from bench.stage import Stage

MOST_MB = 50.0

_PATIENCE_S = 600.0


async def measure_memory(stage: Stage, photos: Sequence[Path], jobs: int, lanes: int) -> Figure:
    """Make heads with the quickest options and look at the memory after each.

    Growth is the least of the last quarter against the least of the second one, summed over all processes with those
    that they start: the first quarter is for what is loaded and kept once.

    Args:
        stage: The installation.
        photos: Taken in turn.
        jobs: How many heads.
        lanes: Heads that are asked for at once.
    """
    seen: dict[str, list[float]] = {name: [] for name in stage.parts}
    numbers = iter(range(jobs))
    start = time.perf_counter()
    async with customer(stage.url, _PATIENCE_S) as asking:

        async def lane() -> None:
            for number in numbers:
                wish = Wish(photos[number % len(photos)], QUICK)
                events = await asking.follow(await asking.ask(wish, f"memory-{number}"))
                if events[-1].data["state"] != "done":
                    raise RuntimeError(f"expected a head, found {events[-1].data}")
                for name, part in stage.parts.items():
                    seen[name].append(resident_mb(part.pids()))

        await asyncio.gather(*(lane() for _ in range(lanes)))
    took = time.perf_counter() - start
    grown = {name: growth(values) for name, values in seen.items()}
    together = [sum(values) for values in zip(*seen.values(), strict=True)]
    beside = {
        "jobs": jobs,
        "options": "formats=ply, detail=false, hair=none",
        "jobs_per_s": jobs / took,
        "at_the_end_mb": together[-1],
        **{f"{name}_growth_mb": value for name, value in grown.items()},
    }
    values = together[:: max(1, jobs // 20)]
    return Figure(f"memory grown over {jobs} jobs", "MB", growth(together), most=MOST_MB, values=values, beside=beside)


def growth(values: Sequence[float]) -> float:
    """Least of the last quarter against the least of the second; NaN for less than four values."""
    quarter = len(values) // 4
    if not quarter:
        return float("nan")
    return min(values[-quarter:]) - min(values[quarter : 2 * quarter])
