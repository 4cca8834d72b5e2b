"""The reconstructor as a service."""

import asyncio
import time

import numpy as np
import pytest

from maquette import wire
from maquette.errors import (
    DeadlineExceeded,
    FaceUnusable,
    MessageInvalid,
    ObjectMissing,
    OptionInvalid,
    ServiceUnavailable,
)
from maquette.headfile import encode_head
from maquette.headmodel import load_head_model
from maquette.pipeline import local_rooms
from maquette.rooms import ReconstructOptions
from maquette.rpc.deadline import within
from maquette.settings import Settings
from maquette.tritonserver import TritonServer, free_ports
from maquette.types import Mask
from maquette.v1 import common_pb2 as pb
from maquette.v1 import reconstructor_pb2 as rp
from services.reconstructor.service import LocalReconstructorService
from services.reconstructor.settings import ReconstructorSettings
from tests.services.conftest import SCOPE, Services, Walk

pytestmark = pytest.mark.anyio

QUICK = pb.ReconstructOptions(detail=False, hair="none")


def with_face(view: pb.View, **changes: float) -> pb.View:
    changed = pb.View()
    changed.CopyFrom(view)
    for name, value in changes.items():
        setattr(changed.face, name, value)
    return changed


async def test_a_coarse_head_is_the_engines(services: Services, walk: Walk, settings: Settings) -> None:
    view = wire.view_of(walk.view, services.store)
    expected = local_rooms(settings).reconstructor.coarse([view], ReconstructOptions())
    assert wire.bytes_of(walk.coarse.data, services.store) == encode_head(expected)
    assert [w.code for w in walk.coarse.warnings] == [c.code for c in expected.fit.warnings]


async def test_options_reach_the_engine(services: Services, walk: Walk, settings: Settings) -> None:
    request = rp.CompleteRequest(views=[walk.view], coarse=walk.coarse, options=QUICK, scope=SCOPE)
    head = wire.head_of((await services.reconstructor.complete(request)).head, services.store)
    assert head.hair == ()
    assert head.textures is not None
    assert head.textures.displacement is None


async def test_the_engines_are_listed_with_their_terms(services: Services) -> None:
    (engine,) = (await services.reconstructor.list_engines(rp.ListEnginesRequest())).engines
    model = load_head_model()
    assert engine.name == "open"
    assert engine.available
    assert engine.unavailable_reason == ""
    assert engine.commercial_use
    assert "Apache-2.0" in engine.licence
    assert (engine.topology, engine.topology_version) == (model.topology, model.version)
    assert engine.max_views == 16


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (pb.ReconstructOptions(engine="closed"), "engine"),
        (pb.ReconstructOptions(texture_size=7), "texture size"),
        (pb.ReconstructOptions(size_mm=-1), "size"),
        (pb.ReconstructOptions(size_mm=float("nan")), "size"),
    ],
)
async def test_options_out_of_their_range_are_refused(
    services: Services, walk: Walk, options: pb.ReconstructOptions, expected: str
) -> None:
    with pytest.raises(OptionInvalid, match=expected):
        await services.reconstructor.coarse(rp.CoarseRequest(views=[walk.view], options=options))
    with pytest.raises(OptionInvalid, match=expected):
        request = rp.CompleteRequest(views=[walk.view], coarse=walk.coarse, options=options)
        await services.reconstructor.complete(request)


async def test_an_unknown_enum_and_an_unknown_hair_are_refused(services: Services, walk: Walk) -> None:
    with pytest.raises(MessageInvalid, match="expression"):
        options = pb.ReconstructOptions(expression=77)  # type: ignore[arg-type]
        await services.reconstructor.coarse(rp.CoarseRequest(views=[walk.view], options=options))
    with pytest.raises(OptionInvalid, match="mohawk"):
        options = pb.ReconstructOptions(hair="mohawk")
        await services.reconstructor.complete(
            rp.CompleteRequest(views=[walk.view], coarse=walk.coarse, options=options, scope=SCOPE)
        )


@pytest.mark.parametrize("count", [0, 17])
async def test_too_few_and_too_many_photos_are_refused(services: Services, walk: Walk, count: int) -> None:
    with pytest.raises(OptionInvalid, match=f"1 to 16 photos of one person, found {count}"):
        await services.reconstructor.coarse(rp.CoarseRequest(views=[walk.view] * count))


async def test_other_views_than_the_heads_are_refused(services: Services, walk: Walk) -> None:
    with pytest.raises(OptionInvalid, match="expected the 1 views"):
        await services.reconstructor.complete(rp.CompleteRequest(views=[walk.view] * 2, coarse=walk.coarse))


async def test_a_face_turned_away_is_named_with_its_photo(services: Services, walk: Walk) -> None:
    with pytest.raises(FaceUnusable, match="found 70°") as caught:
        await services.reconstructor.coarse(rp.CoarseRequest(views=[with_face(walk.view, yaw_degrees=70)]))
    assert caught.value.detail == {"photo": "astronaut.png", "yaw": 70.0}


@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e9, 1e30])
async def test_landmarks_that_are_no_face_are_refused_by_name(services: Services, walk: Walk, scale: float) -> None:
    view = pb.View()
    view.CopyFrom(walk.view)
    view.face.landmarks[:] = [x * scale for x in walk.view.face.landmarks]
    with pytest.raises(MessageInvalid, match="landmarks of a face"):
        await services.reconstructor.coarse(rp.CoarseRequest(views=[view]))


