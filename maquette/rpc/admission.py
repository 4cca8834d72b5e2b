"""Who may work now, who waits, and who is sent away: a limit on calls with a bounded queue before it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from maquette.errors import Overloaded

_LONGEST_ADVICE = 60.0
_WEIGHT = 0.1
"""Of the newest call in the mean duration."""


class Admission:
    """Lets a number of calls work at once, in the order they came, and a number wait.

    Attributes:
        running: Calls that work.
        waiting: Calls that wait.
    """

    def __init__(self, limit: int, queue: int) -> None:
        """Let nobody in yet.

        Args:
            limit: Calls that work at once.
            queue: Calls that may wait.
        """
        self._limit, self._queue = limit, queue
        self._turn = asyncio.Semaphore(limit)
        self._mean_seconds = 1.0
        self.running = 0
        self.waiting = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it; whoever is cancelled while waiting leaves the queue.

        Raises:
            Overloaded: The queue is full.
        """
        await self._wait()
        self.running += 1
        start = time.monotonic()
        try:
            yield
        finally:
            self._mean_seconds += _WEIGHT * (time.monotonic() - start - self._mean_seconds)
            self.running -= 1
            self._turn.release()

    async def _wait(self) -> None:
        if self._turn.locked() and self.waiting >= self._queue:
            seconds = self._advice()
            raise Overloaded(
                f"expected at most {self._limit} calls at once and {self._queue} waiting, found one more: "
                f"try again in {seconds:g} s",
                retry_after_seconds=seconds,
            )
        self.waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self.waiting -= 1

    def _advice(self) -> float:
        """Whole seconds in which the queue has probably moved on by its length."""
        seconds = self._mean_seconds * (self.waiting + 1) / self._limit
        return float(min(max(round(seconds), 1), _LONGEST_ADVICE))
