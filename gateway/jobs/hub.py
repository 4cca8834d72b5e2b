"""Who waits for what, in this process."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Hub:
    """Waiters by what they wait for: a thousand of them cost a thousand small objects, and nothing while they wait.

    A waiter is woken when there *may* be something new; it looks for itself and waits again. For use in one event loop.
    """

    def __init__(self) -> None:
        self._heads: dict[str, dict[asyncio.Event, int]] = {}
        self._jobs: set[asyncio.Event] = set()

    @property
    def heads(self) -> dict[str, int]:
        """Heads that somebody waits for, and number of the event after which."""
        return {head_id: min(watchers.values()) for head_id, watchers in self._heads.items()}

    @property
    def waiting(self) -> bool:
        """Whether anybody waits for anything."""
        return bool(self._heads or self._jobs)

    @contextmanager
    def watch_head(self, head_id: str, after: int) -> Iterator[asyncio.Event]:
        """An event that is set whenever a head may have events after number ``after``, or be gone."""
        event = asyncio.Event()
        self._heads.setdefault(head_id, {})[event] = after
        try:
            yield event
        finally:
            watchers = self._heads[head_id]
            del watchers[event]
            if not watchers:
                del self._heads[head_id]

    @contextmanager
    def watch_jobs(self) -> Iterator[asyncio.Event]:
        """An event that is set whenever there may be a job to claim."""
        event = asyncio.Event()
        self._jobs.add(event)
        try:
            yield event
        finally:
            self._jobs.discard(event)

    def wake_heads(self, head_ids: Iterable[str]) -> None:
        """Something happened to these heads."""
        for head_id in head_ids:
            for event in self._heads.get(head_id, ()):
                event.set()

    def wake_jobs(self) -> None:
        """There is a job to claim."""
        for event in self._jobs:
            event.set()

    def wake_all(self) -> None:
        """Anything may have happened."""
        self.wake_heads(self._heads)
        self.wake_jobs()
