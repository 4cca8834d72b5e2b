import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

from maquette import wire
from maquette.errors import MessageInvalid, MessageTooLarge, ObjectCorrupt, ObjectMissing, OptionInvalid
from maquette.events import Stage
from maquette.headfile import encode_head
from maquette.result import Result
from maquette.rooms import ReconstructOptions
from maquette.store import FileStore
from maquette.types import Caution, Face, Quality, Verdict
from maquette.v1 import common_pb2 as pb

SCOPE = "heads/head_x7"


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


@pytest.fixture(scope="module")
def face(result: Result) -> Face:
    return result.views[0].face


def test_small_payloads_travel_inline_and_need_no_store() -> None:
    data = bytes(wire.INLINE_LIMIT)
    blob = wire.blob_message(data, "text/plain")
    assert blob.WhichOneof("payload") == "inline"
    assert wire.bytes_of(blob, media_type="text/plain", limit=wire.INLINE_LIMIT) == data


def test_large_payloads_travel_by_reference(store: FileStore) -> None:
    data = bytes(wire.INLINE_LIMIT + 1)
    blob = wire.blob_message(data, "text/plain", store, SCOPE)
    assert blob.reference.key == f"{SCOPE}/{hashlib.sha256(data).hexdigest()}"
    assert blob.reference.size == len(data)
    assert wire.bytes_of(blob, store) == data
    assert blob.ByteSize() < 300


def test_a_large_payload_without_a_place_to_go_is_refused(store: FileStore) -> None:
    for arguments in ((None, SCOPE), (store, "")):
        with pytest.raises(MessageTooLarge, match="2000000"):
            wire.blob_message(bytes(wire.INLINE_LIMIT + 1), "text/plain", *arguments)


def test_blobs_that_contradict_themselves_are_named(store: FileStore) -> None:
    good = wire.blob_message(b"abc", "text/plain")
    large = wire.blob_message(bytes(3_000_000), "text/plain", store, SCOPE)
    other = wire.blob_message(b"x" * 3_000_000, "text/plain", store, SCOPE)

    def changed(blob: pb.Blob, **changes: object) -> pb.Blob:
        copy = pb.Blob()
        copy.CopyFrom(blob)
        copy.MergeFrom(pb.Blob(**changes))
        return copy

    cases: list[tuple[pb.Blob, type[Exception], str]] = [
        (pb.Blob(media_type="text/plain"), MessageInvalid, "found neither"),
        (changed(good, sha256="0" * 64), ObjectCorrupt, "sha256 000"),
        (changed(good, media_type="image/png"), MessageInvalid, "found image/png"),
        (changed(large, sha256=other.sha256), MessageInvalid, "one to another"),
        (changed(large, reference=pb.Reference(size=5)), MessageInvalid, "expected an object of 5 bytes"),
        (changed(large, reference=pb.Reference(key=f"heads/other/{large.sha256}")), ObjectMissing, "other"),
    ]
    for blob, kind, message in cases:
        with pytest.raises(kind, match=message):
            wire.bytes_of(blob, store, media_type="text/plain")
    with pytest.raises(MessageInvalid, match="no object store here"):
        wire.bytes_of(large)
    for blob in (good, large):
        with pytest.raises(MessageTooLarge, match="at most 2 bytes"):
            wire.bytes_of(blob, store, limit=2)


def test_a_reference_cannot_climb_out_of_the_store(store: FileStore) -> None:
    for key in ("../../etc/passwd", "/etc/passwd", "heads/../x/" + "0" * 64):
        blob = pb.Blob(reference=pb.Reference(key=key, size=1), sha256=key.rpartition("/")[2], media_type="a/b")
        with pytest.raises(OptionInvalid, match="expected a key KIND/ID/SHA256"):
            wire.bytes_of(blob, store)


