"""The mesh service."""

import asyncio
import dataclasses
import io
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import numpy as np
import pytest
import trimesh

from maquette import wire
from maquette.errors import DeadlineExceeded, MeshInvalid, MessageInvalid, MessageTooLarge, OptionInvalid
from maquette.headmodel import load_head_model
from maquette.rpc.deadline import within
from maquette.v1 import common_pb2 as pb
from maquette.v1 import detector_pb2 as dp
from maquette.v1 import meshproc_pb2 as mp
from maquette.v1 import reconstructor_pb2 as rp
from services.meshproc.preview_glb import write_preview
from services.meshproc.service import LocalMeshprocService
from services.meshproc.settings import MeshprocSettings
from tests.services.conftest import SCOPE, Services, Walk

pytestmark = pytest.mark.anyio

STL, GLB, PLY, OBJ = "model/stl", "model/gltf-binary", "application/vnd.ply", "model/obj"
SUFFIXES = {STL: "stl", GLB: "glb", PLY: "ply", OBJ: "obj"}


def ball(levels: int = 3) -> trimesh.Trimesh:
    return trimesh.creation.icosphere(levels, radius=40)


def blob(shape: trimesh.Trimesh, media_type: str = STL) -> pb.Blob:
    data = shape.export(file_type=SUFFIXES[media_type])
    return wire.blob_message(data.encode() if isinstance(data, str) else data, media_type)


def holed() -> trimesh.Trimesh:
    shape = ball()
    shape.update_faces(np.arange(len(shape.faces)) > 5)
    return shape


def load(answer: pb.Blob, services: Services) -> trimesh.Trimesh:
    data = wire.bytes_of(answer, services.store)
    mesh = trimesh.load_mesh(io.BytesIO(data), file_type=SUFFIXES[answer.media_type])
    mesh.merge_vertices()
    return mesh


async def test_the_preview_of_a_coarse_head_is_small(services: Services, walk: Walk) -> None:
    answer = await services.meshproc.preview(mp.PreviewRequest(head=walk.coarse, scope=SCOPE))
    product = wire.product_of(answer.product, services.store)
    assert product.name == "preview.glb"
    assert product.media_type == GLB
    assert answer.product.data.WhichOneof("payload") == "inline"
    assert answer.product.size == len(product.data)
    assert product.data == write_preview(load_head_model(), wire.head_of(walk.coarse, services.store))


async def test_an_export_tells_how_far_it_is(services: Services, walk: Walk) -> None:
    formats = ["ply", "obj"]
    request = mp.ExportRequest(head=walk.coarse, views=[walk.view], formats=formats, scope=SCOPE)
    events = [e async for e in services.meshproc.export(request)]
    kinds = [e.WhichOneof("event") for e in events]
    assert kinds[0] == kinds[-1] == "progress"
    steps = [(e.progress.fraction, e.progress.stage) for e in events if e.HasField("progress")]
    assert [fraction for fraction, _ in steps] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert {stage for _, stage in steps} == {pb.STAGE_EXPORT}
    names = [e.product.name for e in events if e.HasField("product")]
    assert names == ["head.ply", "head.obj", "head.mtl", "preview.png", "overlay.png"]
    at = {e.product.name: i for i, e in enumerate(events) if e.HasField("product")}
    # What is done is said before the first file of what comes next.
    assert events[at["head.obj"] - 1].progress.fraction == 0.25
    assert events[at["preview.png"] - 1].progress.fraction == 0.5


async def test_without_views_there_is_no_picture_over_the_photo(services: Services, walk: Walk) -> None:
    request = mp.ExportRequest(head=walk.coarse, formats=["ply"], scope=SCOPE)
    names = [e.product.name async for e in services.meshproc.export(request) if e.HasField("product")]
    assert names == ["head.ply", "preview.png"]


@pytest.mark.parametrize("formats", [[], ["fbx"], ["obj", "obj"], ["../obj"]])
async def test_formats_that_are_none_are_refused(services: Services, walk: Walk, formats: list[str]) -> None:
    with pytest.raises(OptionInvalid, match="format"):
        async for _ in services.meshproc.export(mp.ExportRequest(head=walk.coarse, formats=formats)):
            pass


