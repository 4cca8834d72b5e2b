import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace

from gateway.jobs import EventKind, HeadRecord, HeadState, JobKind, JobState, head_scope, photo_scope
from gateway.local import LocalServices
from gateway.orchestration import Orchestration
from gateway.sweeper import Sweeper
from gateway.worksettings import WorkerSettings
from maquette import errors, pipeline
from maquette.errors import DeadlineExceeded, HeadNotFound, Overloaded, ServiceUnavailable, StoreUnavailable
from maquette.report import to_json
from maquette.result import Result
from maquette.rooms import ReconstructOptions
from maquette.settings import Settings
from maquette.store import ObjectStore
from tests.gateway.working import OWNER, Workshop, real_services, workshop

pytestmark = pytest.mark.anyio

AWAY = ServiceUnavailable("nobody answers")


@pytest.fixture(scope="module")
async def shop_floor(
    anyio_backend: str, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[ObjectStore, LocalServices]]:
    async with real_services(tmp_path_factory.mktemp("worker")) as found:
        yield found


@pytest.fixture
async def shop(shop_floor: tuple[ObjectStore, LocalServices], tmp_path: Path) -> AsyncIterator[Workshop]:
    async with workshop(tmp_path, *shop_floor) as made:
        yield made


@pytest.fixture(scope="module")
def result(sample: Path, settings: Settings) -> Result:
    """What ``maquette reconstruct`` makes of the sample photo."""
    options = ReconstructOptions(formats=("obj",), detail=False, hair="none")
    return pipeline.reconstruct([sample], rooms=pipeline.local_rooms(settings), settings=settings, options=options)


@pytest.fixture(scope="module")
async def finished(
    shop_floor: tuple[ObjectStore, LocalServices], tmp_path_factory: pytest.TempPathFactory, sample: Path
) -> AsyncIterator[tuple[Workshop, HeadRecord]]:
    """A head that is done, and where it was made."""
    async with workshop(tmp_path_factory.mktemp("finished"), *shop_floor) as shop:
        head = await shop.ask(sample)
        async with shop.working():
            yield shop, await shop.until(head.id, HeadState.DONE)


def expected(result: Result) -> dict[str, bytes]:
    files = {p.name: p.data for p in result.products}
    return {**files, "report.json": to_json(result.report).encode()}


def without_preview(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name != "preview.glb"}


async def job_of(shop: Workshop, head_id: str) -> Any:
    """State, tries and failures of a head's job, as the database has them."""
    from sqlalchemy import select

    from gateway.jobs.schema import jobs

    database = shop.jobs._database  # type: ignore[attr-defined]
    return await database.read(lambda tx: tx.one(select(jobs).where(jobs.c.head_id == head_id)))


async def test_files_are_those_of_reconstruct_byte_for_byte(
    finished: tuple[Workshop, HeadRecord], result: Result
) -> None:
    shop, head = finished
    files = shop.read(head)
    assert files["preview.glb"][:4] == b"glTF"
    assert without_preview(files) == expected(result)
    assert [p.name for p in head.products] == ["preview.glb", *expected(result)]
    assert [w.message for w in head.warnings] == [c.message for c in result.cautions]


async def test_several_photos_come_out_as_in_one_process(
    shop: Workshop, group: Path, sample: Path, settings: Settings
) -> None:
    head = await shop.ask(group, sample, face="largest")
    async with shop.working():
        done = await shop.until(head.id, HeadState.DONE)
    options = ReconstructOptions(formats=("obj",), detail=False, hair="none")
    rooms = pipeline.local_rooms(settings)
    alone = pipeline.reconstruct([group, sample], rooms=rooms, settings=settings, options=options, face="largest")
    assert "several_faces" in [c.code for c in alone.cautions]
    assert without_preview(shop.read(done)) == expected(alone)


async def test_the_preview_is_announced_before_the_head_is_complete(finished: tuple[Workshop, HeadRecord]) -> None:
    shop, head = finished
    events = await shop.jobs.events(OWNER, head.id)
    told = [(e.kind, e.data.get("state") or e.data.get("name") or e.data.get("progress")) for e in events]
    states = [value for kind, value in told if kind is EventKind.STATE]
    assert states == ["queued", "detecting", "reconstructing", "meshing", "done"]
    assert told.index((EventKind.PRODUCT, "preview.glb")) < told.index((EventKind.PROGRESS, 0.7))
    assert told.index((EventKind.PROGRESS, 0.7)) < told.index((EventKind.STATE, "meshing"))
    progress = [value for kind, value in told if kind is EventKind.PROGRESS]
    assert progress == sorted(progress)


