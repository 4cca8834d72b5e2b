import pytest

from gateway.jobs import (
    HeadState,
    JobSettings,
    JobState,
    JobStore,
    Reason,
    Removal,
    Step,
    Swept,
    head_scope,
    open_jobs,
    photo_scope,
)
from maquette.errors import HeadNotFound, JobConflict, LeaseLost, ProductNotFound
from tests.jobs.customers import SetClock, ask, ask_done, ask_head, product, take

pytestmark = pytest.mark.anyio
DAY = 86_400


async def test_nothing_is_swept_before_its_time(jobs: JobStore, clock: SetClock) -> None:
    head = await ask_done(jobs, "anna", product("head.glb"))
    clock.pass_(DAY - 1)
    assert await jobs.sweep() == Swept(0, 0, 0, 0, more=False)
    assert await jobs.get_head("anna", head.id) == head
    assert await jobs.removals() == ()


async def test_photos_go_after_a_day_and_the_rest_stays(jobs: JobStore, clock: SetClock) -> None:
    head = await ask_done(jobs, "anna", product("head.glb"))
    clock.pass_(DAY)
    assert (await jobs.sweep()).photos == 1
    assert (await jobs.sweep()).photos == 0
    after = await jobs.get_head("anna", head.id)
    assert (after.state, after.photos, after.photos_expire) == (HeadState.DONE, (), None)
    assert after.products == head.products
    assert await jobs.removals() == (Removal(photo_scope(head.id), head.id),)


async def test_heads_go_after_thirty_days_and_later_the_memory_of_them(jobs: JobStore, clock: SetClock) -> None:
    head = (await ask(jobs, name="Grandmother")).head
    claim = await take(jobs)
    clock.pass_(20)
    await jobs.advance(claim.lease, step=Step("detect", {"a": 1}), products=[product("head.glb")])
    await jobs.finish(claim.lease)
    clock.pass_(30 * DAY - 1)
    await jobs.sweep()
    assert (await jobs.get_head("anna", head.id)).state is HeadState.DONE
    clock.pass_(1)
    assert (await jobs.sweep()).heads == 1
    after = await jobs.get_head("anna", head.id)
    assert (after.state, after.name, after.photos, after.products) == (HeadState.EXPIRED, "", (), ())
    with pytest.raises(ProductNotFound):
        await jobs.get_product("anna", head.id, "head.glb")
    with pytest.raises(JobConflict, match="expired"):
        await jobs.create_export("anna", head.id, {})
    assert {r.scope for r in await jobs.removals()} == {photo_scope(head.id), head_scope(head.id)}
    assert (await jobs.events("anna", head.id))[-1].data == {"state": "expired"}
    clock.pass_(30 * DAY)
    assert await jobs.sweep() == Swept(0, 0, 0, 1, more=False)
    with pytest.raises(HeadNotFound):
        await jobs.get_head("anna", head.id)


async def test_a_reconstruction_that_waits_for_a_day_fails_with_its_photos(jobs: JobStore, clock: SetClock) -> None:
    waiting = await ask_head(jobs)
    clock.pass_(DAY)
    await jobs.sweep()
    after = await jobs.get_head("anna", waiting.id)
    assert after.error is not None
    assert (after.state, after.error.code) == (HeadState.FAILED, "photos_expired")
    assert [j.reason for j in await jobs.dead_letters()] == [Reason.PHOTOS_EXPIRED]
    assert await jobs.claim("worker") is None


async def test_a_worker_that_has_had_the_photos_for_a_day_loses_them(jobs: JobStore, clock: SetClock) -> None:
    head = await ask_head(jobs)
    lease = (await take(jobs)).lease
    clock.pass_(DAY)
    await jobs.heartbeat(lease)
    await jobs.sweep()
    with pytest.raises(LeaseLost):
        await jobs.heartbeat(lease)
    (removal,) = await jobs.removals()
    await jobs.removed([removal.scope])
    # The worker may write until its lease would have run out, and then for as long again.
    assert await jobs.removals() == ()
    clock.pass_(59)
    assert await jobs.removals() == ()
    clock.pass_(2)
    assert await jobs.removals() == (removal,)
    await jobs.removed([removal.scope])
    clock.pass_(1000)
    assert await jobs.removals() == ()
    assert (await jobs.get_head("anna", head.id)).state is HeadState.FAILED


