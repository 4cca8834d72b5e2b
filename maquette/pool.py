"""Rooms for services: each thread has one of its own, since a network keeps its inputs and outputs.

While a pool is open, the linear algebra library is held to one thread, as ``maquette.pipeline`` holds it: the sums of
several threads come out in another order, and so do the last bits of the results.
"""

import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

from maquette.rpc.work import Workers

R = TypeVar("R")
P = ParamSpec("P")
T = TypeVar("T")


class _OneThread:
    """Holds linear algebra to one thread for the whole process, until as many let go as took hold."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._limits: list[Any] = []

    def hold(self) -> None:
        """Take hold."""
        with self._lock:
            self._holders += 1
            self._limit()

    def renew(self) -> None:
        """Hold what has been loaded meanwhile, too."""
        with self._lock:
            if self._holders:
                self._limit()

    def let_go(self) -> None:
        """Let go."""
        with self._lock:
            self._holders -= 1
            if not self._holders:
                while self._limits:
                    self._limits.pop().restore_original_limits()

    def _limit(self) -> None:
        self._limits.append(threadpool_limits(limits=1, user_api="blas"))


_one_thread = _OneThread()


class RoomPool(Generic[R]):
    """Threads with a room each.

    A room is made when its thread first needs it; one that cannot be made is tried again by the next call. Work that
    nobody waits for any more ends at its next ``checkpoint()`` (``maquette.rpc.work``).
    """

    def __init__(self, make: Callable[[], R], threads: int, name: str) -> None:
        """Make the pool; nothing starts yet.

        Args:
            make: Makes a room; called on the thread that it is for. If rooms have a method ``close``, it is called at
                the end, from the thread that closes the pool.
            threads: Most pieces of work that run at once.
            name: What the threads are called.
        """
        self._make = make
        self._workers = Workers(threads, name)
        self._own = threading.local()
        self._lock = threading.Lock()
        self._rooms: list[R] = []
        self._closed = False
        _one_thread.hold()

    async def run(self, work: Callable[Concatenate[R, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function with a room, on the room's thread, in the context of the caller.

        Raises:
            SetupError: The room cannot be made.
        """
        return await self._workers.run(lambda: work(self._room(), *args, **kwargs))

    def stream(
        self, work: Callable[Concatenate[R, P], Iterator[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncGenerator[T, None]:
        """Run an iterator with a room and give what it yields, in its order, as ``Workers.stream`` does.

        Raises:
            SetupError: The room cannot be made.
        """
        return self._workers.stream(lambda: work(self._room(), *args, **kwargs))

    async def warm_up(self) -> None:
        """Make the first room, so that the first call need not wait for what all rooms share.

        Raises:
            SetupError: It cannot be made.
        """
        await self.run(lambda _room: None)

    def close(self) -> None:
        """Let running work end, start nothing more, and close the rooms; again does nothing. Blocks."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._workers.close()
        for room in self._rooms:
            close = getattr(room, "close", None)
            if close is not None:
                close()
        _one_thread.let_go()

    def _room(self) -> R:
        if not hasattr(self._own, "room"):
            room = self._make()
            with self._lock:
                self._rooms.append(room)
            self._own.room = room
            # Making it has loaded libraries.
            _one_thread.renew()
        own: R = self._own.room
        return own
