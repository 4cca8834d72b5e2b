"""The detector as a service."""

import io
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maquette import wire
from maquette.errors import (
    MessageInvalid,
    NetworkFilesMissing,
    NoFaceFound,
    ObjectCorrupt,
    ObjectMissing,
    OptionInvalid,
    PhotoTooLarge,
    PhotoUnreadable,
)
from maquette.photofile import encode_mask
from maquette.settings import Settings
from maquette.store import FileStore
from maquette.v1 import common_pb2 as pb
from maquette.v1 import detector_pb2 as dp
from services.detector.detector import Detector
from services.detector.photo import load_photo
from services.detector.service import LocalDetectorService
from tests.services.conftest import SCOPE, Services, Walk

pytestmark = pytest.mark.anyio


def asking(data: bytes, **how: object) -> dp.DetectRequest:
    request = dp.DetectRequest(photo=wire.blob_message(data, "application/octet-stream"), name="someone.png")
    request.MergeFrom(dp.DetectRequest(**how))  # type: ignore[arg-type]
    return request


async def test_faces_photo_and_mask_are_those_of_the_room(
    services: Services, walk: Walk, sample: Path, settings: Settings
) -> None:
    detector, photo = Detector(settings), load_photo(sample, settings=settings)
    faces = detector.detect(photo)
    assert list(walk.found.faces) == [wire.face_message(f) for f in faces]
    assert (walk.found.width, walk.found.height) == (photo.width, photo.height)
    assert walk.found.photo_sha256 == photo.sha256
    normalised = wire.photo_of(walk.found.photo, services.store)
    assert np.array_equal(normalised.pixels, photo.pixels)
    assert replace(normalised, pixels=photo.pixels) == photo
    assert wire.bytes_of(walk.view.mask, services.store) == encode_mask(detector.mask(photo, faces[0]))


async def test_without_a_scope_there_are_only_faces(services: Services, sample: Path) -> None:
    found = await services.detector.detect(asking(sample.read_bytes()))
    assert len(found.faces) == 1
    assert not found.HasField("photo")


async def test_a_large_photo_goes_through_the_scope(services: Services, sample: Path) -> None:
    large = Image.open(sample).convert("RGB").resize((1024, 1024))
    file = io.BytesIO()
    large.save(file, "JPEG")
    found = await services.detector.detect(asking(file.getvalue(), scope="heads/head_large"))
    assert found.photo.reference.key == f"heads/head_large/{found.photo.sha256}"
    masked = await services.detector.mask(dp.MaskRequest(photo=found.photo, face=found.faces[0]))
    assert masked.mask.WhichOneof("payload") == "inline"


async def test_a_photo_may_lie_in_the_store(services: Services, sample: Path) -> None:
    info = services.store.put(SCOPE, sample.read_bytes(), "image/png")
    reference = pb.Blob(reference=pb.Reference(key=info.key, size=info.size), sha256=info.sha256)
    found = await services.detector.detect(dp.DetectRequest(photo=reference))
    assert found.photo_sha256 == info.sha256
    gone = pb.Blob(reference=pb.Reference(key=f"{SCOPE}/{'0' * 64}", size=5), sha256="0" * 64)
    with pytest.raises(ObjectMissing):
        await services.detector.detect(dp.DetectRequest(photo=gone))


async def test_bytes_that_are_not_what_they_claim_are_refused(services: Services, sample: Path) -> None:
    for photo, error in (
        (pb.Blob(), MessageInvalid),
        (pb.Blob(inline=sample.read_bytes(), sha256="0" * 64), ObjectCorrupt),
        (pb.Blob(reference=pb.Reference(key="../../etc/passwd", size=5), sha256="passwd"), OptionInvalid),
        (pb.Blob(reference=pb.Reference(key=f"{SCOPE}/{'0' * 64}", size=5), sha256="1" * 64), MessageInvalid),
    ):
        with pytest.raises(error):
            await services.detector.detect(dp.DetectRequest(photo=photo))


