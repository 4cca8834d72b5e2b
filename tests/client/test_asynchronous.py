import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.jobs import Failure, head_scope
from maquette import errors
from maquette.client import AsyncClient, RemoteEvent, RemoteFile
from maquette.client.problems import error_of_response
from maquette.errors import error_of
from maquette.rooms import ReconstructOptions
from tests.client.conftest import FILES, finish, sent
from tests.client.lines import breaking_line
from tests.gateway.serving import Served

pytestmark = pytest.mark.anyio


async def test_a_head_is_asked_for_waited_for_and_fetched(
    served: Served, key: str, sample: Path, tmp_path: Path
) -> None:
    async with AsyncClient(served.url, key=key) as client:
        options = ReconstructOptions(formats=("ply",), size_mm=120)
        asked = await client.submit([sample, sample.read_bytes()], options=options, face="largest", name="Ada")
        assert (asked.state, asked.name) == ("queued", "Ada")
        assert asked.options["formats"] == ["ply"]
        assert (asked.options["face"], asked.options["size_mm"]) == ("largest", 120)
        assert [p.name for p in asked.photos] == ["astronaut.png", "photo 2"]
        events: list[RemoteEvent] = []
        making = asyncio.create_task(finish(served, asked.id))
        head = await client.wait(asked.id, events.append)
        await making
        assert head.state == "done"
        assert [e.number for e in events] == list(range(1, len(events) + 1))
        assert [e.data["name"] for e in events if e.kind == "product"] == list(FILES)
        paths = await client.download(head, tmp_path / "head")
        assert sent(paths) == {name: data for name, (_, data) in FILES.items()}
        assert paths[-1].name == "report.json"
        assert sorted(p.name for p in (tmp_path / "head").iterdir()) == sorted(FILES)
        assert [h.id async for h in client.heads()] == [head.id]
        assert [h.id async for h in client.heads(states=["failed"])] == []


async def test_a_request_whose_answer_is_lost_asks_once(served: Served, key: str, sample: Path) -> None:
    async with breaking_line(served.url, 0, 0) as line, AsyncClient(line.url, key=key) as client:
        await client.submit(sample)
        assert line.connections == 3
        assert len((await client.page()).heads) == 1


async def test_the_same_key_asks_once_and_another_request_is_refused(served: Served, key: str, sample: Path) -> None:
    async with AsyncClient(served.url, key=key) as client:
        first = await client.submit(sample, idempotency_key="mine")
        assert (await client.submit(sample, idempotency_key="mine")).id == first.id
        with pytest.raises(errors.IdempotencyMismatch):
            await client.submit(sample, name="other", idempotency_key="mine")


async def test_a_stream_that_breaks_off_is_gone_on_with(served: Served, key: str, sample: Path) -> None:
    async with breaking_line(served.url) as line, AsyncClient(line.url, key=key) as client:
        asked = await client.submit(sample)
        line.limits += [900, 1300]
        making = asyncio.create_task(finish(served, asked.id, pause_s=0.1))
        events: list[RemoteEvent] = []
        async with AsyncClient(line.url, key=key) as other:
            await other.wait(asked.id, events.append)
        await making
        assert line.limits == []
        assert [e.number for e in events] == list(range(1, len(events) + 1))
        assert events[-1].data["state"] == "done"


async def test_events_end_when_all_is_told(served: Served, key: str, sample: Path) -> None:
    async with AsyncClient(served.url, key=key) as client:
        asked = await client.submit(sample)
        await finish(served, asked.id)
        told = [e async for e in client.events(asked.id)]
        assert told[-1].data["state"] == "done"
        assert [e async for e in client.events(asked.id, after=told[-2].number)] == told[-1:]
        assert [e async for e in client.events(asked.id, after=told[-1].number)] == []


async def test_a_server_that_comes_back_is_waited_for(served: Served, key: str) -> None:
    async with breaking_line(served.url) as line, AsyncClient(line.url, key=key, patience_s=20) as client:
        line.up = False
        asking = asyncio.create_task(client.page())
        await asyncio.sleep(0.5)
        line.up = True
        assert (await asking).heads == ()
        assert line.connections >= 3


async def test_patience_with_a_server_that_is_away_ends(tmp_path: Path) -> None:
    async with AsyncClient("http://127.0.0.1:9", patience_s=0.5) as client:
        with pytest.raises(errors.ServiceUnavailable, match=r"http://127.0.0.1:9 does not answer"):
            await client.page()
        with pytest.raises(errors.ServiceUnavailable):
            [e async for e in client.events("head_x")]
        with pytest.raises(errors.ServiceUnavailable):
            await client.fetch(RemoteFile("a", "b/c", 1, "0" * 64, "/v1/heads/x/files/a"))


