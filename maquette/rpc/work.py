"""Work on threads, off the event loop, that ends when nobody waits for it any more.

A call that is cancelled, or whose deadline passes, never starts what is still queued. What runs already cannot be
stopped from outside, as no thread of Python can: it stops at its next ``checkpoint()``. Rooms call that between their
stages; a stage that is a single call into a numerical library runs to its end.
"""

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, ParamSpec, TypeVar

from maquette.errors import Cancelled

P = ParamSpec("P")
T = TypeVar("T")


class CancelToken:
    """Whether anybody still waits for a piece of work; may be used from any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits any more."""
        return self._event.is_set()

    def cancel(self) -> None:
        """Say that nobody waits any more."""
        self._event.set()

    def check(self) -> None:
        """Do nothing while somebody waits.

        Raises:
            Cancelled: Nobody does.
        """
        if self._event.is_set():
            raise Cancelled("the work was given up: its caller does not wait for it any more")


_token: contextvars.ContextVar[CancelToken | None] = contextvars.ContextVar("maquette_cancel_token", default=None)


def checkpoint() -> None:
    """Stop here if nobody waits for the work of this thread; outside of ``Workers`` this does nothing.

    Raises:
        Cancelled: Nobody waits.
    """
    token = _token.get()
    if token is not None:
        token.check()


class Workers:
    """A pool of threads for work that would hold up the event loop.

    How much waits for a thread is bounded where calls come in (``maquette.rpc.admission``), not here.
    """

    def __init__(self, threads: int, name: str = "worker") -> None:
        """Make the pool; threads start as they are needed.

        Args:
            threads: Most pieces of work that run at once.
            name: What the threads are called.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function on a thread, in the context of the caller (trace, deadline).

        When the caller is cancelled, work that has not started never does, and work that has stops at its next
        ``checkpoint()``.
        """
        token = CancelToken()
        context = contextvars.copy_context()
        context.run(_token.set, token)

        def begin() -> T:
            token.check()
            return work(*args, **kwargs)

        try:
            return await asyncio.wrap_future(self._pool.submit(context.run, begin))
        finally:
            # After the work is done this says nothing to anybody.
            token.cancel()

    async def stream(
        self, work: Callable[P, Iterator[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncGenerator[T, None]:
        """Run an iterator on one thread and give what it yields, in its order.

        The thread is at most two items ahead of whoever takes them. When the caller is cancelled or closes this
        generator, the iterator is closed at its next item or ``checkpoint()``.
        """
        token = CancelToken()
        context = contextvars.copy_context()
        context.run(_token.set, token)
        belt: _Belt[T] = _Belt(asyncio.get_running_loop(), token)
        done = self._pool.submit(context.run, belt.fill, lambda: work(*args, **kwargs))
        done.add_done_callback(belt.end)
        try:
            async for item in belt:
                yield item
        finally:
            done.cancel()
            belt.stop()

    def close(self) -> None:
        """Let running work end (it does at its next checkpoint, if nobody waits) and start nothing more; blocks."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class _Belt(Generic[T]):
    """Carries items from a thread to the event loop, a few at a time."""

    _AHEAD = 2

    def __init__(self, loop: asyncio.AbstractEventLoop, token: CancelToken) -> None:
        self._loop, self._token = loop, token
        self._room = threading.Semaphore(self._AHEAD)
        self._items: asyncio.Queue[T | Future[None]] = asyncio.Queue()

    def fill(self, make: Callable[[], Iterator[T]]) -> None:
        """On the thread: take items and hand them over, until there are no more or nobody wants them."""
        self._token.check()
        items = make()
        try:
            for item in items:
                self._room.acquire()
                self._token.check()
                self._loop.call_soon_threadsafe(self._items.put_nowait, item)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    def end(self, done: Future[None]) -> None:
        """When the thread has ended, however it did."""
        if not self._token.cancelled:
            self._loop.call_soon_threadsafe(self._items.put_nowait, done)

    def stop(self) -> None:
        """Nobody wants more items: wake the thread if it waits for room."""
        self._token.cancel()
        self._room.release()

    async def __aiter__(self) -> AsyncGenerator[T, None]:
        while True:
            item = await self._items.get()
            if isinstance(item, Future):
                item.result()
                return
            self._room.release()
            yield item
