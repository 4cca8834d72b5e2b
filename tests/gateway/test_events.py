"""Streams of events: all of them once, from anywhere on, until there are no more; and a thousand that wait."""

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from gateway.jobs import Failure, HeadState
from maquette.errors import NoFaceFound
from maquette.types import Caution
from tests.gateway.callers import Connection, Told, code_of, connection, kinds, read_events
from tests.gateway.serving import Served, serving
from tests.gateway.test_heads import GLB, ask_head

pytestmark = pytest.mark.anyio


class Follower:
    """Reads a stream as it comes."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.text = ""
        self._pieces = answer.aiter_text()

    @property
    def events(self) -> list[Told]:
        # What has not ended with an empty line is not an event yet.
        return read_events(self.text[: self.text.rfind("\n\n") + 2] if "\n\n" in self.text else "")

    async def until(self, count: int) -> list[Told]:
        """Read until there are so many events."""
        async with asyncio.timeout(10):
            while len(self.events) < count:
                self.text += await anext(self._pieces)
        return self.events

    async def end(self) -> list[Told]:
        """Read until the stream ends."""
        async with asyncio.timeout(10):
            async for piece in self._pieces:
                self.text += piece
        return self.events


@asynccontextmanager
async def follow(client: httpx.AsyncClient, head_id: str, **headers: str) -> AsyncIterator[Follower]:
    async with client.stream("GET", f"/v1/heads/{head_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        yield Follower(answer)


async def test_a_stream_tells_all_that_happens_as_it_happens_and_ends_with_the_head(
    served: Served, anna: httpx.AsyncClient
) -> None:
    head_id = await ask_head(anna)
    async with follow(anna, head_id) as stream:
        assert kinds(await stream.until(1)) == ["state"]
        claim = await served.take(head_id)
        await served.jobs.advance(claim.lease, state=HeadState.DETECTING, progress=0.1)
        await stream.until(3)
        await served.jobs.advance(claim.lease, warnings=[Caution("dark", "It is dark.")])
        await stream.until(4)
        # The preview is told of before the head is done, and can be fetched then.
        await served.put_products(claim, {"preview.glb": (GLB, b"glTF small")})
        product = (await stream.until(6))[-1]
        assert product.kind == "product"
        assert (await anna.get(product.data["url"])).content == b"glTF small"
        await served.jobs.finish(claim.lease)
        told = await stream.end()
    assert [e.number for e in told] == list(range(1, 9))
    assert [(e.kind, e.data.get("state") or e.data.get("progress") or e.data.get("code")) for e in told] == [
        ("state", "queued"),
        ("state", "detecting"),
        ("progress", 0.1),
        ("warning", "dark"),
        ("state", "meshing"),
        ("product", None),
        ("progress", 1.0),
        ("state", "done"),
    ]
    assert all(e.data["at"].endswith("Z") for e in told)
    assert stream.answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.answer.headers["cache-control"] == "no-store"
    assert served.gateway.streams.taken == 0


async def test_a_stream_goes_on_after_the_last_event_that_its_caller_has(
    served: Served, anna: httpx.AsyncClient
) -> None:
    head_id = await ask_head(anna)
    await served.finish(head_id, {"head.glb": (GLB, b"glTF")})
    async with follow(anna, head_id) as stream:
        whole = await stream.end()
    for last in range(len(whole)):
        async with follow(anna, head_id, **{"last-event-id": str(last)}) as stream:
            assert await stream.end() == whole[last:]
        answer = await anna.get(f"/v1/heads/{head_id}/events", params={"after": last})
        assert read_events(answer.text) == whole[last:]
    # The header, which browsers send when they come again, counts before what the address said at first.
    answer = await anna.get(f"/v1/heads/{head_id}/events?after=0", headers={"last-event-id": "3"})
    assert read_events(answer.text) == whole[3:]


@pytest.mark.parametrize("more", [0, 1, 10**15])
async def test_whoever_has_been_told_everything_is_told_not_to_come_again(
    served: Served, anna: httpx.AsyncClient, more: int
) -> None:
    head_id = await ask_head(anna)
    await served.finish(head_id, {})
    last = len(read_events((await anna.get(f"/v1/heads/{head_id}/events")).text)) + more
    # 204 is what makes a browser's EventSource stop.
    answer = await anna.get(f"/v1/heads/{head_id}/events", headers={"last-event-id": str(last)})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("last", ["-1", "x", "1.5", str(2**63), "9" * 400])
async def test_a_number_that_is_none_is_named(anna: httpx.AsyncClient, last: str) -> None:
    head_id = await ask_head(anna)
    answer = await anna.get(f"/v1/heads/{head_id}/events", headers={"last-event-id": last})
    assert code_of(answer) == (422, "field_invalid")


async def test_a_stream_of_a_head_that_fails_ends_with_the_reason(served: Served, anna: httpx.AsyncClient) -> None:
    head_id = await ask_head(anna)
    async with follow(anna, head_id) as stream:
        await stream.until(1)
        claim = await served.take(head_id)
        await served.jobs.fail(claim.lease, Failure.of(NoFaceFound("no face in me.jpg")), retry=False)
        last = (await stream.end())[-1]
    assert (last.data["state"], last.data["error"]["code"]) == ("failed", "no_face_found")


async def test_a_stream_of_a_head_that_is_cancelled_ends(anna: httpx.AsyncClient) -> None:
    head_id = await ask_head(anna)
    async with follow(anna, head_id) as stream:
        await stream.until(1)
        await anna.post(f"/v1/heads/{head_id}/cancel")
        assert (await stream.end())[-1].data["state"] == "cancelled"


async def test_a_stream_stays_for_exports_that_are_under_way(served: Served, anna: httpx.AsyncClient) -> None:
    head_id = await ask_head(anna)
    await served.finish(head_id, {})
    job = (await anna.post(f"/v1/heads/{head_id}/exports", json={"formats": ["stl"]})).json()["id"]
    async with follow(anna, head_id) as stream:
        assert (await stream.until(4))[-1].data["state"] == "queued"
        await served.finish(head_id, {"print.stl": ("model/stl", b"solid")})
        told = await stream.end()
    assert kinds(told) == ["state", "progress", "state", "export", "product", "export"]
    assert (told[-1].data["job"], told[-1].data["state"]) == (job, "done")


async def test_a_stream_of_a_head_that_is_deleted_says_so_and_ends(anna: httpx.AsyncClient) -> None:
    head_id = await ask_head(anna)
    async with follow(anna, head_id) as stream:
        await stream.until(1)
        await anna.delete(f"/v1/heads/{head_id}")
        last = (await stream.end())[-1]
    assert (last.kind, last.number) == ("problem", None)
    assert (last.data["code"], last.data["status"]) == ("head_not_found", 404)


async def test_a_stream_with_more_events_than_are_read_at_once_has_all(served: Served, anna: httpx.AsyncClient) -> None:
    head_id = await ask_head(anna)
    claim = await served.take(head_id)
    for i in range(98):
        await served.jobs.advance(claim.lease, progress=(i + 1) / 100)
    # With the first, this makes 101: the last of a hundred read at once is not the last.
    await served.jobs.finish(claim.lease)
    async with follow(anna, head_id) as stream:
        told = await stream.end()
    assert [e.number for e in told] == list(range(1, 102))


async def test_a_stream_that_waits_says_that_it_is_alive(anna: httpx.AsyncClient) -> None:
    head_id = await ask_head(anna)
    async with follow(anna, head_id) as stream, asyncio.timeout(5):
        while stream.text.count(": alive\n\n") < 3:
            stream.text += await anext(stream._pieces)
        assert kinds(stream.events) == ["state"]
        assert stream.text.startswith("retry: 2000\n\n")


async def test_a_caller_who_hangs_up_gives_the_place_back(served: Served, anna: httpx.AsyncClient) -> None:
    head_id = await ask_head(anna)
    async with follow(anna, head_id) as stream:
        await stream.until(1)
        assert served.gateway.streams.taken == 1
    async with asyncio.timeout(5):
        while served.gateway.streams.taken:
            await asyncio.sleep(0.01)


async def test_streams_beyond_the_places_are_refused_for_a_moment(tmp_path: Path) -> None:
    async with serving(tmp_path, max_streams=2, max_streams_per_owner=1) as served, AsyncExitStack() as stack:
        anna, bert, carl = [await stack.enter_async_context(served.customer()) for _ in range(3)]
        heads = {client: await ask_head(client) for client in (anna, bert, carl)}
        first = await stack.enter_async_context(follow(anna, heads[anna]))
        await first.until(1)
        assert code_of(await anna.get(f"/v1/heads/{heads[anna]}/events")) == (429, "quota_exceeded")
        second = await stack.enter_async_context(follow(bert, heads[bert]))
        await second.until(1)
        answer = await carl.get(f"/v1/heads/{heads[carl]}/events")
        assert (code_of(answer), answer.headers["retry-after"]) == ((429, "overloaded"), "2")


async def test_a_stream_does_not_last_for_ever(tmp_path: Path) -> None:
    async with serving(tmp_path, stream_s=0.5) as served, served.customer() as anna:
        head_id = await ask_head(anna)
        start = time.monotonic()
        async with follow(anna, head_id) as stream:
            assert kinds(await stream.end()) == ["state"]
        assert 0.4 < time.monotonic() - start < 5
        async with follow(anna, head_id, **{"last-event-id": "1"}) as stream:
            assert await stream.end() == []


async def test_streams_end_when_the_gateway_drains(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, served.customer() as anna:
        head_id = await ask_head(anna)
        async with follow(anna, head_id) as stream:
            await stream.until(1)
            served.gateway.drain()
            assert kinds(await stream.end()) == ["state"]
        ready = await anna.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "draining")
        # Everything else is still answered.
        assert (await anna.get(f"/v1/heads/{head_id}")).status_code == 200


async def _lines(caller: Connection, count: int) -> bytes:
    """Read until there are so many empty lines."""
    text = b""
    while text.count(b"\n\n") < count:
        text += await caller.reader.read(65_536)
    return text


@pytest.mark.slow
async def test_a_thousand_streams_wait_at_little_cost_and_all_hear(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2500:
        pytest.skip(f"a thousand connections need 2,500 open files, at most {hard} are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2500), hard))
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(serving(tmp_path, heartbeat_s=60, rate=""))
        secret = await served.key()
        async with served.client(secret) as anna:
            head_id = await ask_head(anna)
        callers = [await stack.enter_async_context(connection(served)) for _ in range(1000)]
        path = f"/v1/heads/{head_id}/events"
        for caller in callers:
            await caller.begin("GET", path, {"authorization": f"Bearer {secret}"})
        async with asyncio.timeout(60):
            await asyncio.gather(*(_lines(caller, 2) for caller in callers))
        assert served.gateway.streams.taken == 1000
        before, start = time.process_time(), time.monotonic()
        await asyncio.sleep(2)
        assert (time.process_time() - before) / (time.monotonic() - start) < 0.3
        async with served.client(secret) as anna:
            await anna.post(f"/v1/heads/{head_id}/cancel")
        async with asyncio.timeout(60):
            told = await asyncio.gather(*(_lines(caller, 1) for caller in callers))
        assert all(b'"cancelled"' in text for text in told)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
