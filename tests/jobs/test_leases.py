import pytest

from gateway.jobs import EventKind, Failure, HeadState, JobStore, Step
from maquette.errors import LeaseLost, NoFaceFound, OptionInvalid
from maquette.types import Caution
from tests.jobs.customers import SetClock, ask_done, ask_head, product, take

pytestmark = pytest.mark.anyio


async def test_heartbeats_keep_a_job(jobs: JobStore, clock: SetClock) -> None:
    await ask_head(jobs)
    lease = (await take(jobs)).lease
    for _ in range(10):
        clock.pass_(20)
        beat = await jobs.heartbeat(lease)
        assert beat.lease.until == clock.now + 30
        assert await jobs.claim("other") is None


async def test_a_late_heartbeat_keeps_a_job_that_nobody_has_taken(jobs: JobStore, clock: SetClock) -> None:
    await ask_head(jobs)
    lease = (await take(jobs)).lease
    clock.pass_(500)
    await jobs.heartbeat(lease)
    assert await jobs.claim("other") is None


async def test_the_first_output_of_a_step_counts(jobs: JobStore, clock: SetClock) -> None:
    await ask_head(jobs)
    first = await take(jobs)
    assert await jobs.advance(first.lease, step=Step("detect", {"try": 1})) == {"try": 1}
    assert await jobs.advance(first.lease, step=Step("detect", {"try": 1, "again": True})) == {"try": 1}
    clock.pass_(31)
    second = await take(jobs)
    assert await jobs.advance(second.lease, step=Step("detect", {"try": 2})) == {"try": 1}
    assert await jobs.advance(second.lease, step=Step("coarse", {"try": 2})) == {"try": 2}
    assert await jobs.advance(second.lease) is None


async def test_nothing_of_one_who_has_lost_the_lease_is_recorded(jobs: JobStore, clock: SetClock) -> None:
    head = await ask_head(jobs)
    lost = await take(jobs)
    clock.pass_(31)
    await jobs.sweep()
    before = await jobs.get_head("anna", head.id)
    with pytest.raises(LeaseLost):
        await jobs.advance(
            lost.lease,
            state=HeadState.MESHING,
            progress=0.9,
            step=Step("export", {}),
            products=[product("head.glb")],
            warnings=[Caution("a", "b")],
        )
    assert await jobs.get_head("anna", head.id) == before
    assert (await take(jobs)).steps == {}


async def test_progress_is_announced_once_and_never_falls(jobs: JobStore) -> None:
    head = await ask_head(jobs)
    lease = (await take(jobs)).lease
    await jobs.advance(lease, state=HeadState.DETECTING, progress=0.1)
    await jobs.advance(lease, state=HeadState.DETECTING, progress=0.1)
    await jobs.advance(lease, state=HeadState.RECONSTRUCTING, progress=0.05)
    await jobs.advance(lease, progress=0.4)
    after = await jobs.get_head("anna", head.id)
    assert (after.state, after.progress) == (HeadState.RECONSTRUCTING, 0.4)
    assert [(e.kind, e.data) for e in await jobs.events("anna", head.id, after=1)] == [
        (EventKind.STATE, {"state": "detecting"}),
        (EventKind.PROGRESS, {"progress": 0.1}),
        (EventKind.STATE, {"state": "reconstructing"}),
        (EventKind.PROGRESS, {"progress": 0.4}),
    ]


async def test_products_and_warnings_are_announced_once(jobs: JobStore) -> None:
    head = await ask_head(jobs)
    lease = (await take(jobs)).lease
    told = [Caution("hair_guessed", "The hair is a guess."), Caution("blurred", "The photo is blurred.")]
    for _ in range(3):
        await jobs.advance(lease, products=[product("preview.glb", 1), product("head.glb", 2)], warnings=told)
    await jobs.advance(lease, warnings=[told[0], told[0], Caution("blurred", "The second photo is blurred.")])
    after = await jobs.get_head("anna", head.id)
    assert after.products == (product("preview.glb", 1), product("head.glb", 2))
    assert after.warnings == (*told, Caution("blurred", "The second photo is blurred."))
    events = await jobs.events("anna", head.id, after=1)
    assert [e.kind for e in events] == [
        EventKind.WARNING,
        EventKind.WARNING,
        EventKind.PRODUCT,
        EventKind.PRODUCT,
        EventKind.WARNING,
    ]
    assert events[2].data == {
        "name": "preview.glb",
        "media_type": "model/gltf-binary",
        "size": 101,
        "sha256": f"{1:064x}",
    }


