"""Kills the parts of an installation, one after the other and without end, by a plan that a seed makes."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.stage import Part, Stage

VICTIMS = ("gateway", "worker", "detector", "reconstructor", "meshproc", "triton", "minio", "postgres")

_LONGEST_DOWN_S = 2.0


@dataclass(frozen=True)
class Blow:
    """One kill.

    Attributes:
        victim: Name of the part.
        pause_s: How long to wait before it.
        down_s: How long the part is left dead before it is started again.
    """

    victim: str
    pause_s: float
    down_s: float


def blows(seed: int, victims: Sequence[str], pause_s: float) -> Iterator[Blow]:
    """Kills without end: in each round every victim once, in an order of its own.

    Args:
        seed: Decides everything.
        victims: Names of parts.
        pause_s: Mean time between two kills.
    """
    rng = random.Random(seed)
    while True:
        for victim in rng.sample(list(victims), len(victims)):
            yield Blow(victim, rng.uniform(0.0, 2.0 * pause_s), rng.uniform(0.0, _LONGEST_DOWN_S))


class Trouble:
    """Deals blows until it is told to end; a part that is not back yet when its turn comes is waited for.

    Attributes:
        kills: How often each part was killed.
        away_s: For how long each was not ready, in all, seconds.
    """

    def __init__(self, stage: Stage, seed: int, pause_s: float) -> None:
        self._stage = stage
        self._blows = blows(seed, [name for name in VICTIMS if name in stage.parts], pause_s)
        self._returning: dict[str, asyncio.Task[None]] = {}
        self.kills: Counter[str] = Counter(dict.fromkeys((n for n in VICTIMS if n in stage.parts), 0))
        self.away_s: defaultdict[str, float] = defaultdict(float)

    async def run(self, least: int, done: asyncio.Event) -> None:
        """Go on until told to end, and at least for some kills; then everything is up again.

        Args:
            least: Kills of each part.
            done: Set when the work is done.

        Raises:
            RuntimeError: A part does not come back.
        """
        wanted = least * len(self.kills)
        for blow in self._blows:
            if done.is_set() and self.kills.total() >= wanted:
                break
            await asyncio.sleep(blow.pause_s)
            await self._back(blow.victim)
            self._deal(blow)
        for name in list(self._returning):
            await self._back(name)

    def _deal(self, blow: Blow) -> None:
        part = self._stage.parts[blow.victim]
        part.kill()
        self.kills[blow.victim] += 1
        self._returning[blow.victim] = asyncio.create_task(self._return(part, blow.down_s))

    async def _back(self, name: str) -> None:
        returning = self._returning.pop(name, None)
        if returning is not None:
            await returning

    async def _return(self, part: Part, down_s: float) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await asyncio.sleep(down_s)
        await part.start()
        self.away_s[part.name] += loop.time() - start
