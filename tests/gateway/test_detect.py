"""Faces in a photo, at once: the real detector, in this process and over gRPC."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from PIL import Image

from maquette import pipeline
from maquette.errors import Overloaded, ServiceUnavailable
from maquette.report import face_json
from maquette.rpc import servicers
from maquette.rpc.remote import RemoteDetector
from maquette.rpc.server import RpcServer
from maquette.rpc.settings import ClientSettings, ServerSettings
from maquette.services import DetectorService
from maquette.settings import Settings
from maquette.store import FileStore, ObjectStore
from maquette.v1.detector_pb2 import DetectRequest, DetectResponse, MaskRequest, MaskResponse
from maquette.wire import INLINE_LIMIT
from services.detector.service import LocalDetectorService
from tests.gateway.callers import code_of
from tests.gateway.serving import Served, serving
from tests.gateway.test_uploads import nothing_left, photo, scopes

pytestmark = pytest.mark.anyio


async def look(client: httpx.AsyncClient, data: bytes, name: str = "me.jpg") -> httpx.Response:
    return await client.post("/v1/detect", files={"photo": (name, data)})


def large(path: Path) -> bytes:
    """The same picture in a file that no message holds."""
    file = io.BytesIO()
    Image.open(path).convert("RGB").resize((1600, 1600)).save(file, "BMP")
    assert len(file.getvalue()) > INLINE_LIMIT
    return file.getvalue()


async def test_the_faces_are_those_that_the_detector_finds(
    anna: httpx.AsyncClient, group: Path, settings: Settings
) -> None:
    answer = await look(anna, group.read_bytes())
    assert answer.status_code == 200
    (picture,) = pipeline.read_photos([group], settings)
    faces = pipeline.detect(pipeline.local_detector(settings), picture)
    assert answer.json() == {
        "sha256": picture.sha256,
        "width": picture.width,
        "height": picture.height,
        "faces": [{"number": i, **face_json(face)} for i, face in enumerate(faces, 1)],
    }
    assert len(faces) == 2


async def test_a_large_photo_goes_through_the_store_and_is_not_kept(
    served: Served, anna: httpx.AsyncClient, sample: Path
) -> None:
    before = await scopes(served)
    answer = await look(anna, large(sample))
    assert (answer.status_code, len(answer.json()["faces"])) == (200, 1)
    await nothing_left(served, before)


async def test_a_photo_without_a_face_is_named(served: Served, anna: httpx.AsyncClient, blank: Path) -> None:
    before = await scopes(served)
    answer = await look(anna, blank.read_bytes(), "wall.png")
    assert code_of(answer) == (422, "no_face_found")
    assert answer.json()["photo"] == "wall.png"
    assert code_of(await look(anna, large(blank))) == (422, "no_face_found")
    await nothing_left(served, before)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"text", (415, "photo_unreadable")),
        (photo()[:200], (415, "photo_unreadable")),
        (b"", (415, "photo_unreadable")),
    ],
    ids=["text", "damaged", "empty"],
)
async def test_what_is_no_photo_is_named(anna: httpx.AsyncClient, data: bytes, code: tuple[int, str]) -> None:
    assert code_of(await look(anna, data)) == code


async def test_one_photo_and_nothing_else(anna: httpx.AsyncClient) -> None:
    file = ("me.jpg", photo())
    assert code_of(await anna.post("/v1/detect", files=[("photo", file)] * 2)) == (422, "field_invalid")
    assert code_of(await anna.post("/v1/detect", files={"photos": file})) == (422, "field_invalid")
    assert code_of(await anna.post("/v1/detect", files={"photo": file}, data={"face": "1"})) == (422, "field_invalid")
    assert code_of(await anna.post("/v1/detect", data={"face": "1"})) == (415, "body_type_unknown")


@asynccontextmanager
async def remote(store: ObjectStore) -> AsyncIterator[RemoteDetector]:
    """The detector over gRPC."""
    local = LocalDetectorService(store, Settings())
    server = RpcServer(ServerSettings(drain_delay_seconds=0), [servicers.detector(local)])
    await server.start()
    await server.set_serving(True)
    try:
        async with RemoteDetector(ClientSettings(target=f"127.0.0.1:{server.port}", max_attempts=1)) as client:
            yield client
    finally:
        await server.stop()
        await asyncio.to_thread(local.close)


async def test_over_grpc_the_answers_are_the_same(
    anna: httpx.AsyncClient, sample: Path, blank: Path, tmp_path: Path
) -> None:
    store = FileStore(tmp_path / "store")
    async with (
        remote(store) as detector,
        serving(tmp_path, store=store, detector=detector) as served,
        served.customer() as bert,
    ):
        for data in (sample.read_bytes(), large(sample), blank.read_bytes(), photo()[:200]):
            theirs, ours = await look(bert, data), await look(anna, data)
            # Each request has its own trace.
            assert (theirs.status_code, theirs.json() | {"trace_id": ""}) == (
                ours.status_code,
                ours.json() | {"trace_id": ""},
            )
        await nothing_left(served, [])


class _Detector:
    """A detector that does as it is told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.go = asyncio.Event()
        self.running = 0

    async def detect(self, request: DetectRequest) -> DetectResponse:
        if self.error is not None:
            raise self.error
        self.running += 1
        try:
            await self.go.wait()
        finally:
            self.running -= 1
        return DetectResponse(photo_sha256="0" * 64, width=1, height=1)

    async def mask(self, request: MaskRequest) -> MaskResponse:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("error", "code", "retry"),
    [
        (ServiceUnavailable("the detector at 10.0.0.7 does not answer"), (503, "service_unavailable"), "5"),
        (Overloaded("one more", retry_after_seconds=7), (429, "overloaded"), "7"),
        (ValueError("secret"), (500, "internal"), None),
    ],
)
async def test_a_detector_that_fails_is_a_problem_that_tells_no_secrets(
    tmp_path: Path, error: Exception, code: tuple[int, str], retry: str | None
) -> None:
    detector: DetectorService = _Detector(error)
    async with serving(tmp_path, detector=detector) as served, served.customer() as anna:
        answer = await look(anna, photo())
        assert code_of(answer) == code
        assert answer.headers.get("retry-after") == retry
        assert "10.0.0.7" not in answer.text
        assert "secret" not in answer.text


async def test_a_detector_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    detector = _Detector()
    async with serving(tmp_path, detector=detector, detect_s=0.2) as served, served.customer() as anna:
        assert code_of(await look(anna, photo())) == (504, "deadline_exceeded")
        assert detector.running == 0


async def test_more_than_can_be_looked_at_wait_and_more_than_can_wait_are_refused(tmp_path: Path) -> None:
    detector = _Detector()
    async with (
        serving(tmp_path, detector=detector, max_detects=1, max_detects_waiting=1) as served,
        served.customer() as anna,
    ):
        looked = [asyncio.create_task(look(anna, photo())) for _ in range(2)]
        async with asyncio.timeout(5):
            while not (served.gateway.detects.running == 1 and served.gateway.detects.waiting == 1):
                await asyncio.sleep(0.01)
        answer = await look(anna, photo())
        assert code_of(answer) == (429, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        detector.go.set()
        assert [(await task).status_code for task in looked] == [200, 200]