async def test_other_bytes_under_a_name_replace_it_and_are_announced(jobs: JobStore) -> None:
    head = await ask_head(jobs)
    lease = (await take(jobs)).lease
    await jobs.advance(lease, products=[product("print.stl", 1), product("head.glb", 2)])
    await jobs.advance(lease, products=[product("print.stl", 3)])
    after = await jobs.get_head("anna", head.id)
    assert after.products == (product("head.glb", 2), product("print.stl", 3))
    assert (await jobs.events("anna", head.id))[-1].data["sha256"] == f"{3:064x}"


async def test_file_names_that_lead_elsewhere_are_refused(jobs: JobStore) -> None:
    head = await ask_head(jobs)
    lease = (await take(jobs)).lease
    for name in (
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        ".hidden",
        "a..b",
        "a.",
        "x" * 101,
        "a b",
        "a\n",
        "é.glb",
        "a\0",
    ):
        with pytest.raises(OptionInvalid, match="file name"):
            await jobs.advance(lease, products=[product(name)])
    assert (await jobs.get_head("anna", head.id)).products == ()


async def test_states_and_progress_out_of_range_are_refused(jobs: JobStore) -> None:
    await ask_head(jobs)
    lease = (await take(jobs)).lease
    for state in (HeadState.DONE, HeadState.QUEUED, HeadState.FAILED):
        with pytest.raises(OptionInvalid, match="state"):
            await jobs.advance(lease, state=state)
    for progress in (-0.1, 1.1, float("nan"), float("inf")):
        with pytest.raises(OptionInvalid, match="progress"):
            await jobs.advance(lease, progress=progress)
    with pytest.raises(OptionInvalid, match="step"):
        await jobs.advance(lease, step=Step("", {}))


async def test_an_export_cannot_change_the_state_of_its_head(jobs: JobStore) -> None:
    head = await ask_done(jobs)
    await jobs.create_export("anna", head.id, {})
    with pytest.raises(OptionInvalid, match="export"):
        await jobs.advance((await take(jobs)).lease, state=HeadState.MESHING)
    assert (await jobs.get_head("anna", head.id)).state is HeadState.DONE


async def test_messages_that_are_sent_twice_are_understood_once(jobs: JobStore) -> None:
    done, failed, again = [await ask_head(jobs) for _ in range(3)]
    leases = {c.head.id: c.lease for c in [await take(jobs) for _ in range(3)]}
    for _ in range(2):
        await jobs.finish(leases[done.id])
        await jobs.fail(leases[failed.id], Failure("a", "b"), retry=False)
        await jobs.fail(leases[again.id], Failure("a", "b"), retry=True)
    assert (await jobs.get_head("anna", done.id)).sequence == 3
    assert (await jobs.get_head("anna", failed.id)).sequence == 2
    assert (await jobs.get_head("anna", again.id)).sequence == 2
    with pytest.raises(LeaseLost):
        await jobs.fail(leases[done.id], Failure("a", "b"), retry=False)
    with pytest.raises(LeaseLost):
        await jobs.finish(leases[failed.id])


async def test_a_worker_learns_that_its_head_was_deleted(jobs: JobStore) -> None:
    head = await ask_head(jobs)
    lease = (await take(jobs)).lease
    await jobs.delete_head("anna", head.id)
    for message in (jobs.heartbeat(lease), jobs.advance(lease, progress=0.5), jobs.finish(lease)):
        with pytest.raises(LeaseLost) as refused:
            await message
        assert refused.value.detail["why"] == "deleted"


async def test_a_failure_is_what_the_error_says() -> None:
    error = NoFaceFound("expected a face, found none", photo="me.jpg", sizes=(1, float("nan")), where={1: object})
    failure = Failure.of(error)
    assert (failure.code, failure.message) == ("no_face_found", "expected a face, found none")
    assert failure.detail == {"photo": "me.jpg", "sizes": [1, "nan"], "where": {"1": "<class 'object'>"}}
