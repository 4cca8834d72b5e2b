"""The engine in NVIDIA Triton: the same heads, the same errors, deadlines, batches and traces as in process."""

import asyncio
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tritonclient.grpc
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from threadpoolctl import threadpool_limits

from maquette.errors import (
    DeadlineExceeded,
    FaceUnusable,
    MaquetteError,
    MessageInvalid,
    MessageTooLarge,
    OptionInvalid,
    PeopleMixed,
    ServiceMismatch,
    ServiceUnavailable,
)
from maquette.pipeline import local_detector
from maquette.rooms import PhotoView, ReconstructOptions, ReconstructorRoom
from maquette.rpc.deadline import within
from maquette.rpc.work import Workers
from maquette.settings import Settings
from maquette.tritonserver import LOOPBACK, TritonServer, free_ports
from maquette.types import Photo
from services.detector.photo import load_photo
from services.reconstructor.engines.open.engine import OpenEngine
from services.reconstructor.rehearsal import drawn_view
from services.reconstructor.triton import TritonEngine, TritonSettings

OPTIONS = ReconstructOptions()
QUICK = ReconstructOptions(detail=False, hair="none")


@pytest.fixture(scope="module")
def local() -> Iterator[OpenEngine]:
    """The engine as ``maquette.pipeline`` runs it: with one thread of linear algebra, on which its last bits depend."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield OpenEngine()


@pytest.fixture(scope="module")
def remote(triton: TritonServer) -> Iterator[TritonEngine]:
    with TritonEngine(TritonSettings(target=triton.grpc_target)) as engine:
        yield engine


@pytest.fixture(scope="module")
def views(sample: Path, settings: Settings) -> list[PhotoView]:
    """The sample photo, and the same person smaller and in another light."""
    photo = load_photo(sample, settings=settings)
    darker = np.asarray(photo.pixels * 0.8, np.uint8)
    smaller = cv2.resize(photo.pixels, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
    detector = local_detector(settings)
    made = []
    for pixels in (photo.pixels, np.asarray(smaller, np.uint8), darker):
        each = replace(photo, pixels=pixels)
        face = detector.detect(each)[0]
        made.append(PhotoView(each, face, detector.mask(each, face)))
    return made


def differences(a: Any, b: Any, path: str = "head") -> Iterator[str]:
    """Where two heads differ, in a bit of an array or in anything else."""
    if is_dataclass(a) and type(a) is type(b):
        for field in fields(a):
            yield from differences(getattr(a, field.name), getattr(b, field.name), f"{path}.{field.name}")
    elif isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from differences(x, y, f"{path}[{i}]")
    elif isinstance(a, np.ndarray):
        same = isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape
        if not same or a.tobytes() != b.tobytes():
            yield path
    elif a != b:
        yield path


def changed(view: PhotoView, **face: Any) -> PhotoView:
    return replace(view, face=replace(view.face, **face))


def raised_by(call: Callable[[], Any]) -> MaquetteError:
    with pytest.raises(MaquetteError) as caught:
        call()
    return caught.value


def done(triton: TritonServer, model: str) -> Any:
    """Triton's own count of what a model has done."""
    client = tritonclient.grpc.InferenceServerClient(triton.grpc_target)
    try:
        return client.get_inference_statistics(model).model_stats[0]
    finally:
        client.close()


def waiting(triton: TritonServer, model: str) -> int:
    """How many requests are in a model's queue, by Triton's metrics."""
    with urllib.request.urlopen(f"http://{LOOPBACK}:{triton.ports.metrics}/metrics", timeout=5) as page:
        text = page.read().decode()
    (count,) = re.findall(rf'^nv_inference_pending_request_count{{model="{model}",.*}} (\d+)$', text, re.MULTILINE)
    return int(count)


def test_the_engine_in_triton_is_a_reconstructor_room_that_says_it_is_ready(remote: TritonEngine) -> None:
    room: ReconstructorRoom = remote
    assert room is remote
    remote.check()


@pytest.mark.parametrize(("count", "options"), [(1, OPTIONS), (3, replace(OPTIONS, detail=False))], ids=["1", "3"])
def test_heads_are_those_made_in_process_to_the_last_bit(
    count: int, options: ReconstructOptions, local: OpenEngine, remote: TritonEngine, views: list[PhotoView]
) -> None:
    given = views[:count]
    here, there = local.coarse(given, options), remote.coarse(given, options)
    assert list(differences(here, there)) == []
    assert (there.textures, there.hair) == (None, ())
    whole_here, whole_there = local.complete(given, here, options), remote.complete(given, there, options)
    assert list(differences(whole_here, whole_there)) == []
    assert whole_there.textures is not None
    assert (whole_there.textures.displacement is not None) == options.detail
    assert whole_there.hair


