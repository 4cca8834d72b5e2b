"""Who may call what, and how often. Every route is in the table here: one that is added without being in it fails."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from gateway.jobs import head_scope, photo_scope
from gateway.jobs.keys import CUSTOMER_SCOPES, Scope
from gateway.rates import Rates
from maquette.errors import OptionInvalid
from tests.gateway.callers import code_of
from tests.gateway.serving import Served, serving
from tests.gateway.test_heads import ask_head
from tests.gateway.test_uploads import photo

pytestmark = pytest.mark.anyio

OPEN = None
"""A route for everybody."""


@dataclass(frozen=True)
class Route:
    """What the table says of a route.

    Attributes:
        scope: What a key needs, ``""`` when any will do, OPEN when none is needed.
        owned: Whether it is about one head: then what is another's must look like what does not exist.
        request: What else to send.
        status: What its owner is answered.
    """

    scope: str | None
    owned: bool
    request: dict[str, Any]
    status: int = 200


FILE: dict[str, Any] = {"files": {"photos": ("me.jpg", photo())}}
TABLE = {
    ("POST", "/v1/heads"): Route(Scope.WRITE, False, FILE, 202),
    ("GET", "/v1/heads"): Route(Scope.READ, False, {}),
    ("GET", "/v1/heads/{head_id}"): Route(Scope.READ, True, {}),
    ("GET", "/v1/heads/{head_id}/events"): Route(Scope.READ, True, {}),
    ("GET", "/v1/heads/{head_id}/files/{name}"): Route(Scope.READ, True, {}),
    ("HEAD", "/v1/heads/{head_id}/files/{name}"): Route(Scope.READ, True, {}),
    ("POST", "/v1/heads/{head_id}/exports"): Route(Scope.WRITE, True, {"json": {"formats": ["stl"]}}, 202),
    ("POST", "/v1/heads/{head_id}/cancel"): Route(Scope.WRITE, True, {}),
    ("DELETE", "/v1/heads/{head_id}"): Route(Scope.DELETE, True, {}),
    ("POST", "/v1/detect"): Route(Scope.DETECT, False, {"files": {"photo": ("me.jpg", photo())}}, 422),
    ("GET", "/v1/engines"): Route("", False, {}),
    ("GET", "/healthz"): Route(OPEN, False, {}),
    ("GET", "/readyz"): Route(OPEN, False, {}),
    ("GET", "/metrics"): Route(Scope.METRICS, False, {}),
    ("GET", "/openapi.json"): Route(OPEN, False, {}),
}
"""In the order in which the calls make sense: exports give the head something to cancel, deleting comes last."""
OWNED = [route for route, said in TABLE.items() if said.owned]
KEYED = [route for route, said in TABLE.items() if said.scope is not OPEN]


def address(path: str, head_id: str) -> str:
    return path.format(head_id=head_id, name="head.glb")


async def call(client: httpx.AsyncClient, route: tuple[str, str], head_id: str = "head_x") -> httpx.Response:
    method, path = route
    return await client.request(method, address(path, head_id), **TABLE[route].request)


async def done_head(served: Served, client: httpx.AsyncClient) -> str:
    head_id = await ask_head(client)
    await served.finish(head_id, {"head.glb": ("model/gltf-binary", b"glTF of anna")})
    return head_id


def test_every_route_is_in_the_table(served: Served) -> None:
    there = {(method, str(r.path)) for r in iter_route_contexts(served.app.routes) for method in r.methods or ()}
    assert there - {("HEAD", "/openapi.json")} == set(TABLE)


def test_every_route_about_a_head_is_held_to_be_one() -> None:
    assert all(said.owned == ("{head_id}" in path) for (_, path), said in TABLE.items())


async def test_the_owner_may_call_all_of_them(served: Served) -> None:
    async with served.customer(scopes=CUSTOMER_SCOPES | {Scope.METRICS}) as anna:
        head_id = await done_head(served, anna)
        answered = {route: (await call(anna, route, head_id)).status_code for route in TABLE}
    assert answered == {route: said.status for route, said in TABLE.items()}


@pytest.mark.parametrize("route", OWNED, ids=" ".join)
async def test_what_is_anothers_looks_like_what_is_not_there(
    served: Served, anna: httpx.AsyncClient, bert: httpx.AsyncClient, route: tuple[str, str]
) -> None:
    head_id = await done_head(served, anna)
    before = (await anna.get(f"/v1/heads/{head_id}")).json()
    theirs = await call(bert, route, head_id)
    nobodys = await call(bert, route, "head_" + "a" * 26)
    assert (theirs.status_code, nobodys.status_code) == (404, 404)
    assert same(theirs, head_id) == same(nobodys, "head_" + "a" * 26)
    # Neither seen nor touched.
    assert (await anna.get(f"/v1/heads/{head_id}")).json() == before
    assert (await anna.get(f"/v1/heads/{head_id}/files/head.glb")).content == b"glTF of anna"


def same(answer: httpx.Response, head_id: str) -> tuple[Any, ...]:
    """All of an answer that could tell one from the other."""
    headers = {k: v for k, v in answer.headers.items() if k not in ("date", "content-length")}
    # Where spans are kept, each request has its own trace.
    return headers, re.sub(r'"trace_id":"[0-9a-f]{32}"', '"trace_id":"…"', answer.text.replace(head_id, "…"))


@pytest.mark.parametrize(
    "head_id",
    [
        "head_",
        "head_x",
        "job_" + "a" * 26,
        "head_" + "A" * 26,
        "head_" + "a" * 25 + "%27",
        "head_" + "a" * 400,
        "%2e%2e",
        "..%2f..",
        "%00",
        "head_%F0%9F%92%A9",
        "*",
        "null",
    ],
)
@pytest.mark.parametrize("route", OWNED, ids=" ".join)
async def test_forged_identifiers_are_heads_that_are_not_there(
    anna: httpx.AsyncClient, route: tuple[str, str], head_id: str
) -> None:
    method, path = route
    answer = await anna.request(method, address(path, head_id), **TABLE[route].request)
    assert answer.status_code in (404, 405)
    if method != "HEAD":
        assert code_of(answer)[1] in ("head_not_found", "route_unknown", "method_unknown")


async def test_other_customers_heads_are_in_no_list(
    served: Served, anna: httpx.AsyncClient, bert: httpx.AsyncClient
) -> None:
    head_id = await done_head(served, anna)
    assert (await bert.get("/v1/heads")).json() == {"heads": [], "cursor": None}
    # Neither does another's cursor show any of them.
    await ask_head(anna)
    cursor = (await anna.get("/v1/heads?limit=1")).json()["cursor"]
    assert (await bert.get("/v1/heads", params={"cursor": cursor})).json()["heads"] == []
    assert head_id not in (await bert.get("/v1/heads?limit=200")).text


async def test_identifiers_are_not_to_be_guessed(anna: httpx.AsyncClient) -> None:
    found = [await ask_head(anna) for _ in range(3)]
    assert all(len(head_id) == len("head_") + 26 for head_id in found)
    # 26 letters of 5 bits: whoever knows two knows nothing of a third.
    assert max(sum(a == b for a, b in zip(found[0][5:], other[5:], strict=True)) for other in found[1:]) < 10


@pytest.mark.parametrize("route", KEYED, ids=" ".join)
async def test_routes_want_a_key(served: Served, route: tuple[str, str]) -> None:
    for secret in (None, "mq_" + "a" * 16 + "_" + "a" * 52, "Basic"):
        async with served.client(secret) as nobody:
            answer = await call(nobody, route)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        if route[0] != "HEAD":
            assert code_of(answer) == (401, "key_invalid")


@pytest.mark.parametrize("route", [r for r in KEYED if TABLE[r].scope], ids=" ".join)
async def test_routes_want_their_scope(served: Served, route: tuple[str, str]) -> None:
    others = frozenset(Scope) - {Scope(str(TABLE[route].scope))}
    async with served.customer(scopes=others) as client:
        answer = await call(client, route)
    assert answer.status_code == 403
    assert "insufficient_scope" in answer.headers["www-authenticate"]
    if route[0] != "HEAD":
        assert code_of(answer) == (403, "scope_missing")
        assert answer.json()["scope"] == TABLE[route].scope


async def test_a_key_may_come_in_either_header(served: Served) -> None:
    secret = await served.key()
    async with served.client(None) as client:
        for headers in (
            {"authorization": f"Bearer {secret}"},
            {"authorization": f"bearer   {secret}"},
            {"x-api-key": secret},
        ):
            assert (await client.get("/v1/heads", headers=headers)).status_code == 200, headers
        for headers in (
            {"authorization": f"Basic {secret}"},
            {"authorization": secret},
            {"authorization": "Bearer"},
            {"x-api-key": ""},
            {"authorization": "Basic x", "x-api-key": secret},
        ):
            assert code_of(await client.get("/v1/heads", headers=headers)) == (401, "key_invalid"), headers


async def test_a_key_in_the_address_is_none(served: Served) -> None:
    # Addresses are logged by everything on the way.
    async with served.client(None) as client:
        answer = await client.get("/v1/heads", params={"key": await served.key(), "x-api-key": await served.key()})
    assert code_of(answer) == (401, "key_invalid")


async def test_a_revoked_key_is_none(served: Served) -> None:
    new = await served.jobs.keys.create("anna")
    async with served.client(new.secret) as client:
        assert (await client.get("/v1/heads")).status_code == 200
        await served.jobs.keys.revoke(new.key.id)
        assert code_of(await client.get("/v1/heads")) == (401, "key_invalid")


async def test_metrics_can_be_opened_to_everybody(tmp_path: Path) -> None:
    async with serving(tmp_path, metrics_open=True) as served, served.client(None) as client:
        assert (await client.get("/metrics")).status_code == 200


async def test_without_keys_everybody_may_do_everything(tmp_path: Path) -> None:
    async with serving(tmp_path, require_keys=False) as served, served.client(None) as client:
        head_id = await done_head(served, client)
        answered = {route: (await call(client, route, head_id)).status_code for route in TABLE}
        assert answered == {route: said.status for route, said in TABLE.items()}
        for scope in (photo_scope(head_id), head_scope(head_id)):
            assert served.store.entries(scope) == []


async def test_a_keys_rate_holds_and_is_told_with_every_answer(served: Served) -> None:
    async with served.customer(rate="3/minute") as client:
        left = []
        for _ in range(3):
            answer = await client.get("/v1/heads/head_x")
            assert answer.status_code == 404
            assert answer.headers["ratelimit-policy"] == '"minute";q=3;w=60'
            left.append(answer.headers["ratelimit"].split(";")[1])
        assert left == ["r=2", "r=1", "r=0"]
        answer = await client.get("/v1/heads")
        assert code_of(answer) == (429, "rate_exceeded")
        wait = int(answer.headers["retry-after"])
        assert 1 <= wait <= 60
        assert answer.headers["ratelimit"] == f'"minute";r=0;t={wait}'
        assert (answer.json()["limit"], answer.json()["window_seconds"]) == (3, 60)


async def test_rates_are_counted_by_key(served: Served) -> None:
    async with served.customer(rate="1/minute") as one, served.customer(rate="1/minute") as other:
        for client in (one, other):
            assert (await client.get("/v1/heads")).status_code == 200
            assert code_of(await client.get("/v1/heads")) == (429, "rate_exceeded")


async def test_a_rate_without_a_key_of_its_own_is_the_gateways(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, rate="2/hour") as served,
        served.customer() as anna,
        served.customer(rate="9/hour") as b,
    ):
        assert [(await anna.get("/v1/heads")).status_code for _ in range(3)] == [200, 200, 429]
        assert [(await b.get("/v1/heads")).status_code for _ in range(3)] == [200, 200, 200]


async def test_the_tightest_of_several_windows_is_told_and_a_refused_request_does_not_count() -> None:
    rates = Rates("async+memory://")
    rate = "2/minute;5/hour"
    seen = [await rates.spend(rate, "anna") for _ in range(4)]
    assert [s.refused is None for s in seen] == [True, True, False, False]
    assert seen[0].headers["ratelimit-policy"] == '"minute";q=2;w=60, "hour";q=5;w=3600'
    assert [s.headers["ratelimit"].partition(";t=")[0] for s in seen] == [
        '"minute";r=1',
        '"minute";r=0',
        '"minute";r=0',
        '"minute";r=0',
    ]
    # The hour has three left: the refused ones were not counted.
    assert (await rates.spend("5/hour", "anna")).headers["ratelimit"].startswith('"hour";r=2')


@pytest.mark.parametrize("storage", ["nowhere://", "memory://", "", "async+nothing://x"])
async def test_a_store_for_rates_that_there_is_not_is_named(storage: str) -> None:
    with pytest.raises(OptionInvalid, match="expected"):
        Rates(storage)