@pytest.mark.parametrize("scope", ["heads", "../../etc", "heads/../keys", "heads/x/y", "heads/a b"])
async def test_a_scope_that_is_none_is_refused_before_any_work(services: Services, walk: Walk, scope: str) -> None:
    calls = (
        services.meshproc.preview(mp.PreviewRequest(head=walk.coarse, scope=scope)),
        services.meshproc.repair(mp.RepairRequest(mesh=blob(ball(1)), scope=scope)),
        services.meshproc.simplify(mp.SimplifyRequest(mesh=blob(ball(1)), triangles=[20], scope=scope)),
        services.detector.detect(dp.DetectRequest(photo=walk.found.photo, scope=scope)),
        services.detector.mask(dp.MaskRequest(photo=walk.found.photo, face=walk.view.face, scope=scope)),
        services.reconstructor.coarse(rp.CoarseRequest(views=[walk.view], scope=scope)),
        services.reconstructor.complete(rp.CompleteRequest(views=[walk.view], coarse=walk.coarse, scope=scope)),
    )
    for call in calls:
        with pytest.raises(OptionInvalid, match="scope"):
            await call
    with pytest.raises(OptionInvalid, match="scope"):
        async for _ in services.meshproc.export(mp.ExportRequest(head=walk.coarse, formats=["ply"], scope=scope)):
            pass


async def test_a_head_of_another_topology_is_refused(services: Services, walk: Walk) -> None:
    head = wire.head_of(walk.coarse, services.store)
    fit = dataclasses.replace(head.fit, uncertainty=head.fit.uncertainty[:-1], determined=head.fit.determined[:-1])
    other = dataclasses.replace(head, model="another 1", fit=fit, neutral=head.neutral[:-1], posed=head.posed[:-1])
    message = wire.head_message(other, services.store, SCOPE)
    with pytest.raises(MeshInvalid, match="expected vertices"):
        await services.meshproc.preview(mp.PreviewRequest(head=message))
    with pytest.raises(MeshInvalid, match="expected vertices"):
        async for _ in services.meshproc.export(mp.ExportRequest(head=message, formats=["ply"])):
            pass
    with pytest.raises(MessageInvalid):
        await services.meshproc.preview(mp.PreviewRequest(head=pb.Head()))


async def test_an_export_that_nobody_reads_any_more_ends(services: Services, walk: Walk) -> None:
    request = mp.ExportRequest(head=walk.coarse, formats=["ply", "obj", "glb", "stl"], scope=SCOPE)
    for _ in range(3):
        stream = cast(AsyncGenerator[mp.ExportResponse, None], services.meshproc.export(request))
        async with aclosing(stream):
            async for event in stream:
                if event.HasField("product"):
                    break
    # Both threads are free again within the time of one file.
    async with asyncio.timeout(30):
        await asyncio.gather(
            *(services.meshproc.preview(mp.PreviewRequest(head=walk.coarse, scope=SCOPE)) for _ in range(4))
        )


@pytest.mark.parametrize("media_type", list(SUFFIXES))
async def test_a_mesh_is_inspected(services: Services, media_type: str) -> None:
    report = (await services.meshproc.inspect(mp.InspectRequest(mesh=blob(ball(), media_type)))).report
    scale = 1000 if media_type == GLB else 1
    assert report.watertight
    assert report.solid
    assert (report.vertices, report.triangles, report.components) == (642, 1280, 1)
    assert report.volume_mm3 == pytest.approx(ball().volume * scale**3, rel=1e-4)
    assert list(report.upper_mm) == pytest.approx([40 * scale] * 3, rel=1e-4)


async def test_a_mesh_is_mended_in_the_kind_asked_for(services: Services) -> None:
    for media_type in ("", PLY, GLB):
        request = mp.RepairRequest(mesh=blob(holed()), media_type=media_type, scope=SCOPE)
        answer = await services.meshproc.repair(request)
        assert answer.mesh.media_type == (media_type or STL)
        assert list(answer.actions) == ["merged_vertices", "closed_holes"]
        assert answer.before.boundary_edges > 0
        assert not answer.before.HasField("volume_mm3")
        assert answer.after.solid
        assert load(answer.mesh, services).is_watertight
    untouched = await services.meshproc.repair(mp.RepairRequest(mesh=blob(holed()), max_hole_edges=0))
    assert untouched.after.boundary_edges == answer.before.boundary_edges


async def test_a_mesh_is_made_coarser(services: Services) -> None:
    request = mp.SimplifyRequest(mesh=blob(ball(), PLY), triangles=[600, 100], media_type=STL)
    answer = await services.meshproc.simplify(request)
    assert [level.report.triangles for level in answer.levels] == [600, 100]
    assert answer.before.triangles == 1280
    assert 0 < answer.levels[0].deviation_mm < answer.levels[1].deviation_mm < 10
    for level in answer.levels:
        mesh = load(level.mesh, services)
        assert len(mesh.faces) == level.report.triangles
        assert mesh.is_watertight


