"""Further files of a head that is done."""

from typing import Any

import httpx
import pytest

from gateway.jobs import Failure, JobKind
from gateway.options import read_export
from maquette.errors import MeshInvalid
from tests.gateway.callers import code_of
from tests.gateway.serving import Served
from tests.gateway.test_heads import ask_head

pytestmark = pytest.mark.anyio


async def done_head(served: Served, client: httpx.AsyncClient, **fields: Any) -> str:
    head_id = await ask_head(client, **fields)
    await served.finish(head_id, {})
    return head_id


async def test_an_export_is_asked_for_made_and_shown(served: Served, anna: httpx.AsyncClient) -> None:
    head_id = await done_head(served, anna, texture="photo", formats="glb")
    answer = await anna.post(f"/v1/heads/{head_id}/exports", json={"formats": ["stl", "ply"], "size_mm": 120})
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/heads/{head_id}"
    export = answer.json()
    assert export == {
        "id": export["id"],
        "state": "queued",
        "options": {"formats": ["stl", "ply"], "size_mm": 120.0},
        "error": None,
    }
    claim = await served.take(head_id)
    assert (claim.job.kind, claim.job.id) == (JobKind.EXPORT, export["id"])
    options = read_export(claim.head.options, claim.job.payload)
    # What was not said is as it was for the head.
    assert (options.formats, options.size_mm, options.texture) == (("stl", "ply"), 120.0, "photo")
    await served.put_products(claim, {"print.stl": ("model/stl", b"solid")})
    await served.jobs.finish(claim.lease)
    head = (await anna.get(f"/v1/heads/{head_id}")).json()
    assert head["state"] == "done"
    assert [(e["id"], e["state"]) for e in head["exports"]] == [(export["id"], "done")]
    assert [p["name"] for p in head["products"]] == ["print.stl"]


async def test_an_export_that_fails_says_why_and_leaves_the_head_as_it_is(
    served: Served, anna: httpx.AsyncClient
) -> None:
    head_id = await done_head(served, anna)
    await anna.post(f"/v1/heads/{head_id}/exports", json={"formats": ["stl"]})
    claim = await served.take(head_id)
    await served.jobs.fail(claim.lease, Failure.of(MeshInvalid("it bounds no solid")), retry=False)
    head = (await anna.get(f"/v1/heads/{head_id}")).json()
    assert (head["state"], head["exports"][0]["state"]) == ("done", "failed")
    assert head["exports"][0]["error"]["code"] == "mesh_invalid"


async def test_only_a_head_that_is_done_can_be_exported(anna: httpx.AsyncClient) -> None:
    head_id = await ask_head(anna)
    answer = await anna.post(f"/v1/heads/{head_id}/exports", json={"formats": ["stl"]})
    assert code_of(answer) == (409, "job_conflict")
    assert answer.json()["state"] == "queued"


async def test_the_same_key_exports_once(served: Served, anna: httpx.AsyncClient) -> None:
    head_id = await done_head(served, anna)
    path, key = f"/v1/heads/{head_id}/exports", {"idempotency-key": "e1"}
    first = await anna.post(path, json={"formats": ["stl"], "size_mm": 100}, headers=key)
    again = await anna.post(path, json={"size_mm": 100.0, "formats": "stl"}, headers=key)
    other = await anna.post(path, json={"formats": ["ply"]}, headers=key)
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert code_of(other) == (422, "idempotency_mismatch")
    assert len((await anna.get(f"/v1/heads/{head_id}")).json()["exports"]) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", (400, "body_invalid")),
        (b"{", (400, "body_invalid")),
        (b"\xff", (400, "body_invalid")),
        (b"[]", (422, "field_invalid")),
        (b"{}", (422, "field_invalid")),
        (b'{"formats": []}', (422, "field_invalid")),
        (b'{"formats": ["exe"]}', (422, "option_invalid")),
        (b'{"formats": ["stl", "stl"]}', (422, "option_invalid")),
        (b'{"formats": ["stl"], "size_mm": 1}', (422, "field_invalid")),
        (b'{"formats": ["stl"], "size_mm": NaN}', (422, "field_invalid")),
        (b'{"formats": ["stl"], "engine": "open"}', (422, "field_invalid")),
        (b'{"formats": ["stl"], "texture": 7}', (422, "field_invalid")),
        (b"[" * 60_000, (400, "body_invalid")),
        (b" " * 70_000, (413, "body_too_large")),
    ],
)
async def test_exports_that_are_none_are_named(
    served: Served, anna: httpx.AsyncClient, body: bytes, code: tuple[int, str]
) -> None:
    head_id = await done_head(served, anna)
    headers = {"content-type": "application/json"}
    assert code_of(await anna.post(f"/v1/heads/{head_id}/exports", content=body, headers=headers)) == code
    assert (await anna.get(f"/v1/heads/{head_id}")).json()["exports"] == []


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/x-www-form-urlencoded"])
async def test_exports_are_asked_for_in_json(served: Served, anna: httpx.AsyncClient, media_type: str) -> None:
    head_id = await done_head(served, anna)
    # A page of another origin can send these without being asked, JSON it cannot.
    headers = {"content-type": media_type}
    answer = await anna.post(f"/v1/heads/{head_id}/exports", content=b'{"formats": ["stl"]}', headers=headers)
    assert code_of(answer) == (415, "body_type_unknown")