def test_what_is_left_out_of_a_head_stays_out(local: OpenEngine, remote: TritonEngine, views: list[PhotoView]) -> None:
    coarse = remote.coarse(views[:1], QUICK)
    whole = remote.complete(views[:1], coarse, QUICK)
    assert list(differences(local.complete(views[:1], coarse, QUICK), whole)) == []
    assert whole.textures is not None
    assert (whole.textures.displacement, whole.textures.normal) == (None, None)
    whole.neutral[0] = 0.0  # whoever gets a head may change it


def test_refusals_are_those_of_the_engine_in_process(
    local: OpenEngine, remote: TritonEngine, views: list[PhotoView]
) -> None:
    view = views[0]
    coarse = local.coarse([view], OPTIONS)
    stranger = drawn_view()
    calls: list[tuple[type[MaquetteError], Callable[[ReconstructorRoom], Any]]] = [
        (FaceUnusable, lambda room: room.coarse([changed(view, yaw=73.0)], OPTIONS)),
        (FaceUnusable, lambda room: room.coarse([changed(view, landmarks=view.face.landmarks[::-1].copy())], OPTIONS)),
        (PeopleMixed, lambda room: room.coarse([view, stranger], OPTIONS)),
        (OptionInvalid, lambda room: room.coarse([], OPTIONS)),
        (OptionInvalid, lambda room: room.complete(views, coarse, OPTIONS)),
        (OptionInvalid, lambda room: room.complete([view], coarse, replace(OPTIONS, hair="no such style"))),
    ]
    for kind, call in calls:
        here, there = raised_by(lambda: call(local)), raised_by(lambda: call(remote))  # noqa: B023
        assert type(here) is type(there) is kind
        assert (str(there), there.detail) == (str(here), here.detail)