async def test_a_download_goes_on_where_it_broke_off(served: Served, key: str, sample: Path, tmp_path: Path) -> None:
    async with breaking_line(served.url) as line, AsyncClient(line.url, key=key) as client:
        head = await client.submit(sample)
        await finish(served, head.id)
        head = await client.get(head.id)
        ply = head.file("head.ply")
        assert ply is not None
        line.limits += [1_000_000, 1_500_000]
        seen = served.gateway.metrics.registry
        before = _answers(seen, "206")
        async with AsyncClient(line.url, key=key) as other:
            assert await other.fetch(ply) == FILES["head.ply"][1]
        assert line.limits == []
        assert _answers(seen, "206") == before + 2
        # What an earlier program has left is gone on with, and what is there is not fetched again.
        folder = tmp_path / "head"
        folder.mkdir()
        partial = folder / f".partial-head.ply-{ply.sha256[:16]}"
        partial.write_bytes(FILES["head.ply"][1][:2_000_000])
        (path,) = await client.download(head, folder, ["head.ply"])
        assert path.read_bytes() == FILES["head.ply"][1]
        assert _answers(seen, "206") == before + 3
        count = line.connections
        async with AsyncClient(line.url, key=key) as other:
            await other.download(head, folder, ["head.ply"])
        assert line.connections == count
        assert [p.name for p in folder.iterdir()] == ["head.ply"]


async def test_a_spoilt_beginning_is_fetched_again(served: Served, key: str, sample: Path, tmp_path: Path) -> None:
    async with AsyncClient(served.url, key=key) as client:
        head = await client.submit(sample)
        await finish(served, head.id)
        head = await client.get(head.id)
        ply = head.file("head.ply")
        assert ply is not None
        (tmp_path / f".partial-head.ply-{ply.sha256[:16]}").write_bytes(bytes(1000))
        (path,) = await client.download(head, tmp_path, ["head.ply"])
        assert path.read_bytes() == FILES["head.ply"][1]


async def test_other_bytes_than_those_announced_are_refused(served: Served, key: str, sample: Path) -> None:
    async with AsyncClient(served.url, key=key, patience_s=3) as client:
        head = await client.submit(sample)
        await finish(served, head.id)
        file = (await client.get(head.id)).file("head.ply")
        assert file is not None
        lie = RemoteFile(file.name, file.media_type, file.size, "0" * 64, file.url)
        with pytest.raises(errors.ObjectCorrupt):
            await client.fetch(lie)


async def test_a_name_that_leads_elsewhere_is_not_written(
    served: Served, key: str, sample: Path, tmp_path: Path
) -> None:
    async with AsyncClient(served.url, key=key) as client:
        head = await client.submit(sample)
        await finish(served, head.id)
        head = await client.get(head.id)
        evil = RemoteFile("../evil", "text/plain", 1, "0" * 64, head.files[0].url)
        object.__setattr__(head, "files", (evil,))
        with pytest.raises(errors.OutputError):
            await client.download(head, tmp_path / "head")
        assert list(tmp_path.iterdir()) == []


async def test_why_a_head_failed_is_raised_as_what_it_is(served: Served, key: str, sample: Path) -> None:
    async with AsyncClient(served.url, key=key) as client:
        head = await client.submit(sample)
        claim = await served.take(head.id)
        failure = Failure.of(errors.NoFaceFound("no face in astronaut.png", photo="astronaut.png"))
        await served.jobs.fail(claim.lease, failure, retry=False)
        with pytest.raises(errors.NoFaceFound, match=r"no face in astronaut.png") as caught:
            await client.wait(head.id)
        assert caught.value.detail == {"photo": "astronaut.png"}


async def test_waiting_ends_in_time_and_with_cancellation(served: Served, key: str, sample: Path) -> None:
    async with AsyncClient(served.url, key=key) as client:
        head = await client.submit(sample)
        with pytest.raises(errors.DeadlineExceeded):
            await client.wait(head.id, timeout_s=0.3)
        assert (await client.cancel(head.id)).state == "cancelled"
        with pytest.raises(errors.Cancelled):
            await client.wait(head.id)
        failed = await client.submit(sample)
        claim = await served.take(failed.id)
        await served.jobs.fail(claim.lease, Failure.of(errors.NoFaceFound("none")), retry=False)
        with pytest.raises(errors.JobConflict):
            await client.cancel(failed.id)


