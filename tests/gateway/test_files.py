"""Files of heads: whole, in parts, not at all when the caller has them, and never another's."""

import asyncio
import hashlib
from pathlib import Path

import httpx
import pytest

from gateway.files import IMMUTABLE
from maquette.errors import ObjectCorrupt, StoreUnavailable
from maquette.store import FileStore, ObjectStream
from tests.gateway.callers import code_of, connection
from tests.gateway.serving import Served, serving
from tests.gateway.test_heads import GLB, ask_head

pytestmark = pytest.mark.anyio

DATA = bytes(range(256)) * 12_000
"""Three pieces of the store."""
TAG = f'"{hashlib.sha256(DATA).hexdigest()}"'


@pytest.fixture
async def path(served: Served, anna: httpx.AsyncClient) -> str:
    """A file of anna's."""
    head_id = await ask_head(anna)
    await served.finish(head_id, {"head.glb": (GLB, DATA), "report.json": ("application/json", b"{}")})
    return f"/v1/heads/{head_id}/files/head.glb"


async def test_a_file_comes_whole_with_what_is_to_be_known_of_it(anna: httpx.AsyncClient, path: str) -> None:
    answer = await anna.get(path)
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["etag"] == TAG
    assert answer.headers["content-type"] == GLB
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"] == 'inline; filename="head.glb"'
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "last-modified" in answer.headers