async def test_a_mask_that_is_none_is_refused(services: Services, walk: Walk) -> None:
    mask = wire.mask_of(walk.view.mask, services.store)
    for changed in (
        Mask(mask.alpha * np.float32("nan"), mask.to_crop),
        Mask(mask.alpha + 2, mask.to_crop),
        Mask(mask.alpha[:0, :0], mask.to_crop),
        Mask(mask.alpha, mask.to_crop * 0),
        Mask(mask.alpha, mask.to_crop * np.inf),
    ):
        view = pb.View(photo=walk.view.photo, face=walk.view.face, mask=wire.mask_message(changed, None, ""))
        with pytest.raises(MessageInvalid, match="mask"):
            await services.reconstructor.coarse(rp.CoarseRequest(views=[view]))


async def test_a_face_that_nobody_has_is_unusable(services: Services, walk: Walk) -> None:
    view = pb.View()
    view.CopyFrom(walk.view)
    points = np.array(view.face.landmarks).reshape(-1, 3)
    points[:, 0] = points[np.random.default_rng(0).permutation(len(points)), 0]
    view.face.landmarks[:] = points.ravel().tolist()
    with pytest.raises(FaceUnusable, match="hardly a face"):
        await services.reconstructor.coarse(rp.CoarseRequest(views=[view]))


async def test_a_head_that_is_none_is_refused(services: Services, walk: Walk) -> None:
    data = wire.bytes_of(walk.coarse.data)
    damaged = [
        pb.Head(),
        pb.Head(data=wire.blob_message(data[:-100], walk.coarse.data.media_type)),
        pb.Head(data=wire.blob_message(b"PK\x03\x04", walk.coarse.data.media_type)),
        pb.Head(data=wire.blob_message(data, "application/python-pickle")),
    ]
    for head in damaged:
        with pytest.raises(MessageInvalid):
            await services.reconstructor.complete(rp.CompleteRequest(views=[walk.view], coarse=head))


async def test_an_object_that_is_gone_is_named(services: Services, walk: Walk) -> None:
    gone = pb.Blob(
        reference=pb.Reference(key=f"{SCOPE}/{'0' * 64}", size=5),
        sha256="0" * 64,
        media_type=walk.view.photo.media_type,
    )
    view = pb.View(photo=gone, face=walk.view.face, mask=walk.view.mask)
    with pytest.raises(ObjectMissing):
        await services.reconstructor.coarse(rp.CoarseRequest(views=[view]))


async def test_work_whose_caller_has_gone_is_given_up(local: Services, walk: Walk) -> None:
    service = local.reconstructor
    request = rp.CoarseRequest(views=[walk.view])
    waiting = [asyncio.create_task(service.coarse(request)) for _ in range(20)]
    await asyncio.sleep(0.05)
    start = time.perf_counter()
    left = [task for task in waiting if not task.done()]
    assert len(left) > 10  # on a slow loop the first fits may be over
    for task in left:
        task.cancel()
    results = await asyncio.gather(*left, return_exceptions=True)
    assert [r for r in results if not isinstance(r, asyncio.CancelledError)] == []
    # What had not begun never does: the next caller waits for two fits at most, not for twenty.
    await service.coarse(request)
    cancelled = time.perf_counter() - start
    start = time.perf_counter()
    await service.coarse(request)
    assert cancelled < 6 * (time.perf_counter() - start) + 1


async def test_a_deadline_ends_the_wait(remote: Services, walk: Walk) -> None:
    request = rp.CompleteRequest(views=[walk.view], coarse=walk.coarse, scope=SCOPE)
    start = time.perf_counter()
    with within(0.2), pytest.raises(DeadlineExceeded):
        await remote.reconstructor.complete(request)
    assert time.perf_counter() - start < 2


async def test_without_triton_the_engine_is_unavailable(
    local: Services, walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAQUETTE_TRITON_MAX_ATTEMPTS", "1")
    target = f"127.0.0.1:{free_ports().grpc}"
    service = LocalReconstructorService(local.store, ReconstructorSettings(triton_url=target))
    try:
        await service.warm_up()
        (engine,) = (await service.list_engines(rp.ListEnginesRequest())).engines
        assert not engine.available
        assert target in engine.unavailable_reason
        with pytest.raises(ServiceUnavailable, match=target):
            await service.coarse(rp.CoarseRequest(views=[walk.view]))
    finally:
        service.close()


async def test_through_triton_the_head_is_the_same(local: Services, walk: Walk, triton: TritonServer) -> None:
    service = LocalReconstructorService(local.store, ReconstructorSettings(triton_url=triton.grpc_target))
    try:
        (engine,) = (await service.list_engines(rp.ListEnginesRequest())).engines
        assert engine.available
        coarse = await service.coarse(rp.CoarseRequest(views=[walk.view]))
        found, expected = wire.head_of(coarse.head, local.store), wire.head_of(walk.coarse, local.store)
        assert np.allclose(found.posed, expected.posed, atol=1e-3)
        request = rp.CompleteRequest(views=[walk.view], coarse=coarse.head, scope=SCOPE)
        head = wire.head_of((await service.complete(request)).head, local.store)
        whole = wire.head_of(walk.head, local.store)
        assert head.textures is not None
        assert whole.textures is not None
        apart = np.abs(head.textures.albedo.astype(int) - whole.textures.albedo.astype(int))
        assert np.mean(apart > 1) < 1e-3
        assert [h.name for h in head.hair] == [h.name for h in whole.hair]
        assert head.engine == whole.engine
    finally:
        service.close()