async def test_exports_are_asked_for_and_waited_for(served: Served, key: str, sample: Path) -> None:
    async with AsyncClient(served.url, key=key) as client:
        head = await client.submit(sample)
        with pytest.raises(errors.JobConflict):
            await client.export(head.id, ["stl"])
        await finish(served, head.id)
        with pytest.raises(errors.OptionInvalid):
            await client.export(head.id, ["fbx"])
        with pytest.raises(errors.FieldInvalid):
            await client.export(head.id, ["stl"], size_mm=-1)
        export = await client.export(head.id, ["stl"], size_mm=120)
        assert export.options == {"formats": ["stl"], "size_mm": 120.0}
        assert not export.final
        waiting = asyncio.create_task(client.wait_export(head.id, export.id))
        claim = await served.take(head.id)
        await served.put_products(claim, {"print.stl": ("model/stl", b"solid")})
        await served.jobs.finish(claim.lease)
        file = (await waiting).file("print.stl")
        assert file is not None
        assert await client.fetch(file) == b"solid"
        assert (await client.wait_export(head.id, export.id)).file("print.stl") == file


async def test_a_head_is_deleted_with_a_receipt(served: Served, key: str, sample: Path) -> None:
    async with AsyncClient(served.url, key=key) as client:
        head = await client.submit(sample)
        await finish(served, head.id)
        receipt = await client.delete(head.id)
        assert receipt.complete
        assert receipt.objects == 1 + len(FILES)
        assert served.store.entries(head_scope(head.id)) == []
        with pytest.raises(errors.HeadNotFound):
            await client.get(head.id)
        with pytest.raises(errors.HeadNotFound):
            await client.wait(head.id)


async def test_refusals_are_raised_as_what_they_are(served: Served, key: str, blank: Path, tmp_path: Path) -> None:
    async with AsyncClient(served.url) as client:
        with pytest.raises(errors.KeyInvalid):
            await client.page()
    async with AsyncClient(served.url, key=key) as client:
        for forged in ("head_aaaaaaaaaaaaaaaaaaaaaaaaaa", "../keys", "", "head/..", "kopf-ä"):
            with pytest.raises(errors.HeadNotFound):
                await client.get(forged)
        with pytest.raises(errors.PhotoUnreadable):
            await client.submit(b"no picture")
        with pytest.raises(errors.PhotoUnreadable, match=r"cannot read nothing\.jpg"):
            await client.submit(tmp_path / "nothing.jpg")
        with pytest.raises(errors.NoFaceFound):
            await client.detect(blank)
        with pytest.raises(errors.OptionInvalid):
            await client.submit(blank, options=ReconstructOptions(engine="none"))


async def test_faces_and_engines_can_be_asked_for(served: Served, key: str, sample: Path) -> None:
    async with AsyncClient(served.url, key=key) as client:
        assert len((await client.detect(sample))["faces"]) == 1
        assert "open" in [e["name"] for e in await client.engines()]


@pytest.mark.parametrize("server", ["ftp://host", "127.0.0.1:8080", "http://", "nonsense", "http://host:port"])
async def test_a_server_that_is_none_is_refused(server: str) -> None:
    with pytest.raises(errors.OptionInvalid):
        AsyncClient(server)


@pytest.mark.parametrize(
    ("status", "headers", "content", "kind"),
    [
        (502, {}, b"<html>", errors.ServiceUnavailable),
        (429, {"retry-after": "7"}, b"", errors.Overloaded),
        (418, {}, b"", errors.RequestError),
        (500, {"content-type": "application/problem+json"}, b"no json", errors.ServiceError),
        (500, {"content-type": "application/problem+json"}, b'{"code": "new_code", "x": 1}', errors.ServiceError),
    ],
)
async def test_answers_of_others_on_the_way_have_a_name(
    status: int, headers: dict[str, str], content: bytes, kind: type[Exception]
) -> None:
    answer = httpx.Response(status, headers=headers, content=content, request=httpx.Request("GET", "http://server/"))
    error = error_of_response(answer)
    assert type(error) is kind
    if "retry-after" in headers:
        assert error.detail["retry_after_seconds"] == 7
    if b"new_code" in content:
        assert error.detail == {"x": 1, "remote_code": "new_code"}


def test_every_error_of_the_tree_survives_the_way() -> None:
    kinds: list[type[errors.MaquetteError]] = [errors.MaquetteError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        own = [k for k in kinds if k.code == kind.code]
        assert type(error_of(kind.code, "text", {"a": 1})) is own[0]


def _answers(registry: Any, status: str) -> float:
    where = {"method": "GET", "route": "/v1/heads/{head_id}/files/{name}", "status": status}
    return registry.get_sample_value("maquette_http_requests_total", where) or 0.0
