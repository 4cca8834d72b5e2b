"""Threads with a room each."""

import asyncio
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from maquette import pool as pool_module
from maquette.errors import SetupError
from maquette.pool import RoomPool
from maquette.rpc.work import checkpoint


class Room:
    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.closed = False

    def close(self) -> None:
        self.closed = True


def blas_threads() -> set[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_each_thread_has_a_room_of_its_own_and_keeps_it() -> None:
    made: list[Room] = []

    def make() -> Room:
        made.append(Room())
        return made[-1]

    pool = RoomPool(make, 3, "test")
    together = threading.Barrier(3)

    def work(room: Room, number: int) -> Room:
        together.wait(10)
        assert room.thread == threading.get_ident()
        return room

    async def all_at_once() -> list[Room]:
        return await asyncio.gather(*(pool.run(work, n) for n in range(9)))

    used = asyncio.run(all_at_once())
    assert len(made) == 3
    assert {id(r) for r in used} == {id(r) for r in made}
    assert not any(r.closed for r in made)
    pool.close()
    assert all(r.closed for r in made)
    pool.close()


def test_a_room_that_cannot_be_made_is_tried_again() -> None:
    attempts = []

    def make() -> str:
        attempts.append(1)
        if len(attempts) < 3:
            raise SetupError("expected networks, found none")
        return "room"

    pool = RoomPool(make, 1, "test")
    try:
        for _ in range(2):
            with pytest.raises(SetupError):
                asyncio.run(pool.warm_up())
        assert asyncio.run(pool.run(str.upper)) == "ROOM"
    finally:
        pool.close()


def test_linear_algebra_has_one_thread_while_any_pool_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    # Pools of other tests may be open still.
    monkeypatch.setattr(pool_module, "_one_thread", type(pool_module._one_thread)())
    with threadpool_limits(limits=2, user_api="blas"):
        assert blas_threads() == {2}
        first, second = RoomPool(lambda: 0, 1, "a"), RoomPool(lambda: 0, 1, "b")
        assert blas_threads() == {1}
        first.close()
        assert asyncio.run(second.run(lambda _room: blas_threads())) == {1}
        second.close()
        assert blas_threads() == {2}


def test_what_is_streamed_comes_in_order_with_the_room() -> None:
    pool = RoomPool(lambda: "room", 1, "test")

    def count(room: str, to: int) -> Iterator[str]:
        for n in range(to):
            yield f"{room} {n}"

    async def collect() -> list[str]:
        return [item async for item in pool.stream(count, 5)]

    try:
        assert asyncio.run(collect()) == [f"room {n}" for n in range(5)]
    finally:
        pool.close()


def test_work_that_nobody_waits_for_ends_at_its_checkpoint() -> None:
    pool = RoomPool(lambda: 0, 1, "test")
    begun, ended = threading.Event(), threading.Event()

    def work(_room: int) -> None:
        begun.set()
        try:
            while True:
                checkpoint()
        finally:
            ended.set()

    async def give_up() -> None:
        task = asyncio.create_task(pool.run(work))
        await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(ended.wait, 10)

    try:
        asyncio.run(give_up())
    finally:
        pool.close()