async def test_a_job_that_is_taken_over_goes_on_after_the_last_step(
    shop: Workshop, sample: Path, result: Result
) -> None:
    head = await shop.ask(sample)
    shop.trouble.fail("exported", AWAY)
    orchestration = Orchestration(shop.jobs, shop.store, shop.services, WorkerSettings(patience_s=0), shop.metrics)
    first = await shop.jobs.claim("first")
    assert first is not None
    with pytest.raises(ServiceUnavailable):
        await orchestration.perform(first)
    await shop.jobs.release(first.lease)
    assert dict(shop.trouble.calls) == {
        "detect": 1, "mask": 1, "coarse": 1, "preview": 1, "complete": 1, "export": 1, "exported": 1,
    }  # fmt: skip
    shop.trouble.clear()
    shop.trouble.calls.clear()
    second = await shop.jobs.claim("second")
    assert second is not None
    assert set(second.steps) == {"photo-0", "coarse", "preview", "head"}
    await orchestration.perform(second)
    await shop.jobs.finish(second.lease)
    assert shop.trouble.calls.keys() == {"export", "exported"}
    assert without_preview(shop.read(await shop.jobs.get_head(OWNER, head.id))) == expected(result)


async def test_the_same_work_done_twice_announces_nothing_twice(shop: Workshop, sample: Path) -> None:
    await shop.ask(sample)
    orchestration = Orchestration(shop.jobs, shop.store, shop.services, WorkerSettings(), shop.metrics)
    claim = await shop.jobs.claim("worker")
    assert claim is not None
    await orchestration.perform(claim)
    told = await shop.jobs.events(OWNER, claim.head.id)
    kept = shop.store.entries(head_scope(claim.head.id)), shop.store.entries(photo_scope(claim.head.id))
    await orchestration.perform(claim, afresh=True)
    again = await shop.jobs.events(OWNER, claim.head.id)
    assert [e for e in again[len(told) :] if e.kind is not EventKind.STATE] == []
    now = shop.store.entries(head_scope(claim.head.id)), shop.store.entries(photo_scope(claim.head.id))
    assert [[(e.key, e.size) for e in scope] for scope in now] == [[(e.key, e.size) for e in scope] for scope in kept]


async def test_a_service_that_is_away_for_a_moment_is_waited_for(shop: Workshop, blank: Path) -> None:
    shop.trouble.fail("detect", AWAY, Overloaded("busy", retry_after_seconds=0.3), StoreUnavailable("gone"))
    head = await shop.ask(blank)
    async with shop.working(patience_s=20):
        await shop.until(head.id, HeadState.FAILED)
    assert shop.trouble.calls["detect"] == 4
    assert (await job_of(shop, head.id)).attempts == 1


async def test_a_passing_error_is_tried_again_later(shop: Workshop, blank: Path) -> None:
    shop.trouble.fail("detect", AWAY, DeadlineExceeded("late"))
    head = await shop.ask(blank)
    async with shop.working():
        failed = await shop.until(head.id, HeadState.FAILED)
    assert failed.error is not None
    assert failed.error.code == "no_face_found"
    job = await job_of(shop, head.id)
    assert (job.attempts, job.failures) == (3, 3)
    retries = [e.data["retry"]["code"] for e in await shop.jobs.events(OWNER, head.id) if "retry" in e.data]
    assert retries == ["service_unavailable", "deadline_exceeded"]


async def test_a_call_that_takes_too_long_is_given_up(shop: Workshop, blank: Path) -> None:
    shop.trouble.hold("detect")
    head = await shop.ask(blank)
    async with shop.working(call_s=0.1):
        while not (await job_of(shop, head.id)).failures:
            await asyncio.sleep(0.02)
        shop.trouble.clear()
        await shop.until(head.id, HeadState.FAILED)
    assert (await shop.jobs.events(OWNER, head.id))[2].data["retry"]["code"] == "deadline_exceeded"


async def test_what_is_wrong_with_a_photo_fails_at_once_with_its_own_code(shop: Workshop, blank: Path) -> None:
    head = await shop.ask(blank)
    async with shop.working():
        failed = await shop.until(head.id, HeadState.FAILED)
    assert failed.error is not None
    assert failed.error.code == "no_face_found"
    assert failed.error.detail["photo"] == blank.name
    assert (await job_of(shop, head.id)).attempts == 1


