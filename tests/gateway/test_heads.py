"""Asking for heads, looking at them, cancelling and deleting them."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.jobs import Failure, HeadState, head_scope, photo_scope
from maquette.errors import NoFaceFound, StoreUnavailable
from maquette.store import Entry, FileStore
from maquette.types import Caution
from tests.gateway.callers import code_of
from tests.gateway.serving import Served, serving
from tests.gateway.test_uploads import due, nothing_left, photo, scopes

pytestmark = pytest.mark.anyio

GLB = "model/gltf-binary"


async def ask(client: httpx.AsyncClient, key: str | None = None, **fields: Any) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return await client.post("/v1/heads", files={"photos": ("me.jpg", photo())}, data=fields, headers=headers)


async def ask_head(client: httpx.AsyncClient, **fields: Any) -> str:
    answer = await ask(client, **fields)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


DEFAULTS = {
    "engine": "open",
    "texture": "albedo",
    "texture_size": 1024,
    "detail": True,
    "hair": "auto",
    "expression": "photo",
    "formats": ["obj", "glb", "ply", "stl"],
    "size_mm": None,
    "face": 1,
}


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({}, {}),
        ({"texture": "photo", "texture_size": "2048"}, {"texture": "photo", "texture_size": 2048}),
        ({"detail": "false", "size_mm": "120.5"}, {"detail": False, "size_mm": 120.5}),
        ({"formats": "glb,stl"}, {"formats": ["glb", "stl"]}),
        ({"formats": ["stl", "glb"]}, {"formats": ["stl", "glb"]}),
        ({"face": "largest", "hair": "none"}, {"face": "largest", "hair": "none"}),
        ({"face": "2", "hair": "afro01"}, {"face": 2, "hair": "afro01"}),
        (
            {"options": '{"formats": ["ply"], "detail": false, "face": 3}'},
            {"formats": ["ply"], "detail": False, "face": 3},
        ),
        ({"options": '{"size_mm": 80}', "expression": "neutral"}, {"size_mm": 80.0, "expression": "neutral"}),
    ],
)
async def test_options_come_as_fields_or_as_json(
    anna: httpx.AsyncClient, fields: dict[str, Any], options: dict[str, Any]
) -> None:
    head = (await ask(anna, name="Grandma", **fields)).json()
    assert head["options"] == DEFAULTS | options
    assert (head["name"], head["state"], head["progress"], head["error"]) == ("Grandma", "queued", 0, None)


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"texture": "gold"}, "field_invalid", "texture"),
        ({"texture_size": "many"}, "field_invalid", "texture_size"),
        ({"texture_size": "512"}, "option_invalid", None),
        ({"engine": "deca"}, "option_invalid", None),
        ({"hair": "wig"}, "option_invalid", None),
        ({"hair": "../hair"}, "field_invalid", "hair"),
        ({"size_mm": "nan"}, "field_invalid", "size_mm"),
        ({"size_mm": "9"}, "field_invalid", "size_mm"),
        ({"formats": ""}, "option_invalid", None),
        ({"formats": "glb,glb"}, "option_invalid", None),
        ({"formats": "exe"}, "option_invalid", None),
        ({"face": "0"}, "field_invalid", "face"),
        ({"face": "smallest"}, "field_invalid", "face"),
        ({"colour": "red"}, "field_invalid", "colour"),
        ({"options": "{"}, "field_invalid", "options"),
        ({"options": "[1]"}, "field_invalid", "options"),
        ({"options": "[" * 60_000}, "field_invalid", "options"),
        ({"options": '{"name": "x"}'}, "field_invalid", "name"),
        ({"options": '{"texture": "photo"}', "texture": "photo"}, "field_invalid", "texture"),
        ({"name": "x" * 201}, "field_invalid", "name"),
        ({"name": "a\x00b"}, "field_invalid", "name"),
    ],
)
async def test_options_that_are_none_are_named_and_nothing_is_kept(
    served: Served, anna: httpx.AsyncClient, fields: dict[str, Any], code: str, field: str | None
) -> None:
    before = await scopes(served)
    answer = await ask(anna, **fields)
    assert code_of(answer) == (422, code), answer.text
    if field is not None:
        assert field in [e["field"].split(".")[0] for e in answer.json()["errors"]]
    await nothing_left(served, before)


async def test_a_head_shows_what_becomes_of_it(served: Served, anna: httpx.AsyncClient) -> None:
    head_id = await ask_head(anna)
    claim = await served.take(head_id)
    await served.jobs.advance(
        claim.lease, state=HeadState.RECONSTRUCTING, progress=0.4, warnings=[Caution("dark", "It is dark.")]
    )
    head = (await anna.get(f"/v1/heads/{head_id}")).json()
    assert (head["state"], head["progress"]) == ("reconstructing", 0.4)
    assert head["warnings"] == [{"code": "dark", "message": "It is dark."}]
    await served.put_products(claim, {"preview.glb": (GLB, b"glTF small")})
    (product,) = (await anna.get(f"/v1/heads/{head_id}")).json()["products"]
    assert (product["name"], product["media_type"], product["size"]) == ("preview.glb", GLB, 10)
    assert (await anna.get(product["url"])).content == b"glTF small"
    await served.jobs.finish(claim.lease)
    assert (await anna.get(f"/v1/heads/{head_id}")).json()["state"] == "done"


async def test_a_head_that_failed_says_why(served: Served, anna: httpx.AsyncClient) -> None:
    head_id = await ask_head(anna)
    claim = await served.take(head_id)
    await served.jobs.fail(claim.lease, Failure.of(NoFaceFound("no face in me.jpg", photo="me.jpg")), retry=False)
    head = (await anna.get(f"/v1/heads/{head_id}")).json()
    assert head["state"] == "failed"
    assert head["error"] == {"code": "no_face_found", "message": "no face in me.jpg", "detail": {"photo": "me.jpg"}}


async def test_pages_hold_every_head_once_newest_first(anna: httpx.AsyncClient, bert: httpx.AsyncClient) -> None:
    asked = [await ask_head(anna) for _ in range(5)]
    await ask_head(bert)
    found: list[str] = []
    cursor = None
    sizes = []
    while True:
        page = (await anna.get("/v1/heads", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        sizes.append(len(page["heads"]))
        found += [head["id"] for head in page["heads"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert found == asked[::-1]
    assert sizes == [2, 2, 1]


async def test_pages_can_be_of_some_states(served: Served, anna: httpx.AsyncClient) -> None:
    done, waiting = await ask_head(anna), await ask_head(anna)
    await served.finish(done, {})
    listed = {
        states: [h["id"] for h in (await anna.get("/v1/heads", params={"state": list(states)})).json()["heads"]]
        for states in (("done",), ("queued",), ("queued", "done"), ("failed",))
    }
    assert listed == {("done",): [done], ("queued",): [waiting], ("queued", "done"): [waiting, done], ("failed",): []}


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "state=lost", "cursor=", "cursor=abc", "cursor=eyJ4IjoxfQ", "cursor=%00"],
)
async def test_pages_that_there_are_not_are_named(anna: httpx.AsyncClient, query: str) -> None:
    status, code = code_of(await anna.get(f"/v1/heads?{query}"))
    assert (status, code) in ((422, "field_invalid"), (422, "option_invalid"))


async def test_the_same_key_asks_once(served: Served, anna: httpx.AsyncClient) -> None:
    before = await scopes(served)
    first = await ask(anna, key="order-1", name="a")
    again = await ask(anna, key="order-1", name="a")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert first.headers["location"] == again.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert await scopes(served) == sorted([*before, photo_scope(first.json()["id"])])
    assert await due(served) == []
    assert len((await anna.get("/v1/heads")).json()["heads"]) == 1


async def test_many_at_once_with_the_same_key_ask_once(served: Served, anna: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(ask(anna, key="order-2") for _ in range(8)))
    assert {a.status_code for a in answers} == {202}
    assert len({a.json()["id"] for a in answers}) == 1
    assert sum("idempotency-replayed" not in a.headers for a in answers) == 1


async def test_another_request_under_a_used_key_is_refused(served: Served, anna: httpx.AsyncClient) -> None:
    await ask(anna, key="order-3", name="a")
    before = await scopes(served)
    assert code_of(await ask(anna, key="order-3", name="b")) == (422, "idempotency_mismatch")
    await nothing_left(served, before)


async def test_two_customers_may_use_one_idempotency_key(anna: httpx.AsyncClient, bert: httpx.AsyncClient) -> None:
    answers = [await ask(client, key="order-4") for client in (anna, bert)]
    assert answers[0].json()["id"] != answers[1].json()["id"]


@pytest.mark.parametrize("key", ["", "x" * 201, "naïve"])
async def test_idempotency_keys_that_are_none_are_named(anna: httpx.AsyncClient, key: str) -> None:
    answer = await anna.post(
        "/v1/heads", files={"photos": ("me.jpg", photo())}, headers={b"idempotency-key": key.encode()}
    )
    assert code_of(answer) == (422, "field_invalid")


async def test_the_daily_quota_of_a_key_holds(served: Served) -> None:
    async with served.customer(quota=2) as client:
        before = await scopes(served)
        asked = [photo_scope(await ask_head(client)) for _ in range(2)]
        answer = await ask(client)
        assert code_of(answer) == (429, "quota_exceeded")
        assert 1 <= int(answer.headers["retry-after"]) <= 86_401
        await nothing_left(served, sorted([*before, *asked]))


async def test_a_full_queue_pushes_back(tmp_path: Path) -> None:
    async with serving(tmp_path, jobs={"queue_limit": 1}) as served, served.customer() as anna:
        first = await ask_head(anna)
        answer = await ask(anna)
        assert code_of(answer) == (429, "overloaded")
        assert answer.headers["retry-after"] == "10"
        await nothing_left(served, [photo_scope(first)])


async def test_what_waits_is_cancelled_at_once_and_what_is_worked_on_soon(
    served: Served, anna: httpx.AsyncClient
) -> None:
    waiting = await ask_head(anna)
    answer = await anna.post(f"/v1/heads/{waiting}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert (await anna.post(f"/v1/heads/{waiting}/cancel")).status_code == 200
    running = await ask_head(anna)
    claim = await served.take(running)
    answer = await anna.post(f"/v1/heads/{running}/cancel")
    assert (answer.status_code, answer.json()["state"], answer.json()["cancelling"]) == (202, "queued", True)
    assert (await served.jobs.heartbeat(claim.lease)).cancel
    await served.jobs.stopped(claim.lease)
    head = (await anna.get(f"/v1/heads/{running}")).json()
    assert (head["state"], head["cancelling"]) == ("cancelled", False)


async def test_what_is_over_cannot_be_cancelled(served: Served, anna: httpx.AsyncClient) -> None:
    head_id = await ask_head(anna)
    await served.finish(head_id, {})
    answer = await anna.post(f"/v1/heads/{head_id}/cancel")
    assert code_of(answer) == (409, "job_conflict")
    assert answer.json()["state"] == "done"


async def test_deleting_removes_every_byte_and_says_so(served: Served, anna: httpx.AsyncClient) -> None:
    head_id = await ask_head(anna)
    other = await ask_head(anna)
    claim = await served.take(head_id)
    await served.put_products(claim, {"head.glb": (GLB, b"x" * 1000), "report.json": ("application/json", b"{}")})
    await asyncio.to_thread(served.store.put, photo_scope(head_id), b"normalised", "application/octet-stream")
    await served.jobs.finish(claim.lease)
    answer = await anna.delete(f"/v1/heads/{head_id}")
    assert answer.status_code == 200
    receipt = answer.json()
    assert receipt.pop("deleted").endswith("Z")
    assert receipt == {
        "id": head_id,
        "rows": True,
        "photos": {"objects": 2, "bytes": 5010},
        "products": {"objects": 2, "bytes": 1002},
        "complete": True,
    }
    for scope in (photo_scope(head_id), head_scope(head_id)):
        assert await asyncio.to_thread(served.store.entries, scope) == []
    assert await due(served) == []
    for path in ("", "/events", "/files/head.glb"):
        assert code_of(await anna.get(f"/v1/heads/{head_id}{path}")) == (404, "head_not_found")
    assert code_of(await anna.delete(f"/v1/heads/{head_id}")) == (404, "head_not_found")
    assert [h["id"] for h in (await anna.get("/v1/heads")).json()["heads"]] == [other]


async def test_deleting_what_is_worked_on_says_that_more_is_to_come(tmp_path: Path) -> None:
    async with serving(tmp_path, jobs={"lease_s": 0.3}) as served, served.customer() as anna:
        head_id = await ask_head(anna)
        claim = await served.take(head_id)
        await served.jobs.advance(claim.lease, state=HeadState.DETECTING)
        answer = await anna.delete(f"/v1/heads/{head_id}")
        assert (answer.status_code, answer.json()["complete"]) == (202, False)
        assert await asyncio.to_thread(served.store.entries, photo_scope(head_id)) == []
        # Until the worker has noticed it may write; when it no longer can, the sweep looks again.
        async with asyncio.timeout(10):
            while set(await due(served)) != {photo_scope(head_id), head_scope(head_id)}:
                await asyncio.sleep(0.05)


class _Away(FileStore):
    """A store that can be away."""

    away = False

    def delete_scope(self, scope: str) -> list[Entry]:
        if self.away:
            raise StoreUnavailable("the disk is away")
        return super().delete_scope(scope)


async def test_a_store_that_is_away_keeps_the_receipt_open_until_all_is_gone(tmp_path: Path) -> None:
    store = _Away(tmp_path / "store")
    async with serving(tmp_path, store=store) as served, served.customer() as anna:
        head_id = await ask_head(anna)
        store.away = True
        answer = await anna.delete(f"/v1/heads/{head_id}")
        assert (answer.status_code, answer.json()["complete"]) == (202, False)
        assert code_of(await anna.get(f"/v1/heads/{head_id}")) == (404, "head_not_found")
        # Nothing is forgotten: the sweep has it, and so has whoever asks again.
        assert set(await due(served)) == {photo_scope(head_id), head_scope(head_id)}
        store.away = False
        answer = await anna.delete(f"/v1/heads/{head_id}")
        assert (answer.status_code, answer.json()["complete"]) == (200, True)
        assert answer.json()["photos"] == {"objects": 1, "bytes": 5000}
        await nothing_left(served, [])


async def test_a_gateway_without_keys_has_one_owner(tmp_path: Path) -> None:
    async with serving(tmp_path, require_keys=False) as served, served.client(None) as local:
        head_id = await ask_head(local)
        assert (await local.get(f"/v1/heads/{head_id}")).status_code == 200
        async with served.customer() as anna:
            # Whoever shows a key is that key's owner, also where none is needed.
            assert code_of(await anna.get(f"/v1/heads/{head_id}")) == (404, "head_not_found")
        async with served.client("mq_wrong") as wrong:
            assert code_of(await wrong.get("/v1/heads")) == (401, "key_invalid")


async def test_what_is_acknowledged_outlives_the_gateway(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        key = await served.key()
        async with served.client(key) as anna:
            head = (await ask(anna)).json()
    async with serving(tmp_path) as served, served.client(key) as anna:
        assert (await anna.get(head["url"])).json() == head
        claim = await served.take(head["id"])
        (kept,) = claim.head.photos
        assert (await asyncio.to_thread(served.store.open, kept.key)).read() == photo()


def test_the_defaults_here_are_those_of_the_rooms() -> None:
    from gateway.options import HeadOptions, read_options
    from maquette.rooms import ReconstructOptions

    assert HeadOptions().stored() == DEFAULTS
    assert read_options(json.loads(json.dumps(DEFAULTS))) == (ReconstructOptions(), 1)
