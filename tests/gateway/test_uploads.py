"""Photos on their way in: limits while they arrive, broken and hostile forms, and nothing left behind."""

import asyncio
import hashlib
import io
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image

from gateway.jobs import PHOTO_SCOPES, JobSettings, open_jobs, photo_scope
from gateway.uploads import MOST_FIELD_BYTES, PIECE, shown_name
from maquette.errors import StoreFull
from maquette.store import FileStore, ObjectInfo
from maquette.store.store import Chunks
from tests.gateway.callers import FORM, code_of, connection, form, part, post_form
from tests.gateway.serving import Served, serving

pytestmark = pytest.mark.anyio

MB = 1_000_000


def photo(size: int = 5000) -> bytes:
    """A JPEG of some bytes, padded at its end."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 150, 130)).save(file, "JPEG")
    return file.getvalue().ljust(size, b"\0")


async def scopes(served: Served) -> list[str]:
    return await asyncio.to_thread(lambda: list(served.store.scopes(PHOTO_SCOPES)))


async def due(served: Served) -> list[str]:
    return [removal.scope for removal in await served.jobs.removals(limit=1000)]


async def nothing_left(served: Served, before: list[str]) -> None:
    """No object is there that was not before, no unfinished upload, and nothing is left for a sweep."""
    assert await scopes(served) == before
    assert await asyncio.to_thread(served.store.sweep, float("inf")) == []
    assert await due(served) == []
    assert served.gateway.uploads.taken == 0


async def test_photos_are_stored_as_they_came_and_in_their_order(served: Served, anna: httpx.AsyncClient) -> None:
    sent = [photo(5000), photo(PIECE + 1), photo(3 * PIECE)]
    answer = await anna.post("/v1/heads", files=[("photos", (f"{i}.jpg", data)) for i, data in enumerate(sent)])
    assert answer.status_code == 202
    head = answer.json()
    assert answer.headers["location"] == head["url"] == f"/v1/heads/{head['id']}"
    assert [(p["name"], p["size"], p["sha256"]) for p in head["photos"]] == [
        (f"{i}.jpg", len(data), hashlib.sha256(data).hexdigest()) for i, data in enumerate(sent)
    ]
    for data, shown in zip(sent, head["photos"], strict=True):
        key = f"{photo_scope(head['id'])}/{shown['sha256']}"
        assert (await asyncio.to_thread(served.store.open, key)).read() == data


async def test_a_photo_is_what_its_bytes_are_whatever_it_is_called(anna: httpx.AsyncClient) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "WEBP")
    answer = await anna.post("/v1/heads", files={"photos": ("me.jpg", file.getvalue(), "image/jpeg")})
    assert answer.json()["photos"][0]["media_type"] == "image/webp"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", (415, "photo_unreadable")),
        (b"GIF8", (415, "photo_unreadable")),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", (415, "photo_unreadable")),
        (b"%PDF-1.7 " + b"x" * 2 * MB, (415, "photo_unreadable")),
        (photo(25 * MB + 1), (413, "photo_too_large")),
    ],
    ids=["empty", "short", "svg", "pdf", "too-large"],
)
async def test_what_is_no_photo_or_too_large_is_refused(
    served: Served, anna: httpx.AsyncClient, content: bytes, code: tuple[int, str]
) -> None:
    before = await scopes(served)
    answer = await anna.post("/v1/heads", files=[("photos", ("ok.jpg", photo())), ("photos", ("me.jpg", content))])
    assert code_of(answer) == code
    assert answer.json()["photo"] == "me.jpg"
    await nothing_left(served, before)


async def test_a_picture_beyond_the_pixel_limit_is_refused_by_its_header(
    served: Served, anna: httpx.AsyncClient
) -> None:
    before = await scopes(served)
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (20_000).to_bytes(4, "big") + (5_001).to_bytes(4, "big")
    answer = await anna.post("/v1/heads", files={"photos": ("me.png", header + bytes(5000))})
    assert code_of(answer) == (413, "photo_too_large")
    assert (answer.json()["width"], answer.json()["height"]) == (20_000, 5_001)
    await nothing_left(served, before)


async def test_at_most_sixteen_photos_and_at_least_one(served: Served, anna: httpx.AsyncClient) -> None:
    before = await scopes(served)
    many = [("photos", (f"{i}.jpg", photo())) for i in range(17)]
    assert code_of(await anna.post("/v1/heads", files=many)) == (422, "field_invalid")
    assert code_of(await post_form(anna, "/v1/heads", form(part("name", b"x")))) == (422, "field_invalid")
    await nothing_left(served, before)
    assert (await anna.post("/v1/heads", files=many[:16])).status_code == 202


BROKEN = {
    "no form": (b'{"photos": []}', "application/json", (415, "body_type_unknown")),
    "no type": (b"photos", "", (415, "body_type_unknown")),
    "no boundary": (b"photos", "multipart/form-data", (400, "body_invalid")),
    "long boundary": (b"photos", f"multipart/form-data; boundary={'x' * 300}", (400, "body_invalid")),
    "another boundary": (b"--other\r\n\r\n--other--", FORM, (400, "body_invalid")),
    "empty": (b"", FORM, (400, "body_invalid")),
    "no parts": (form(), FORM, (422, "field_invalid")),
    "cut in a header": (part("photos", b"")[:30], FORM, (400, "body_invalid")),
    "cut in a photo": (part("photos", photo(), "me.jpg")[:-2000], FORM, (400, "body_invalid")),
    "cut before the end": (part("photos", photo(), "me.jpg"), FORM, (400, "body_invalid")),
    "no disposition": (form(b"--frontier\r\nContent-Type: image/jpeg\r\n\r\nx\r\n"), FORM, (400, "body_invalid")),
    "no name": (form(b"--frontier\r\nContent-Disposition: form-data\r\n\r\nx\r\n"), FORM, (400, "body_invalid")),
    "attachment": (
        form(b'--frontier\r\nContent-Disposition: attachment; name="photos"\r\n\r\nx\r\n'),
        FORM,
        (400, "body_invalid"),
    ),
    "encoded": (
        form(part("photos", b"aGk=", "me.jpg", "Content-Transfer-Encoding: base64")),
        FORM,
        (400, "body_invalid"),
    ),
    "long header": (form(part("photos", b"x", "m" * 5000)), FORM, (400, "body_invalid")),
    "many headers": (form(part("photos", b"x", "m", *(f"X-{i}: y" for i in range(9)))), FORM, (400, "body_invalid")),
    "bad header": (form(b"--frontier\r\nContent Disposition\r\n\r\nx\r\n"), FORM, (400, "body_invalid")),
    "a file elsewhere": (
        form(part("photos", photo(), "me.jpg"), part("other", photo(), "me.jpg")),
        FORM,
        (422, "field_invalid"),
    ),
    "many parts": (form(part("photos", photo(), "me.jpg"), *[part("name", b"x")] * 70), FORM, (422, "field_invalid")),
    "long field": (
        form(part("photos", photo(), "me.jpg"), part("name", b"x" * (MOST_FIELD_BYTES + 1))),
        FORM,
        (413, "body_too_large"),
    ),
    "no text": (form(part("photos", photo(), "me.jpg"), part("name", b"\xff\xfe")), FORM, (422, "field_invalid")),
    "two names": (
        form(part("photos", photo(), "me.jpg"), part("name", b"x"), part("name", b"y")),
        FORM,
        (422, "field_invalid"),
    ),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_broken_forms_have_named_problems_and_leave_nothing(
    served: Served, anna: httpx.AsyncClient, case: str
) -> None:
    body, content_type, code = BROKEN[case]
    before = await scopes(served)
    assert code_of(await post_form(anna, "/v1/heads", body, content_type)) == code
    await nothing_left(served, before)
    assert (await anna.get("/v1/heads")).json()["heads"] == []


async def test_a_form_that_arrives_byte_by_byte_is_the_same_form(served: Served) -> None:
    body = form(part("photos", photo(800), "me.jpg"), part("name", b"Gro\xc3\x9fmutter"))
    headers = {"authorization": f"Bearer {await served.key()}", "content-type": FORM, "content-length": str(len(body))}
    async with connection(served) as caller:
        await caller.begin("POST", "/v1/heads", headers)
        for i in range(len(body)):
            await caller.send(body[i : i + 1])
            await asyncio.sleep(0)
        answer = await caller.answer()
    assert answer.status == 202
    assert (answer.json()["name"], answer.json()["photos"][0]["size"]) == ("Großmutter", 800)


async def test_too_large_a_body_is_refused_before_it_is_sent(served: Served) -> None:
    headers = {
        "authorization": f"Bearer {await served.key()}",
        "content-type": FORM,
        "content-length": "10000000000",
        "expect": "100-continue",
    }
    async with connection(served) as caller:
        await caller.begin("POST", "/v1/heads", headers)
        answer = await caller.answer()
    # Not even "100 Continue" comes before.
    assert code_of(answer) == (413, "body_too_large")


async def test_a_body_without_a_length_is_refused_where_it_becomes_too_large(tmp_path: Path) -> None:
    async with serving(tmp_path, max_photo_bytes=2 * MB, max_photos=2) as served:
        headers = {
            "authorization": f"Bearer {await served.key()}",
            "content-type": FORM,
            "transfer-encoding": "chunked",
        }
        async with connection(served) as caller:
            await caller.begin("POST", "/v1/heads", headers)
            start = part("photos", photo(1000), "me.jpg")[:-2]
            await caller.send(b"%x\r\n%s\r\n" % (len(start), start))
            for _ in range(3):
                await caller.send(b"%x\r\n%s\r\n" % (MB, bytes(MB)))
            assert code_of(await caller.answer()) == (413, "photo_too_large")
        await nothing_left(served, [])


async def test_the_answer_to_a_refused_upload_reaches_a_caller_who_sends_on_and_the_connection_lives(
    served: Served,
) -> None:
    body = form(part("photos", b"no picture " * 3 * MB, "me.txt"))
    headers = {"authorization": f"Bearer {await served.key()}", "content-type": FORM, "content-length": str(len(body))}
    async with connection(served) as caller:
        await caller.begin("POST", "/v1/heads", headers)
        sending = asyncio.create_task(caller.send(body))
        assert code_of(await caller.answer()) == (415, "photo_unreadable")
        await sending
        await caller.begin("GET", "/healthz", {})
        assert (await caller.answer()).status == 200


@pytest.mark.parametrize("sent", [0, 100, 3 * PIECE], ids=["nothing", "some", "some-pieces"])
async def test_a_body_that_pauses_is_given_up(tmp_path: Path, sent: int) -> None:
    async with serving(tmp_path, body_pause_s=0.3) as served:
        body = form(part("photos", photo(4 * PIECE), "me.jpg"))
        headers = {
            "authorization": f"Bearer {await served.key()}",
            "content-type": FORM,
            "content-length": str(len(body)),
        }
        async with connection(served) as caller:
            await caller.begin("POST", "/v1/heads", headers)
            await caller.send(body[:sent])
            answer = await asyncio.wait_for(caller.answer(), 5)
        assert code_of(answer) == (408, "body_too_slow")
        await nothing_left(served, [])


async def test_a_body_that_trickles_is_given_up_too(tmp_path: Path) -> None:
    async with serving(tmp_path, body_pause_s=10, upload_s=0.5) as served:
        headers = {"authorization": f"Bearer {await served.key()}", "content-type": FORM, "content-length": "100000"}
        async with connection(served) as caller:
            await caller.begin("POST", "/v1/heads", headers)
            answer = asyncio.create_task(caller.answer())
            for byte in part("photos", photo(4000), "me.jpg"):
                await caller.send(bytes([byte]))
                await asyncio.sleep(0.02)
                if answer.done():
                    break
            assert code_of(await answer) == (408, "body_too_slow")
        await nothing_left(served, [])


@pytest.mark.parametrize("sent", [100, PIECE + 500, 4 * PIECE])
async def test_a_caller_who_hangs_up_leaves_nothing(served: Served, sent: int) -> None:
    before = await scopes(served)
    body = form(part("photos", photo(5 * PIECE), "me.jpg"))
    headers = {"authorization": f"Bearer {await served.key()}", "content-type": FORM, "content-length": str(len(body))}
    async with connection(served) as caller:
        await caller.begin("POST", "/v1/heads", headers)
        await caller.send(body[:sent])
        while served.gateway.uploads.taken == 0:
            await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        while served.gateway.uploads.taken or await due(served):
            await asyncio.sleep(0.01)
    await nothing_left(served, before)


async def test_uploads_beyond_the_places_are_refused_for_a_moment(tmp_path: Path) -> None:
    async with serving(tmp_path, max_uploads=2, max_uploads_per_owner=1) as served:
        keys = [await served.key() for _ in range(3)]
        body = form(part("photos", photo(), "me.jpg"))

        async def post(key: str) -> tuple[httpx.Response, str]:
            async with served.client(key) as client:
                answer = await post_form(client, "/v1/heads", body)
                return answer, answer.headers.get("retry-after", "")

        async with connection(served) as first, connection(served) as second:
            for caller, key in ((first, keys[0]), (second, keys[1])):
                headers = {"authorization": f"Bearer {key}", "content-type": FORM, "content-length": str(len(body))}
                await caller.begin("POST", "/v1/heads", headers)
                await caller.send(body[:100])
            while served.gateway.uploads.taken < 2:
                await asyncio.sleep(0.01)
            answer, retry = await post(keys[0])
            assert (code_of(answer), retry) == ((429, "quota_exceeded"), "2")
            answer, retry = await post(keys[2])
            assert (code_of(answer), retry) == ((429, "overloaded"), "2")
            for caller in (first, second):
                await caller.send(body[100:])
                assert (await caller.answer()).status == 202
        answer, _ = await post(keys[2])
        assert answer.status_code == 202


class _Full(FileStore):
    """A store whose disk is full after some bytes."""

    def put(self, scope: str, chunks: Chunks, media_type: str, *, expected_sha256: str | None = None) -> ObjectInfo:
        pieces = iter((chunks,) if isinstance(chunks, bytes) else chunks)
        if len(next(pieces)) > 10_000:
            raise StoreFull("no space left in /srv/secret")
        return super().put(scope, b"".join(pieces), media_type, expected_sha256=expected_sha256)


@pytest.mark.parametrize("size", [20_000, 5 * PIECE])
async def test_a_full_store_is_named_without_telling_where_it_is(tmp_path: Path, size: int) -> None:
    async with serving(tmp_path, store=_Full(tmp_path / "store")) as served, served.customer() as anna:
        answer = await anna.post("/v1/heads", files={"photos": ("me.jpg", photo(size))})
        assert code_of(answer) == (507, "store_full")
        assert "secret" not in answer.text
        await nothing_left(served, [])


async def test_an_upload_that_a_dead_gateway_left_is_cleared_in_time(tmp_path: Path) -> None:
    async with serving(tmp_path, jobs={"upload_s": 60}) as served:
        head_id = await served.jobs.reserve("anna")
        await asyncio.to_thread(served.store.put, photo_scope(head_id), b"photo", "image/jpeg")
    # Another process, later: what was reserved and never asked for comes up for removal.
    settings = JobSettings(database_url=f"sqlite:///{tmp_path}/jobs.sqlite3", upload_s=60)
    async with await open_jobs(settings, lambda: time.time() + 61) as jobs:
        assert photo_scope(head_id) in [r.scope for r in await jobs.removals()]


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("me.jpg", "me.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\anna\\me.jpg", "me.jpg"),
        ("a/b\\c", "c"),
        ("..", "photo 1"),
        ("", "photo 1"),
        ("/", "photo 1"),
        ("\x00\x1b[31mred\r\n.jpg", "[31mred.jpg"),
        ("Großmutter und 我.jpg", "Großmutter und 我.jpg"),
        ("\u202egpj.exe", "gpj.exe"),
        ("x" * 500, "x" * 200),
    ],
)
def test_file_names_are_only_shown(sent: str, shown: str) -> None:
    assert shown_name(sent, "photo 1") == shown