Corrupt = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.mark.parametrize(
    ("corrupt", "says"),
    [
        (
            lambda t: {**t, "landmarks": (t["landmarks"][0][:, :10],)},
            r"'landmarks'.*Expected \[-1,-1,478,3\], got \[1,1,10,3\]",
        ),
        (lambda t: {**t, "landmarks": (t["landmarks"][0].astype(np.float64),)}, "landmarks.*FP64.*FP32"),
        (lambda t: {**t, "pixels": (t["pixels"][0][:-3],)}, "expected tensor pixels to hold 512x512x3, found 786429"),
        (lambda t: {**t, "masks": (t["masks"][0][:7],)}, "expected tensor masks to hold 256x256, found 7"),
        (lambda t: {**t, "boxes": (t["boxes"][0], t["boxes"][0])}, r"landmarks to be FP32 \[N, 478, 3\] with N = 2"),
        (lambda t: {k: v for k, v in t.items() if k != "canonical"}, r"missing required input\(s\) \['canonical'\]"),
        (lambda t: {**t, "views_header": (np.frombuffer(b"{", np.uint8),)}, "found no JSON object"),
        (lambda t: {**t, "views_header": (np.full(9, 255, np.uint8),)}, "found no JSON object"),
        (lambda t: {**t, "extra": t["boxes"]}, "got 9 inputs.*'extra'"),
    ],
    ids=["shape", "type", "pixels", "mask", "counts", "missing", "header", "no text", "unknown"],
)
def test_wrong_tensors_are_refused_by_name_and_harm_nobody(
    corrupt: Corrupt, says: str, remote: TritonEngine, views: list[PhotoView], monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.reconstructor import triton as client

    pack = client.views_to_tensors
    with monkeypatch.context() as patch:
        patch.setattr(client, "views_to_tensors", lambda *a: corrupt(pack(*a)))
        with pytest.raises(MessageInvalid, match=says):
            remote.coarse(views[:1], OPTIONS)
    assert remote.coarse(views[:1], OPTIONS).textures is None


def test_arrays_that_do_not_belong_in_a_view_do_not_leave_the_caller(
    remote: TritonEngine, views: list[PhotoView]
) -> None:
    wrong = changed(views[0], landmarks=views[0].face.landmarks[:468])
    with pytest.raises(MessageInvalid, match=r"landmarks to be FP32 \[N, 478, 3\].*found float32 \[1, 468, 3\]"):
        remote.coarse([wrong], OPTIONS)


def test_callers_of_another_release_are_refused(
    remote: TritonEngine, views: list[PhotoView], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.reconstructor.packing.version", lambda: "0.0.1")
    with pytest.raises(ServiceMismatch, match=r"maquette \d.*found 0\.0\.1"):
        remote.coarse(views[:1], OPTIONS)


def test_a_server_that_speaks_another_format_is_refused(
    triton: TritonServer, views: list[PhotoView], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.reconstructor.triton.FORMAT", "maquette-tensors/0")
    with (
        TritonEngine(TritonSettings(target=triton.grpc_target)) as engine,
        pytest.raises(ServiceMismatch, match="to speak maquette-tensors/0, found maquette-tensors/1"),
    ):
        engine.coarse(views[:1], OPTIONS)


def test_an_engine_that_the_server_has_not_is_named(triton: TritonServer) -> None:
    with (
        TritonEngine(TritonSettings(target=triton.grpc_target), "none") as engine,
        pytest.raises(ServiceMismatch, match="unknown model: 'none'"),
    ):
        engine.coarse([drawn_view()], OPTIONS)


def test_where_nobody_answers_the_service_is_unavailable(views: list[PhotoView]) -> None:
    target = f"127.0.0.1:{free_ports().grpc}"
    with (
        TritonEngine(TritonSettings(target=target, max_attempts=1)) as engine,
        pytest.raises(ServiceUnavailable, match=target),
    ):
        engine.coarse(views[:1], OPTIONS)


def test_a_request_beyond_the_limit_is_not_sent(triton: TritonServer, views: list[PhotoView]) -> None:
    settings = TritonSettings(target=triton.grpc_target, max_message_bytes=1 << 20)
    with TritonEngine(settings) as engine, pytest.raises(MessageTooLarge, match=r"at most 1 MB.*1 MB of them pixels"):
        engine.coarse(views[:1], OPTIONS)


def test_a_deadline_is_kept(remote: TritonEngine, views: list[PhotoView]) -> None:
    coarse = remote.coarse(views[:1], OPTIONS)
    start = time.monotonic()
    with within(0.2), pytest.raises(DeadlineExceeded):
        remote.complete(views[:1], coarse, OPTIONS)
    assert time.monotonic() - start < 1.0
    remote.check()


def test_work_that_nobody_waits_for_is_given_up_and_what_waits_is_never_begun(
    triton: TritonServer, remote: TritonEngine, views: list[PhotoView]
) -> None:
    coarse = remote.coarse(views[:1], OPTIONS)
    remote.complete(views[:1], coarse, QUICK)  # what earlier tests gave up has ended when this has
    time.sleep(0.1)  # and Triton has counted it
    before = done(triton, "open_complete").inference_stats

    async def give_up() -> None:
        workers = Workers(2)
        first = asyncio.create_task(workers.run(remote.complete, views[:1], coarse, OPTIONS))
        await asyncio.sleep(0.3)  # so that this one is the first there too
        second = asyncio.create_task(workers.run(remote.complete, views[:1], coarse, OPTIONS))
        while not first.done() and waiting(triton, "open_complete") == 0:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)  # Triton overlooks who hangs up in the very moment of arriving
        second.cancel()
        start = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert time.monotonic() - start < 0.5
        await first
        await asyncio.to_thread(workers.close)

    asyncio.run(give_up())
    remote.complete(views[:1], coarse, QUICK)
    end = time.monotonic() + 5
    while (after := done(triton, "open_complete").inference_stats).success.count < before.success.count + 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert after.success.count == before.success.count + 2
    assert after.fail.count == before.fail.count + 1


def test_photos_of_any_size_meet_in_a_batch_and_each_gets_its_own_head(
    triton: TritonServer, local: OpenEngine, remote: TritonEngine, views: list[PhotoView]
) -> None:
    asked = [views[k % 3 : k % 3 + 1 + k % 2] for k in range(6)]
    expected = [local.coarse(a, OPTIONS) for a in asked] * 4
    with ThreadPoolExecutor(8) as pool:
        heads = list(pool.map(lambda given: remote.coarse(given, OPTIONS), asked * 4))
    for here, there in zip(expected, heads, strict=True):
        assert list(differences(here, there)) == []
    assert max(b.batch_size for b in done(triton, "open").batch_stats) > 1


def test_the_trace_of_the_caller_reaches_the_model(
    triton: TritonServer, remote: TritonEngine, views: list[PhotoView]
) -> None:
    context = SpanContext(0x1234567890ABCDEF1234567890ABCDEF, 0x1234567890ABCDEF, True, TraceFlags(1))
    with trace.use_span(NonRecordingSpan(context)):
        remote.coarse(views[:1], OPTIONS)
    wanted = "trace 00-1234567890abcdef1234567890abcdef-1234567890abcdef-01"
    end = time.monotonic() + 5
    while wanted not in triton.log and time.monotonic() < end:
        time.sleep(0.05)
    (line,) = [x for x in triton.log.splitlines() if wanted in x]
    assert "open: ok in" in line
    assert views[0].photo.name not in triton.log


def test_a_hundred_megapixels_pass(remote: TritonEngine, local: OpenEngine, views: list[PhotoView]) -> None:
    view = views[0]
    side = 10_000
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[: view.photo.height, : view.photo.width] = view.photo.pixels
    large = replace(view, photo=Photo(pixels, None, "large.png", view.photo.sha256))
    assert list(differences(local.coarse([large], OPTIONS), remote.coarse([large], OPTIONS))) == []


def test_photos_that_no_message_can_carry_are_refused_with_their_size(
    remote: TritonEngine, views: list[PhotoView]
) -> None:
    pixels = np.zeros((10_000, 10_000, 3), np.uint8)
    large = replace(views[0], photo=replace(views[0].photo, pixels=pixels))
    with pytest.raises(MessageTooLarge, match="2400 MB of them pixels"):
        remote.coarse([large] * 8, OPTIONS)
