"""Work that nobody waits for any more, and work that has to wait."""

import asyncio
import threading
import time

import pytest

from maquette.errors import DeadlineExceeded, Overloaded
from maquette.rpc.admission import Admission
from maquette.rpc.deadline import remaining, within
from maquette.rpc.work import Workers, checkpoint
from maquette.v1 import meshproc_pb2 as mp
from tests.rpc.scripted import Gate, Scripted, mesh, serving

pytestmark = pytest.mark.anyio

ONE = {"max_concurrent": 1, "max_queue": 2}


async def seen(event: threading.Event) -> bool:
    return await asyncio.to_thread(event.wait, 10)


async def until(true: object) -> None:
    assert callable(true)
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came true")


async def test_a_deadline_ends_the_call_by_name_and_the_work_at_its_next_checkpoint() -> None:
    gate = Gate()
    async with serving(Scripted(inspecting=gate), client={"timeout_seconds": 0.3}) as pair:
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await pair.client.inspect(mesh())
        assert time.monotonic() - start < 3
        assert await seen(gate.gave_up)
        assert gate.finished == 0


async def test_the_servers_own_limit_holds_for_callers_without_a_deadline() -> None:
    gate = Gate()
    async with serving(Scripted(inspecting=gate), server={"max_seconds": 0.3}) as pair:
        with pytest.raises(DeadlineExceeded, match=r"within 0\.3 s"):
            await pair.client.inspect(mesh())
        assert await seen(gate.gave_up)


async def test_a_deadline_that_is_over_never_reaches_the_service() -> None:
    async with serving() as pair:
        with within(0.01):
            await asyncio.sleep(0.02)
            with pytest.raises(DeadlineExceeded):
                await pair.client.inspect(mesh())
            with pytest.raises(DeadlineExceeded):
                async for _ in pair.client.export(mp.ExportRequest()):
                    pass
        assert pair.service.started == []


async def test_a_deadline_travels_with_the_calls_that_a_call_makes() -> None:
    left: list[float | None] = []

    class Forwarding(Scripted):
        async def inspect(self, request: mp.InspectRequest) -> mp.InspectResponse:
            return await back.client.inspect(request)

    async with (
        serving(Scripted(inspecting=lambda mesh: left.append(remaining()))) as back,
        serving(Forwarding()) as front,
    ):
        with within(3):
            await front.client.inspect(mesh())
        await front.client.inspect(mesh())
    assert left[0] is not None
    assert 1 < left[0] <= 3
    assert left[1] is not None
    assert 3 < left[1] <= 21


async def test_a_caller_that_is_cancelled_cancels_the_work() -> None:
    gate = Gate()
    async with serving(Scripted(inspecting=gate)) as pair:
        call = asyncio.ensure_future(pair.client.inspect(mesh()))
        assert await seen(gate.entered)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await seen(gate.gave_up)


async def test_a_stream_that_is_left_early_ends_its_work() -> None:
    closed = threading.Event()
    made = []

    def exporting():
        try:
            for n in range(1000):
                made.append(n)
                yield f"{n}.obj"
        finally:
            closed.set()

    async with serving(Scripted(exporting=exporting)) as pair:
        stream = pair.client.export(mp.ExportRequest())
        assert (await anext(stream)).product.name == "0.obj"
        await stream.aclose()
        assert await seen(closed)
        assert len(made) < 1000


async def test_what_waits_in_the_queue_of_a_cancelled_call_never_starts() -> None:
    gate = Gate()
    async with serving(Scripted(inspecting=gate), server=ONE) as pair:
        first = asyncio.ensure_future(pair.client.inspect(mesh("first")))
        assert await seen(gate.entered)
        second = asyncio.ensure_future(pair.client.inspect(mesh("second")))
        await until(lambda: pair.server.waiting == 1)
        second.cancel()
        await until(lambda: pair.server.waiting == 0)
        gate.open()
        await first
        await pair.client.inspect(mesh("third"))
        assert pair.service.started == [b"first", b"third"]


async def test_a_deadline_holds_while_waiting_too() -> None:
    gate = Gate()
    async with serving(Scripted(inspecting=gate), server=ONE) as pair:
        first = asyncio.ensure_future(pair.client.inspect(mesh("first")))
        assert await seen(gate.entered)
        with within(0.2), pytest.raises(DeadlineExceeded):
            await pair.client.inspect(mesh("second"))
        await until(lambda: pair.server.waiting == 0)
        gate.open()
        await first
        assert pair.service.started == [b"first"]


async def test_beyond_the_queue_callers_are_refused_and_told_when_to_return() -> None:
    gate = Gate()
    async with serving(Scripted(inspecting=gate), server=ONE) as pair:
        calls = [asyncio.ensure_future(pair.client.inspect(mesh("0")))]
        assert await seen(gate.entered)
        for n in (1, 2):
            calls.append(asyncio.ensure_future(pair.client.inspect(mesh(str(n)))))
            await until(lambda n=n: pair.server.waiting == n)
        with pytest.raises(Overloaded) as caught:
            await pair.client.inspect(mesh("one too many"))
        assert caught.value.detail["retry_after_seconds"] >= 1
        # Health is answered in the meantime.
        await pair.client.check()
        gate.open()
        await asyncio.gather(*calls)
        assert pair.service.started == [b"0", b"1", b"2"]


async def test_an_admission_lets_in_as_many_as_it_says_in_their_order() -> None:
    admission = Admission(2, 10)
    most, order = 0, []

    async def work(n: int) -> None:
        nonlocal most
        async with admission.slot():
            order.append(n)
            most = max(most, admission.running)
            await asyncio.sleep(0.001)

    await asyncio.gather(*(work(n) for n in range(12)))
    assert (most, order, admission.running, admission.waiting) == (2, list(range(12)), 0, 0)


async def test_work_runs_beside_the_event_loop_and_sees_the_callers_deadline() -> None:
    workers = Workers(1)
    with within(100):
        thread, left = await workers.run(lambda: (threading.current_thread(), remaining()))
    assert thread is not threading.main_thread()
    assert left is not None
    assert 90 < left <= 100
    assert await workers.run(remaining) is None
    workers.close()


async def test_queued_work_of_a_cancelled_caller_is_dropped_and_running_work_told() -> None:
    workers, gate, late = Workers(1), Gate(), threading.Event()
    running = asyncio.ensure_future(workers.run(gate))
    assert await seen(gate.entered)
    queued = asyncio.ensure_future(workers.run(late.set))
    await asyncio.sleep(0)
    queued.cancel()
    running.cancel()
    assert await seen(gate.gave_up)
    # Whatever is queued goes first, on the only thread.
    assert await workers.run(lambda: 5) == 5
    assert not late.is_set()
    workers.close()


async def test_a_stream_is_made_only_a_little_ahead_of_who_takes_it() -> None:
    workers, made = Workers(1), []

    def items():
        for n in range(20):
            made.append(n)
            yield n

    taken = []
    async for item in workers.stream(items):
        await asyncio.sleep(0.005)
        assert len(made) <= item + 5
        taken.append(item)
    assert taken == list(range(20))
    workers.close()


async def test_a_checkpoint_outside_of_workers_does_nothing() -> None:
    checkpoint()


async def test_the_nearest_deadline_counts() -> None:
    assert remaining() is None
    assert remaining(5) == 5
    with within(10), within(100):
        left = remaining()
        assert left is not None
        assert left <= 10
        assert remaining(1) == 1
        with within(None):
            assert remaining(50) <= 10
    with within(0), pytest.raises(DeadlineExceeded):
        remaining()