async def test_large_meshes_come_and_go_through_the_store(services: Services) -> None:
    large = blob_in_store(ball(6), services)
    answer = await services.meshproc.repair(mp.RepairRequest(mesh=large, scope="heads/head_mesh"))
    assert answer.mesh.reference.key == f"heads/head_mesh/{answer.mesh.sha256}"
    assert len(load(answer.mesh, services).faces) == 81_920
    with pytest.raises(MessageTooLarge, match="scope"):
        await services.meshproc.repair(mp.RepairRequest(mesh=large))


def blob_in_store(shape: trimesh.Trimesh, services: Services) -> pb.Blob:
    return wire.blob_message(shape.export(file_type="stl"), STL, services.store, SCOPE)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"", STL),
        (bytes(84), STL),
        (ball().export(file_type="stl")[:-10], STL),
        (b"glTF" + bytes(60), GLB),
        (b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", OBJ),
        (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", OBJ),
        (ball().export(file_type="ply").replace(b"face 1280", b"face 4000000000"), PLY),
        (b"whatever", "model/3mf"),
    ],
)
async def test_hostile_meshes_are_refused_by_each_call(services: Services, data: bytes, media_type: str) -> None:
    mesh = wire.blob_message(data, media_type)
    for call in (
        services.meshproc.inspect(mp.InspectRequest(mesh=mesh)),
        services.meshproc.repair(mp.RepairRequest(mesh=mesh)),
        services.meshproc.simplify(mp.SimplifyRequest(mesh=mesh, triangles=[100])),
    ):
        with pytest.raises(MeshInvalid):
            await call


async def test_options_of_meshes_are_checked(services: Services) -> None:
    with pytest.raises(OptionInvalid) as caught:
        await services.meshproc.repair(mp.RepairRequest(mesh=blob(ball()), merge_mm=1e9))
    assert caught.value.detail["field"] == "merge_mm"
    for triangles in ([], [100, 200], [5000], [1]):
        with pytest.raises(OptionInvalid) as caught:
            await services.meshproc.simplify(mp.SimplifyRequest(mesh=blob(ball()), triangles=triangles))
        assert caught.value.detail["field"] == "triangles"
    with pytest.raises(MeshInvalid, match="media type"):
        await services.meshproc.simplify(mp.SimplifyRequest(mesh=blob(ball()), triangles=[100], media_type="image/png"))


async def test_limits_on_meshes_hold(local: Services) -> None:
    service = LocalMeshprocService(local.store, MeshprocSettings(max_mesh_bytes=50_000, max_triangles=500))
    try:
        await service.inspect(mp.InspectRequest(mesh=blob(ball(2))))
        with pytest.raises(MeshInvalid, match="at most 50,000 bytes"):
            await service.inspect(mp.InspectRequest(mesh=blob(ball(3))))
        with pytest.raises(MeshInvalid, match="at most 500 triangles"):
            await service.inspect(mp.InspectRequest(mesh=blob(ball(3), PLY)))
        nowhere = pb.Blob(reference=pb.Reference(key=f"{SCOPE}/{'0' * 64}", size=10**12), sha256="0" * 64)
        with pytest.raises(MeshInvalid, match="1,000,000,000,000"):
            await service.inspect(mp.InspectRequest(mesh=nowhere))
    finally:
        await asyncio.to_thread(service.close)


async def test_the_loop_runs_on_while_a_large_mesh_is_worked_on(local: Services) -> None:
    mesh = blob_in_store(ball(6), local)
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1

    heart = asyncio.create_task(beat())
    try:
        await local.meshproc.simplify(mp.SimplifyRequest(mesh=mesh, triangles=[1000], scope=SCOPE))
    finally:
        heart.cancel()
    # Open3D alone holds the interpreter for seconds here, which would be a handful.
    assert beats > 30


async def test_a_deadline_ends_work_on_a_mesh(remote: Services) -> None:
    mesh = blob_in_store(ball(6), remote)
    with within(0.5), pytest.raises(DeadlineExceeded):
        await remote.meshproc.simplify(mp.SimplifyRequest(mesh=mesh, triangles=[1000, 500, 100], scope=SCOPE))
    async with asyncio.timeout(20):
        await asyncio.gather(*(remote.meshproc.inspect(mp.InspectRequest(mesh=blob(ball()))) for _ in range(3)))