async def test_an_export_still_runs_without_photos(jobs: JobStore, clock: SetClock) -> None:
    head = await ask_done(jobs)
    clock.pass_(DAY)
    await jobs.sweep()
    await jobs.create_export("anna", head.id, {})
    claim = await take(jobs)
    assert claim.head.photos == ()
    await jobs.finish(claim.lease)


async def test_an_expired_heads_exports_are_cancelled(jobs: JobStore, clock: SetClock) -> None:
    head = await ask_done(jobs)
    for _ in range(2):
        await jobs.create_export("anna", head.id, {})
    clock.pass_(30 * DAY)
    lease = (await take(jobs)).lease
    await jobs.sweep()
    assert [j.state for j in (await jobs.get_head("anna", head.id)).exports] == [JobState.CANCELLED] * 2
    with pytest.raises(LeaseLost):
        await jobs.heartbeat(lease)


async def test_heads_may_be_kept_no_longer_than_photos(url: str, clock: SetClock) -> None:
    settings = JobSettings(database_url=url, photo_retention_s=100, product_retention_s=50, row_retention_s=0)
    async with await open_jobs(settings, clock) as jobs:
        waiting, done = await ask_head(jobs), await ask_head(jobs)
        await jobs.finish((await take(jobs)).lease)
        clock.pass_(50)
        assert (await jobs.sweep()).heads == 2
        assert (await jobs.sweep()).purged == 0
        for head in (waiting, done):
            with pytest.raises(HeadNotFound):
                await jobs.get_head("anna", head.id)
        assert len(await jobs.removals()) == 4


async def test_a_sweep_does_a_part_and_says_that_there_is_more(jobs: JobStore, clock: SetClock) -> None:
    for _ in range(5):
        await ask_head(jobs)
    clock.pass_(DAY)
    swept = [await jobs.sweep(limit=2) for _ in range(3)]
    assert [(s.photos, s.more) for s in swept] == [(2, True), (2, True), (1, False)]


async def test_a_deleted_head_leaves_its_scopes_until_they_are_empty(jobs: JobStore, clock: SetClock) -> None:
    head = await ask_done(jobs, "anna", product("head.glb"))
    receipt = await jobs.delete_head("anna", head.id)
    assert (receipt.head_id, receipt.deleted) == (head.id, clock.now)
    assert set(receipt.scopes) == {photo_scope(head.id), head_scope(head.id)}
    with pytest.raises(HeadNotFound):
        await jobs.get_head("anna", head.id)
    with pytest.raises(HeadNotFound):
        await jobs.delete_head("bert", head.id)
    assert await jobs.delete_head("anna", head.id) == receipt
    assert {r.scope for r in await jobs.removals()} == set(receipt.scopes)
    await jobs.removed(receipt.scopes)
    assert await jobs.removals() == ()
    with pytest.raises(HeadNotFound):
        await jobs.delete_head("anna", head.id)


async def test_what_a_worker_may_still_write_to_a_deleted_head_is_removed_too(jobs: JobStore, clock: SetClock) -> None:
    head = await ask_head(jobs)
    await take(jobs)
    receipt = await jobs.delete_head("anna", head.id)
    await jobs.removed(receipt.scopes)
    clock.pass_(59)
    assert await jobs.removals() == ()
    clock.pass_(2)
    assert {r.scope for r in await jobs.removals()} == set(receipt.scopes)
    await jobs.removed(receipt.scopes)
    clock.pass_(1000)
    assert await jobs.removals() == ()


async def test_a_scope_that_is_not_due_cannot_be_reported_removed(jobs: JobStore, clock: SetClock) -> None:
    head_id = await jobs.reserve("anna")
    await jobs.removed([photo_scope(head_id), head_scope(head_id)])
    clock.pass_(3600)
    assert len(await jobs.removals()) == 2