async def test_a_picture_without_a_face_is_named(services: Services, blank: Path) -> None:
    with pytest.raises(NoFaceFound, match=r"someone\.png") as caught:
        await services.detector.detect(asking(blank.read_bytes()))
    assert caught.value.detail["photo"] == "someone.png"


async def test_what_is_no_picture_is_refused(services: Services, sample: Path) -> None:
    for data in (b"", b"%PDF-1.7", sample.read_bytes()[:5000]):
        with pytest.raises(PhotoUnreadable):
            await services.detector.detect(asking(data))


async def test_the_callers_limits_hold(services: Services, sample: Path) -> None:
    data = sample.read_bytes()
    for limits in (dp.Limits(max_bytes=len(data) - 1), dp.Limits(max_pixels=512 * 512 - 1)):
        with pytest.raises(PhotoTooLarge):
            await services.detector.detect(asking(data, limits=limits))
    exact = dp.Limits(max_bytes=len(data), max_pixels=512 * 512)
    assert len((await services.detector.detect(asking(data, limits=exact))).faces) == 1


async def test_a_caller_cannot_raise_the_services_limits(settings: Settings, sample: Path, tmp_path: Path) -> None:
    low = settings.model_copy(update={"max_pixels": 1000})
    service = LocalDetectorService(FileStore(tmp_path), low)
    try:
        with pytest.raises(PhotoTooLarge):
            await service.detect(asking(sample.read_bytes(), limits=dp.Limits(max_pixels=10**9)))
    finally:
        service.close()


async def test_a_large_photo_is_refused_before_it_is_fetched(services: Services) -> None:
    nowhere = pb.Blob(reference=pb.Reference(key=f"{SCOPE}/{'0' * 64}", size=10**12), sha256="0" * 64)
    with pytest.raises(PhotoTooLarge, match="1,000,000,000,000 bytes"):
        await services.detector.detect(dp.DetectRequest(photo=nowhere))


async def test_a_face_that_is_none_is_refused(services: Services, walk: Walk) -> None:
    short, endless = pb.Face(), pb.Face()
    short.CopyFrom(walk.view.face)
    del short.landmarks[-1]
    endless.CopyFrom(walk.view.face)
    endless.landmarks[5] = float("inf")
    for face in (pb.Face(), short, endless):
        with pytest.raises(MessageInvalid):
            await services.detector.mask(dp.MaskRequest(photo=walk.found.photo, face=face))
    with pytest.raises(MessageInvalid, match="expected a blob of"):
        await services.detector.mask(dp.MaskRequest(photo=walk.view.mask, face=walk.view.face))


@pytest.mark.parametrize("scale", [1e-30, 1e6, 1e30])
async def test_a_face_of_an_absurd_size_brings_nothing_down(services: Services, walk: Walk, scale: float) -> None:
    face = pb.Face()
    face.CopyFrom(walk.view.face)
    face.landmarks[:] = [x * scale for x in walk.view.face.landmarks]
    with pytest.raises(MessageInvalid, match="landmarks of a face"):
        await services.detector.mask(dp.MaskRequest(photo=walk.found.photo, face=face))


async def test_nothing_is_logged_of_a_photo(
    services: Services, sample: Path, blank: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="maquette"), caplog.at_level(logging.DEBUG, logger="services"):
        await services.detector.detect(asking(sample.read_bytes()))
        with pytest.raises(NoFaceFound):
            await services.detector.detect(asking(blank.read_bytes()))
        with pytest.raises(PhotoUnreadable):
            await services.detector.detect(asking(b"nothing"))
    assert "someone" not in "".join(f"{r.getMessage()} {r.__dict__}" for r in caplog.records)


async def test_networks_that_are_missing_are_named(tmp_path: Path, sample: Path) -> None:
    service = LocalDetectorService(FileStore(tmp_path / "store"), Settings(home=tmp_path / "home"))
    try:
        for call in (service.warm_up(), service.detect(asking(sample.read_bytes()))):
            with pytest.raises(NetworkFilesMissing, match="maquette setup"):
                await call
    finally:
        service.close()