@pytest.mark.parametrize("face", [3, "largest"])
async def test_the_face_asked_for_is_taken_or_missed_as_in_one_process(
    shop: Workshop, group: Path, settings: Settings, face: Any
) -> None:
    rooms = pipeline.local_rooms(settings)
    (photo,) = pipeline.read_photos([group], settings)
    faces = pipeline.detect(rooms.detector, photo)
    shop.trouble.hold("coarse")
    head = await shop.ask(group, face=face)
    async with shop.working():
        if face == 3:
            failed = await shop.until(head.id, HeadState.FAILED)
            with pytest.raises(errors.FaceNotFound) as caught:
                pipeline.choose_face(faces, face, photo)
            assert failed.error is not None
            assert (failed.error.code, failed.error.message) == (caught.value.code, str(caught.value))
            return
        await shop.until(head.id, HeadState.RECONSTRUCTING)
    claim = await shop.jobs.claim("worker")
    assert claim is not None
    recorded = claim.steps["photo-0"]
    choice = pipeline.choose_face(faces, face, photo)
    assert (recorded["number"], recorded["count"]) == (choice.number, choice.count)


async def test_an_unforeseen_error_gets_a_few_tries_without_what_was_kept(shop: Workshop, sample: Path) -> None:
    shop.trouble.fail("coarse", *[RuntimeError("bug")] * 10)
    head = await shop.ask(sample)
    async with shop.working(tries=3):
        failed = await shop.until(head.id, HeadState.FAILED)
    assert failed.error is not None
    assert failed.error.code == "internal"
    assert "bug" not in failed.error.message
    assert shop.trouble.calls["coarse"] == 3
    assert shop.trouble.calls["detect"] == 3


async def test_a_kept_step_that_is_damaged_is_done_again(shop: Workshop, sample: Path) -> None:
    head = await shop.ask(sample)
    reached = shop.trouble.hold("coarse")
    async with shop.working():
        await reached.wait()
    claim = await shop.jobs.claim("worker")
    assert claim is not None
    shop.store.delete(claim.steps["photo-0"]["key"])
    await shop.jobs.release(claim.lease)
    shop.trouble.hold("complete")
    shop.trouble.before.pop("coarse")
    async with shop.working():
        while not (await shop.jobs.get_head(OWNER, head.id)).products:
            await asyncio.sleep(0.02)
    assert shop.trouble.calls["detect"] == 2


async def test_cancelling_stops_the_work(shop_floor: Any, tmp_path: Path, sample: Path) -> None:
    async with workshop(tmp_path, *shop_floor, lease_s=0.8) as shop:
        reached = shop.trouble.hold("complete")
        head = await shop.ask(sample)
        async with shop.working():
            await reached.wait()
            assert (await shop.jobs.cancel_head(OWNER, head.id)).cancelling
            cancelled = await shop.until(head.id, HeadState.CANCELLED)
        assert not cancelled.cancelling
        assert (await job_of(shop, head.id)).state == JobState.CANCELLED


async def test_the_work_is_a_part_of_the_trace_that_asked_for_it(shop: Workshop, blank: Path) -> None:
    found: list[str] = []

    async def look() -> None:
        found.append(trace.format_trace_id(trace.get_current_span().get_span_context().trace_id))

    shop.trouble.before["detect"] = look
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    head = await shop.ask(blank, trace={"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"})
    async with shop.working():
        await shop.until(head.id, HeadState.FAILED)
    assert found == [trace_id]


async def test_a_lease_is_held_for_as_long_as_the_work_takes(shop_floor: Any, tmp_path: Path, sample: Path) -> None:
    async with workshop(tmp_path, *shop_floor, lease_s=0.8) as shop:
        reached = shop.trouble.hold("coarse")
        await shop.ask(sample)
        async with shop.working():
            await reached.wait()
            for _ in range(8):
                assert await shop.jobs.claim("thief") is None
                await asyncio.sleep(0.25)


async def test_a_job_that_is_no_longer_ours_is_let_go(shop_floor: Any, tmp_path: Path, sample: Path) -> None:
    async with workshop(tmp_path, *shop_floor, lease_s=0.8) as shop:
        reached = shop.trouble.hold("coarse")
        head = await shop.ask(sample)
        async with shop.working() as worker:
            await reached.wait()
            await shop.jobs.delete_head(OWNER, head.id)
            while worker.running:
                await asyncio.sleep(0.02)
        with pytest.raises(HeadNotFound):
            await shop.jobs.get_head(OWNER, head.id)


