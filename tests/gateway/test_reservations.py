"""Room for photos when nobody knows whether the head is there: what was acknowledged, or may have been, is kept."""

import asyncio
from pathlib import Path

import pytest

from gateway.jobs import CreatedHead, NewHead, PhotoRecord, photo_scope
from gateway.reservations import Reservation
from maquette.errors import JobsUnavailable, QuotaExceeded, StoreUnavailable
from maquette.store import Entry, FileStore
from tests.gateway.callers import code_of
from tests.gateway.serving import Served, serving
from tests.gateway.test_heads import ask
from tests.gateway.test_uploads import due, nothing_left

pytestmark = pytest.mark.anyio


async def received(served: Served, reservation: Reservation) -> NewHead:
    """A photo in the room, and the head that it is for."""
    head_id = await reservation.head_id()
    info = await asyncio.to_thread(served.store.put, await reservation.scope(), b"photo", "image/jpeg")
    photo = PhotoRecord("me.jpg", info.key, info.size, info.sha256, info.media_type)
    return NewHead(head_id, "", {}, (photo,))


async def kept(served: Served, new: NewHead) -> bool:
    return bool(await asyncio.to_thread(served.store.entries, photo_scope(new.head_id)))


async def test_room_that_no_head_has_taken_is_cleared(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        reservation = Reservation(served.gateway, "anna")
        new = await received(served, reservation)
        await reservation.clear()
        assert not await kept(served, new)
        await nothing_left(served, [])


async def test_room_that_a_head_has_taken_is_kept(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        reservation = Reservation(served.gateway, "anna")
        new = await received(served, reservation)
        assert (await reservation.create(new)).created
        await reservation.clear()
        assert await kept(served, new)


async def test_room_of_a_head_that_was_refused_is_cleared(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        for quota in (1, 0):
            reservation = Reservation(served.gateway, "anna")
            new = await received(served, reservation)
            asked = NewHead(new.head_id, "", {}, new.photos, daily_quota=1)
            if quota:
                await reservation.create(asked)
            else:
                with pytest.raises(QuotaExceeded):
                    await reservation.create(asked)
            await reservation.clear()
            assert await kept(served, new) is bool(quota)


@pytest.mark.parametrize("committed", [True, False])
async def test_photos_of_a_head_that_may_be_there_are_kept_and_cleared_in_time_if_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    async with serving(tmp_path, jobs={"upload_s": 60}) as served, served.customer() as anna:
        create = served.jobs.create_head

        async def lost(owner: str, new: NewHead) -> CreatedHead:
            # The connection breaks in the moment of the commit.
            if committed:
                await create(owner, new)
            raise JobsUnavailable("the connection was lost")

        monkeypatch.setattr(served.jobs, "create_head", lost)
        assert code_of(await ask(anna, key="k")) == (503, "jobs_unavailable")
        (scope,) = await asyncio.to_thread(lambda: list(served.store.scopes("photos")))
        assert await due(served) == []
        monkeypatch.undo()
        # The same request again, as the caller was told to: there is one head, and its photos are there.
        answer = await ask(anna, key="k")
        assert (answer.status_code, answer.headers.get("idempotency-replayed") == "true") == (202, committed)
        assert (photo_scope(answer.json()["id"]) == scope) is committed
        assert await asyncio.to_thread(served.store.entries, photo_scope(answer.json()["id"]))
        assert len((await anna.get("/v1/heads")).json()["heads"]) == 1


async def test_whoever_is_cancelled_while_asking_keeps_the_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as served:
        reservation = Reservation(served.gateway, "anna")
        new = await received(served, reservation)
        create, begun, go = served.jobs.create_head, asyncio.Event(), asyncio.Event()

        async def slow(owner: str, new: NewHead) -> CreatedHead:
            begun.set()
            await go.wait()
            return await create(owner, new)

        monkeypatch.setattr(served.jobs, "create_head", slow)
        asking = asyncio.create_task(reservation.create(new))
        await begun.wait()
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        await reservation.clear()
        go.set()
        async with asyncio.timeout(5):
            while not (await served.jobs.list_heads("anna")).heads:
                await asyncio.sleep(0.01)
        assert await kept(served, new)


class _Away(FileStore):
    def delete_scope(self, scope: str) -> list[Entry]:
        raise StoreUnavailable("the disk is away")


async def test_what_cannot_be_cleared_now_is_left_to_the_sweep(tmp_path: Path) -> None:
    async with serving(tmp_path, store=_Away(tmp_path / "store")) as served, served.customer() as anna:
        assert code_of(await ask(anna, texture="gold")) == (422, "field_invalid")
        (scope,) = await asyncio.to_thread(lambda: list(served.store.scopes("photos")))
        assert scope in await due(served)