async def test_the_address_of_a_heads_products_never_holds_anything_else(
    served: Served, anna: httpx.AsyncClient, path: str
) -> None:
    head = (await anna.get(path.rpartition("/files/")[0])).json()
    url = head["products"][0]["url"]
    assert url == f"{path}?v={TAG[1:17]}"
    answer = await anna.get(url)
    assert (answer.content, answer.headers["cache-control"]) == (DATA, IMMUTABLE)
    assert (await anna.post(f"{head['url']}/exports", json={"formats": ["glb"]})).status_code == 202
    await served.finish(head["id"], {"head.glb": (GLB, b"another")})
    assert (await anna.get(path)).content == b"another"
    assert code_of(await anna.get(url)) == (404, "product_not_found")
    for version in ("", "0", "x" * 16, TAG[1:18].upper(), "0" * 64):
        assert code_of(await anna.get(path, params={"v": version})) == (422, "field_invalid")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, len(DATA)),
        ("bytes=-100", len(DATA) - 100, len(DATA)),
        ("bytes=1048570-2097160", 1_048_570, 2_097_161),
        (f"bytes=0-{10**17}", 0, len(DATA)),
        (f"bytes=-{10**17}", 0, len(DATA)),
        ("Bytes = 5-9", 5, 10),
    ],
)
async def test_a_range_comes_as_a_part(anna: httpx.AsyncClient, path: str, asked: str, start: int, stop: int) -> None:
    answer = await anna.get(path, headers={"range": asked})
    assert (answer.status_code, answer.content) == (206, DATA[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
    assert answer.headers["content-length"] == str(stop - start)
    assert answer.headers["etag"] == TAG


@pytest.mark.parametrize(
    "asked",
    [
        f"bytes={len(DATA)}-",
        f"bytes={len(DATA) + 5}-{len(DATA) + 9}",
        "bytes=9-5",
        "bytes=-0",
        "bytes=",
        "bytes=-",
        "bytes=x-y",
        "bytes=1",
        "bytes=--5",
        "bytes=1-2-3",
        "bytes=0x1-0x2",
        "bytes=" + "9" * 400 + "-",
        "bytes=١-٢",
    ],
)
async def test_a_range_that_is_none_is_named_with_the_size(anna: httpx.AsyncClient, path: str, asked: str) -> None:
    answer = await anna.get(path, headers={b"range": asked.encode()})
    assert code_of(answer) == (416, "range_invalid")
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"


@pytest.mark.parametrize("asked", ["lines=1-2", "bytes=0-1,5-9", "bytes=9-5,0-1", "", "0-99"])
async def test_other_units_and_several_ranges_mean_all_of_it(anna: httpx.AsyncClient, path: str, asked: str) -> None:
    answer = await anna.get(path, headers={"range": asked})
    assert (answer.status_code, answer.content) == (200, DATA)


@pytest.mark.parametrize(
    ("condition", "status"),
    [(TAG, 206), (f"W/{TAG}", 200), ('"other"', 200), ("Wed, 21 Oct 2015 07:28:00 GMT", 200)],
)
async def test_a_range_may_be_meant_of_one_content_only(
    anna: httpx.AsyncClient, path: str, condition: str, status: int
) -> None:
    answer = await anna.get(path, headers={"range": "bytes=0-9", "if-range": condition})
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("known", "status"),
    [
        (TAG, 304),
        (f"W/{TAG}", 304),
        ("*", 304),
        (f'"a", {TAG}, "b"', 304),
        ('"a", "b"', 200),
        (TAG[1:-1], 200),
        (TAG[:-2] + '"', 200),
        ("", 200),
    ],
)
async def test_what_the_caller_has_is_not_sent_again(
    anna: httpx.AsyncClient, path: str, known: str, status: int
) -> None:
    for method in ("GET", "HEAD"):
        answer = await anna.request(method, path, headers={"if-none-match": known, "range": "bytes=0-1"})
        assert answer.status_code == (206 if status == 200 and method == "GET" else status)
        assert answer.headers["etag"] == TAG
        if status == 304:
            assert answer.content == b""


async def test_a_file_can_be_looked_up_without_being_fetched(anna: httpx.AsyncClient, path: str) -> None:
    looked, fetched = await anna.head(path), await anna.get(path)
    assert (looked.status_code, looked.content) == (200, b"")
    for name in ("etag", "content-length", "content-type", "cache-control", "content-disposition", "accept-ranges"):
        assert looked.headers[name] == fetched.headers[name]


@pytest.mark.parametrize(
    "name",
    [
        "nothing.glb",
        "..",
        "...",
        ".",
        "%2e%2e",
        "..%2fhead.glb",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2fetc%2fpasswd",
        "..%5c..%5chead.glb",
        "head.glb%00.png",
        "head.glb/",
        "HEAD.GLB",
        "head%2eglb%0d%0aX-Evil:%201",
        "%F0%9F%92%A9",
        "x" * 5000,
        "*",
        "head.glb%20",
    ],
)
async def test_names_that_are_no_files_of_the_head_are_not_found(
    served: Served, anna: httpx.AsyncClient, path: str, name: str
) -> None:
    # Over a connection of one's own: clients tidy such addresses up before they send them.
    folder = path.rpartition("/")[0]
    async with connection(served) as caller:
        await caller.begin("GET", f"{folder}/{name}", {"authorization": anna.headers["authorization"]})
        answer = await caller.answer()
    assert code_of(answer)[0] == 404
    assert code_of(answer)[1] in ("product_not_found", "route_unknown")
    assert "x-evil" not in answer.headers


async def test_a_file_that_is_not_ready_says_which_are(served: Served, anna: httpx.AsyncClient) -> None:
    head_id = await ask_head(anna)
    claim = await served.take(head_id)
    await served.put_products(claim, {"preview.glb": (GLB, b"glTF")})
    answer = await anna.get(f"/v1/heads/{head_id}/files/head.glb")
    assert code_of(answer) == (404, "product_not_found")
    assert "preview.glb" in answer.json()["detail"]
    assert answer.json()["state"] == "meshing"


async def test_an_empty_file_is_a_file(served: Served, anna: httpx.AsyncClient) -> None:
    head_id = await ask_head(anna)
    await served.finish(head_id, {"empty.obj": ("model/obj", b"")})
    path = f"/v1/heads/{head_id}/files/empty.obj"
    answer = await anna.get(path)
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")
    for asked in ("bytes=0-", "bytes=-1"):
        assert code_of(await anna.get(path, headers={"range": asked})) == (416, "range_invalid")


class _Store(FileStore):
    """A store that can break while it is read, and has links."""

    breaks: type[Exception] | None = None
    links = True

    def open(self, key: str, start: int = 0, stop: int | None = None) -> ObjectStream:
        if self.breaks is StoreUnavailable:
            raise StoreUnavailable("the disk at /srv/secret is away")
        return super().open(key, start, stop)

    def presign(self, key: str, seconds: int, file_name: str, media_type: str) -> str | None:
        return f"https://store.example/{key}?for={seconds}&as={file_name}" if self.links else None


async def test_files_can_be_fetched_from_the_store_where_the_setting_says_so(tmp_path: Path) -> None:
    store = _Store(tmp_path / "store")
    async with serving(tmp_path, store=store, files="redirect", link_s=60) as served, served.customer() as anna:
        head_id = await ask_head(anna)
        await served.finish(head_id, {"head.glb": (GLB, DATA)})
        path = f"/v1/heads/{head_id}/files/head.glb"
        answer = await anna.get(path)
        assert answer.status_code == 307
        assert answer.headers["location"].startswith(f"https://store.example/heads/{head_id}/{TAG[1:-1]}?for=60")
        assert answer.headers["cache-control"] == "no-store"
        assert (await anna.get(path, headers={"if-none-match": TAG})).status_code == 304
        # A store without links has its files handed out by the gateway.
        store.links = False
        assert (await anna.get(path)).content == DATA


async def test_a_store_that_fails_before_the_answer_is_a_problem_and_tells_no_secrets(tmp_path: Path) -> None:
    store = _Store(tmp_path / "store")
    async with serving(tmp_path, store=store) as served, served.customer() as anna:
        head_id = await ask_head(anna)
        await served.finish(head_id, {"head.glb": (GLB, DATA)})
        store.breaks = StoreUnavailable
        answer = await anna.get(f"/v1/heads/{head_id}/files/head.glb")
        assert code_of(answer) == (503, "store_unavailable")
        assert "secret" not in answer.text
        assert answer.headers["retry-after"] == "5"


async def test_a_damaged_file_never_looks_complete(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, served.customer() as anna:
        head_id = await ask_head(anna)
        await served.finish(head_id, {"head.glb": (GLB, DATA), "small.glb": (GLB, b"x" * 1000)})
        for file in (tmp_path / "store" / "heads" / head_id).iterdir():
            with file.open("r+b") as damaged:
                damaged.seek(500)
                damaged.write(b"?")
        with pytest.raises(httpx.RemoteProtocolError):
            await anna.get(f"/v1/heads/{head_id}/files/head.glb")
        # What is read at once is known to be damaged before the answer begins.
        assert code_of(await anna.get(f"/v1/heads/{head_id}/files/small.glb")) == (500, ObjectCorrupt.code)


async def test_a_file_whose_object_has_gone_is_the_servers_fault_unless_the_head_has_gone_too(
    served: Served, anna: httpx.AsyncClient, path: str
) -> None:
    head_id = path.split("/")[3]
    await asyncio.to_thread(served.store.delete, f"heads/{head_id}/{TAG[1:-1]}")
    assert code_of(await anna.get(path)) == (500, "object_missing")
    await anna.delete(f"/v1/heads/{head_id}")
    assert code_of(await anna.get(path)) == (404, "head_not_found")


async def test_callers_that_do_not_read_are_given_up(tmp_path: Path) -> None:
    async with serving(tmp_path, answer_pause_s=0.3) as served:
        secret = await served.key()
        async with served.client(secret) as anna:
            head_id = await ask_head(anna)
        await served.finish(head_id, {"head.glb": (GLB, DATA * 10)})
        async with connection(served) as caller:
            await caller.begin("GET", f"/v1/heads/{head_id}/files/head.glb", {"authorization": f"Bearer {secret}"})
            in_flight = served.gateway.metrics.registry.get_sample_value
            async with asyncio.timeout(5):
                while not in_flight("maquette_http_in_flight"):
                    await asyncio.sleep(0.01)
                while in_flight("maquette_http_in_flight"):
                    await asyncio.sleep(0.05)