async def test_a_worker_that_is_told_to_end_gives_its_jobs_back(shop: Workshop, sample: Path) -> None:
    reached = shop.trouble.hold("coarse")
    head = await shop.ask(sample)
    async with shop.working():
        await reached.wait()
    job = await job_of(shop, head.id)
    assert (job.state, job.failures, job.losses) == (JobState.QUEUED, 0, 0)
    again = await shop.jobs.claim("next")
    assert again is not None
    assert set(again.steps) == {"photo-0"}


async def test_a_worker_that_is_told_to_end_finishes_what_it_can(shop: Workshop, blank: Path) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        reached.set()
        await go_on.wait()

    shop.trouble.before["detect"] = wait
    first, second = await shop.ask(blank), await shop.ask(blank)
    worker = shop.worker(drain_s=30)
    task = asyncio.create_task(worker.run())
    await reached.wait()
    worker.stop()
    go_on.set()
    await task
    assert (await shop.jobs.get_head(OWNER, first.id)).state is HeadState.FAILED
    assert (await job_of(shop, second.id)).attempts == 0


async def test_jobs_run_side_by_side_up_to_the_limit(shop: Workshop, blank: Path) -> None:
    together = asyncio.Barrier(2)
    at_once = 0
    most = 0

    async def meet() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.wait_for(together.wait(), 20)
        at_once -= 1

    shop.trouble.before["detect"] = meet
    heads = [await shop.ask(blank) for _ in range(4)]
    async with shop.working(concurrency=2):
        for head in heads:
            await shop.until(head.id, HeadState.FAILED)
    assert most == 2


async def test_an_export_adds_files_and_the_report_lists_them(
    finished: tuple[Workshop, HeadRecord], sample: Path, settings: Settings
) -> None:
    shop, head = finished
    before = shop.read(head)
    created = await shop.jobs.create_export(OWNER, head.id, {"formats": ["stl"], "size_mm": 120.0})
    events = [e async for e in _until_exported(shop, head.id, created.job.id)]
    assert events[-1].data["state"] == "done"
    after = await shop.jobs.get_head(OWNER, head.id)
    files = shop.read(after)
    options = ReconstructOptions(formats=("stl",), detail=False, hair="none", size_mm=120)
    rooms = pipeline.local_rooms(settings)
    alone = pipeline.reconstruct([sample], rooms=rooms, settings=settings, options=options)
    assert files["print.stl"] == next(p.data for p in alone.products if p.name == "print.stl")
    assert {n: d for n, d in files.items() if n not in ("print.stl", "report.json")} == {
        n: d for n, d in before.items() if n != "report.json"
    }
    old, new = json.loads(before["report.json"]), json.loads(files["report.json"])
    assert [p["name"] for p in new["products"]] == [*(p["name"] for p in old["products"]), "print.stl"]
    assert {k: v for k, v in new.items() if k != "products"} == {k: v for k, v in old.items() if k != "products"}


async def _until_exported(shop: Workshop, head_id: str, job_id: str) -> AsyncIterator[Any]:
    after = 0
    while True:
        for event in await shop.jobs.wait_events(OWNER, head_id, after, timeout=60):
            after = event.sequence
            yield event
            if event.kind is EventKind.EXPORT and event.data["job"] == job_id and event.data["state"] == "done":
                return


async def test_an_export_whose_head_is_gone_fails(shop: Workshop, blank: Path) -> None:
    head = await shop.ask(blank)
    claim = await shop.jobs.claim("worker")
    assert claim is not None
    await shop.jobs.finish(claim.lease)
    await shop.jobs.create_export(OWNER, head.id, {"formats": ["stl"]})
    async with shop.working(tries=1):
        while (export := (await shop.jobs.get_head(OWNER, head.id)).exports[0]).state is not JobState.FAILED:
            await asyncio.sleep(0.02)
    assert export.kind is JobKind.EXPORT
    assert export.error is not None
    assert export.error.code == "object_missing"


async def test_what_has_expired_is_removed_from_the_store(shop_floor: Any, tmp_path: Path, blank: Path) -> None:
    async with workshop(tmp_path, *shop_floor, photo_retention_s=0.2, product_retention_s=1000) as shop:
        head, kept = await shop.ask(blank), await shop.ask(blank)
        for _ in range(2):
            claim = await shop.jobs.claim("worker")
            assert claim is not None
            await shop.jobs.finish(claim.lease)
        await shop.jobs.delete_head(OWNER, kept.id)
        await asyncio.sleep(0.3)
        sweeper = Sweeper(shop.jobs, shop.store, shop.metrics, upload_s=60)
        assert await sweeper.sweep() == 2
        for head_id in (head.id, kept.id):
            assert shop.store.entries(photo_scope(head_id)) == []
        assert await shop.jobs.removals() == ()