def test_a_face_comes_back_to_the_last_bit(face: Face) -> None:
    message = pb.Face.FromString(wire.face_message(face).SerializeToString())
    back = wire.face_of(message)
    for field in dataclasses.fields(Face):
        a, b = getattr(face, field.name), getattr(back, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)
        else:
            assert a == b
    assert wire.face_message(back).SerializeToString(deterministic=True) == message.SerializeToString(
        deterministic=True
    )


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_travels(verdict: Verdict) -> None:
    quality = Quality(verdict, ("too_small",), {"size_px": 108.25, "blur": 0.5})
    assert wire.quality_of(wire.quality_message(quality)) == quality


def test_faces_that_are_none_are_named(face: Face) -> None:
    def message(**changes: object) -> pb.Face:
        made = wire.face_message(face)
        for name, value in changes.items():
            made.ClearField(name)
            made.MergeFrom(pb.Face(**{name: value}))
        return made

    cases = [
        (message(box=[1, 2, 3]), "expected 4 values in box, found 3"),
        (message(landmarks=[0.0] * 1431), "expected 1434 values in landmarks, found 1431"),
        (message(canonical=[float("nan")] * 1434), "canonical to be finite, found 1434"),
        (message(score=float("inf")), "score of a face to be finite"),
        (message(quality=pb.Quality()), "expected verdict to be one of good, fair, poor, unusable, found 0"),
        (pb.Face(), "expected 4 values in box, found 0"),
    ]
    for made, text in cases:
        with pytest.raises(MessageInvalid, match=text) as caught:
            wire.face_of(made)
        assert caught.value.detail["field"]


def test_a_view_and_a_head_travel_whole(result: Result, store: FileStore) -> None:
    view = result.views[0]
    back = wire.view_of(pb.View.FromString(wire.view_message(view, store, SCOPE).SerializeToString()), store)
    assert np.array_equal(back.photo.pixels, view.photo.pixels)
    assert np.array_equal(back.mask.alpha, view.mask.alpha)
    message = wire.head_message(result.head, store, SCOPE)
    assert message.data.WhichOneof("payload") == "reference"
    assert encode_head(wire.head_of(message, store)) == encode_head(result.head)
    assert (message.engine, message.licence, message.textured) == (result.head.engine, result.head.licence, True)
    assert message.vertices == len(result.head.neutral)
    assert tuple(map(wire.caution_of, message.warnings)) == result.head.fit.warnings


def test_a_photo_is_not_taken_for_a_head(result: Result, store: FileStore) -> None:
    blob = wire.photo_message(result.views[0].photo, store, SCOPE)
    with pytest.raises(MessageInvalid, match="head"):
        wire.head_of(pb.Head(data=blob), store)


@pytest.mark.parametrize(
    "options",
    [
        ReconstructOptions(),
        ReconstructOptions("deca", "photo", 2048, False, "none", "neutral", ("stl", "glb"), 80.5),
    ],
)
def test_options_come_back_as_they_were(options: ReconstructOptions) -> None:
    message = pb.ReconstructOptions.FromString(wire.options_message(options).SerializeToString())
    assert wire.options_of(message, options.formats) == options


def test_an_empty_message_means_the_default_options() -> None:
    assert wire.options_of(pb.ReconstructOptions()) == ReconstructOptions()


def test_options_of_a_newer_caller_are_named() -> None:
    for wrong in (pb.ReconstructOptions(texture=7), pb.ReconstructOptions(expression=9)):
        message = pb.ReconstructOptions.FromString(wrong.SerializeToString())
        with pytest.raises(MessageInvalid, match="known"):
            wire.options_of(message)


def test_products_warnings_and_progress_travel(result: Result, store: FileStore) -> None:
    for product in result.products:
        message = wire.product_message(product, store, SCOPE)
        assert wire.product_of(message, store) == product
        assert message.size == len(product.data)
        assert message.data.sha256 == product.sha256
    caution = Caution("solid_failed", "no solid")
    assert wire.caution_of(wire.warning_message(caution)) == caution
    for stage in Stage:
        assert wire.progress_of(wire.progress_message(stage, 0.5)) == (stage, 0.5)
    with pytest.raises(MessageInvalid, match="stage"):
        wire.progress_of(pb.Progress())
