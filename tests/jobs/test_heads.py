import asyncio
import json
from dataclasses import replace

import pytest

from gateway.jobs import (
    EventKind,
    Failure,
    HeadState,
    Idempotency,
    JobKind,
    JobSettings,
    JobState,
    JobStore,
    NewHead,
    Step,
    head_scope,
    open_jobs,
    photo_scope,
    request_digest,
)
from maquette.errors import (
    HeadNotFound,
    IdempotencyMismatch,
    JobConflict,
    OptionInvalid,
    Overloaded,
    ProductNotFound,
    QuotaExceeded,
)
from tests.jobs.customers import OPTIONS, SetClock, ask, ask_done, ask_head, photo, product, take

pytestmark = pytest.mark.anyio


async def test_a_head_asked_for_is_queued_with_its_photos_and_a_job(jobs: JobStore, clock: SetClock) -> None:
    made = await ask(jobs, photos=3, name="Großmutter “1952”")
    head = await jobs.get_head("anna", made.head.id)
    assert made.created
    assert head == made.head
    assert (head.owner, head.name, head.state, head.progress) == ("anna", "Großmutter “1952”", HeadState.QUEUED, 0.0)
    assert head.options == OPTIONS
    assert json.dumps(head.options) == json.dumps(OPTIONS)
    assert head.photos == tuple(photo(head.id, i) for i in range(3))
    assert (head.created, head.photos_expire, head.expires) == (clock.now, clock.now + 86_400, clock.now + 30 * 86_400)
    claim = await take(jobs, "worker-1")
    assert (claim.job.kind, claim.job.payload, claim.head.id) == (JobKind.RECONSTRUCT, {}, head.id)
    assert await jobs.claim("worker-2") is None


async def test_identifiers_have_128_random_bits(jobs: JobStore) -> None:
    ids = {await jobs.reserve("anna") for _ in range(20)}
    assert len(ids) == 20
    assert all(len(i) == len("head_") + 26 and i.startswith("head_") for i in ids)
    # 26 places of 5 bits; of the last place 2 are padding.
    assert len({i[5:15] for i in ids}) == len({i[15:25] for i in ids}) == 20


async def test_the_same_key_and_request_give_the_first_head_again(jobs: JobStore) -> None:
    first = await ask(jobs, key="k-1")
    again = await ask(jobs, key="k-1")
    assert (first.created, again.created) == (True, False)
    assert again.head == first.head
    assert (await jobs.counts()).jobs == {(JobKind.RECONSTRUCT, JobState.QUEUED): 1}


async def test_photos_that_were_sent_again_are_to_be_removed(jobs: JobStore) -> None:
    await ask(jobs, key="k-1")
    assert await jobs.removals() == ()
    reserved = await jobs.reserve("anna")
    await jobs.create_head("anna", _like_first(reserved))
    assert {r.scope for r in await jobs.removals()} == {photo_scope(reserved), head_scope(reserved)}


async def test_the_same_key_for_another_request_is_refused(jobs: JobStore) -> None:
    first = await ask(jobs, key="k-1")
    with pytest.raises(IdempotencyMismatch):
        await ask(jobs, key="k-1", photos=2)
    assert (await jobs.list_heads("anna")).heads == (first.head,)


async def test_keys_of_two_customers_do_not_meet(jobs: JobStore) -> None:
    mine, other = await ask(jobs, "anna", key="k-1"), await ask(jobs, "bert", key="k-1", photos=2)
    assert mine.created
    assert other.created
    assert mine.head.id != other.head.id


async def test_of_many_at_once_with_one_key_one_makes_the_head(jobs: JobStore) -> None:
    made = await asyncio.gather(*(ask(jobs, key="k-1") for _ in range(12)))
    assert sum(m.created for m in made) == 1
    assert len({m.head.id for m in made}) == 1
    assert (await jobs.counts()).ready == 1


async def test_a_head_that_was_not_reserved_is_refused(jobs: JobStore) -> None:
    head_id = await jobs.reserve("anna")
    with pytest.raises(JobConflict):
        await jobs.create_head("bert", NewHead(head_id, "", OPTIONS, (photo(head_id),)))
    await jobs.create_head("anna", NewHead(head_id, "", OPTIONS, (photo(head_id),)))
    with pytest.raises(JobConflict):
        await jobs.create_head("anna", NewHead(head_id, "", OPTIONS, (photo(head_id),)))


async def test_an_upload_that_took_too_long_is_refused_and_removed(jobs: JobStore, clock: SetClock) -> None:
    head_id = await jobs.reserve("anna")
    clock.pass_(3600)
    assert {r.scope for r in await jobs.removals()} == {photo_scope(head_id), head_scope(head_id)}
    with pytest.raises(JobConflict, match="3600 s"):
        await jobs.create_head("anna", NewHead(head_id, "", OPTIONS, (photo(head_id),)))
    assert (await jobs.list_heads("anna")).heads == ()


async def test_a_reservation_that_is_about_to_end_is_not_taken_over(jobs: JobStore, clock: SetClock) -> None:
    head_id = await jobs.reserve("anna")
    clock.pass_(3600 - 5)
    with pytest.raises(JobConflict):
        await jobs.create_head("anna", NewHead(head_id, "", OPTIONS, (photo(head_id),)))


async def test_an_abandoned_upload_is_removed_at_once_and_a_head_cannot_be_abandoned(jobs: JobStore) -> None:
    head_id, head = await jobs.reserve("anna"), await ask_head(jobs)
    await jobs.abandon("bert", head_id)
    assert await jobs.removals() == ()
    await jobs.abandon("anna", head_id)
    await jobs.abandon("anna", head.id)
    assert {r.head_id for r in await jobs.removals()} == {head_id}


async def test_what_no_database_can_hold_is_refused_with_a_name(jobs: JobStore) -> None:
    head_id = await jobs.reserve("anna")
    new = NewHead(head_id, "", OPTIONS, (photo(head_id),))
    for wrong in (
        replace(new, name="a\0b"),
        replace(new, name="half \ud83d"),
        replace(new, name="x" * 201),
        replace(new, photos=()),
        replace(new, photos=tuple(photo(head_id, i) for i in range(17))),
        replace(new, photos=(replace(photo(head_id), name="a\nb"),)),
        replace(new, idempotency=Idempotency("", "d")),
        replace(new, idempotency=Idempotency("k" * 201, "d")),
    ):
        with pytest.raises(OptionInvalid):
            await jobs.create_head("anna", wrong)
    assert (await jobs.create_head("anna", replace(new, options={"a\0": "\ud800"}))).head.options == {"a\0": "\ud800"}


async def test_forged_identifiers_are_not_found(jobs: JobStore) -> None:
    await ask_head(jobs)
    for forged in (
        "",
        "head_",
        "head_" + "a" * 26,
        "head_%",
        "' OR 1=1 --",
        "head_\0",
        "../" * 5,
        "é" * 31,
        "x" * 10_000,
    ):
        with pytest.raises(HeadNotFound):
            await jobs.get_head("anna", forged)
        with pytest.raises(HeadNotFound):
            await jobs.wait_events("anna", forged, timeout=0)
        with pytest.raises(HeadNotFound):
            await jobs.delete_head("anna", forged)


async def test_nothing_of_another_customers_head_can_be_seen_or_touched(jobs: JobStore) -> None:
    head = await ask_done(jobs, "anna", product("head.glb"))
    before = await jobs.get_head("anna", head.id)
    calls = (
        lambda owner: jobs.get_head(owner, head.id),
        lambda owner: jobs.get_product(owner, head.id, "head.glb"),
        lambda owner: jobs.events(owner, head.id),
        lambda owner: jobs.wait_events(owner, head.id, timeout=0),
        lambda owner: jobs.cancel_head(owner, head.id),
        lambda owner: jobs.create_export(owner, head.id, {}),
        lambda owner: jobs.delete_head(owner, head.id),
    )
    missing = "head_" + "a" * 26
    for call in calls:
        for stranger in ("bert", "", "anna ", "ANNA", "%", "a%"):
            with pytest.raises(HeadNotFound) as refused:
                await call(stranger)
            assert str(refused.value) == f"there is no head {head.id}"
    with pytest.raises(HeadNotFound, match=f"there is no head {missing}"):
        await jobs.get_head("bert", missing)
    assert (await jobs.list_heads("bert")).heads == ()
    assert await jobs.get_head("anna", head.id) == before


async def test_heads_are_listed_newest_first_in_pages_that_new_heads_do_not_shift(
    jobs: JobStore, clock: SetClock
) -> None:
    made = []
    for i in range(7):
        made.append((await ask_head(jobs)).id)
        await ask_head(jobs, "bert")
        clock.pass_(0.001 * (i % 3))
    expected = [h.id for h in sorted([await jobs.get_head("anna", i) for i in made], key=lambda h: (h.created, h.id))]
    page = await jobs.list_heads("anna", limit=3)
    found = [h.id for h in page.heads]
    clock.pass_(1)
    await ask_head(jobs)
    while page.cursor is not None:
        page = await jobs.list_heads("anna", limit=3, cursor=page.cursor)
        found += [h.id for h in page.heads]
    assert found == expected[::-1]
    assert [h.id for h in (await jobs.list_heads("anna", limit=8)).heads][1:] == found


async def test_listed_heads_are_whole_and_can_be_chosen_by_state(jobs: JobStore, clock: SetClock) -> None:
    done = await ask_done(jobs, "anna", product("head.glb"), product("print.stl", 1))
    clock.pass_(1)
    waiting = await ask_head(jobs)
    assert (await jobs.list_heads("anna")).heads == (waiting, done)
    assert (await jobs.list_heads("anna", states=[HeadState.DONE, HeadState.FAILED])).heads == (done,)


async def test_wrong_cursors_and_limits_are_refused(jobs: JobStore) -> None:
    await ask_head(jobs)
    for cursor in ("", "x", "é", "bnVsbA", "W10", "WzEsICJhIl0", "WzFlOTk5LCAiYSJd", "[" * 5000, "A" * 100_001):
        with pytest.raises(OptionInvalid, match="cursor"):
            await jobs.list_heads("anna", cursor=cursor)
    for limit in (0, -1, 201):
        with pytest.raises(OptionInvalid, match="limit"):
            await jobs.list_heads("anna", limit=limit)


async def test_a_file_is_found_by_name_and_a_missing_one_says_what_there_is(jobs: JobStore) -> None:
    head = await ask_done(jobs, "anna", product("head.glb", 1))
    assert await jobs.get_product("anna", head.id, "head.glb") == product("head.glb", 1)
    for name in ("other.glb", "", "../head.glb", "head.glb\0", "%"):
        with pytest.raises(ProductNotFound, match=r"there are: head\.glb"):
            await jobs.get_product("anna", head.id, name)


async def test_a_days_quota_is_charged_once_for_each_head_and_ends_at_midnight(jobs: JobStore, clock: SetClock) -> None:
    clock.now = 1_700_006_400.0 - 100  # before midnight
    for _ in range(2):
        await ask(jobs, quota=3)
    first = await ask(jobs, quota=3, key="k")
    assert not (await ask(jobs, quota=3, key="k")).created
    with pytest.raises(QuotaExceeded) as refused:
        await ask(jobs, quota=3)
    assert refused.value.detail["retry_after_seconds"] == 101
    await ask(jobs, "bert", quota=3)
    await jobs.delete_head("anna", first.head.id)
    with pytest.raises(QuotaExceeded):
        await ask(jobs, quota=3)
    clock.pass_(101)
    assert (await ask(jobs, quota=3)).created


async def test_a_refused_head_leaves_nothing_but_its_reservation(jobs: JobStore) -> None:
    await ask(jobs, quota=1)
    head_id = await jobs.reserve("anna")
    new = NewHead(head_id, "", OPTIONS, (photo(head_id),), daily_quota=1)
    with pytest.raises(QuotaExceeded):
        await jobs.create_head("anna", new)
    with pytest.raises(HeadNotFound):
        await jobs.get_head("anna", head_id)
    assert (await jobs.create_head("anna", replace(new, daily_quota=2))).created


async def test_when_too_many_jobs_wait_none_is_taken(url: str, clock: SetClock) -> None:
    async with await open_jobs(JobSettings(database_url=url, queue_limit=2), clock) as jobs:
        await ask_head(jobs)
        await ask_head(jobs, "bert")
        with pytest.raises(Overloaded) as refused:
            await ask_head(jobs)
        assert refused.value.detail["retry_after_seconds"] == 10
        await take(jobs)
        await ask_head(jobs)


async def test_an_export_is_a_job_of_a_head_that_stays_done(jobs: JobStore) -> None:
    head = await ask_done(jobs, "anna", product("head.glb"))
    asked = await jobs.create_export("anna", head.id, {"formats": ["3mf"]})
    claim = await take(jobs)
    assert (claim.job.id, claim.job.kind, claim.job.payload) == (asked.job.id, JobKind.EXPORT, {"formats": ["3mf"]})
    await jobs.advance(claim.lease, progress=0.5, products=[product("print.3mf", 7)])
    await jobs.finish(claim.lease)
    after = await jobs.get_head("anna", head.id)
    assert (after.state, after.progress) == (HeadState.DONE, 1.0)
    assert after.products == (product("head.glb"), product("print.3mf", 7))
    assert [j.state for j in after.exports] == [JobState.DONE]
    told = [(e.kind, e.data.get("state")) for e in await jobs.events("anna", head.id, head.sequence)]
    assert told == [(EventKind.EXPORT, "queued"), (EventKind.PRODUCT, None), (EventKind.EXPORT, "done")]


async def test_an_export_of_a_head_that_is_not_done_is_refused(jobs: JobStore) -> None:
    head = await ask_head(jobs)
    with pytest.raises(JobConflict, match="queued"):
        await jobs.create_export("anna", head.id, {})


async def test_the_same_export_with_the_same_key_is_one_job(jobs: JobStore) -> None:
    head, other = await ask_done(jobs), await ask_done(jobs)
    asked = await asyncio.gather(
        *(jobs.create_export("anna", head.id, {"a": 1}, idempotency=Idempotency("k", "d")) for _ in range(6))
    )
    assert sum(a.created for a in asked) == 1
    assert len({a.job.id for a in asked}) == 1
    with pytest.raises(IdempotencyMismatch):
        await jobs.create_export("anna", head.id, {"a": 2}, idempotency=Idempotency("k", "e"))
    assert (await jobs.create_export("anna", other.id, {}, idempotency=Idempotency("k", "e"))).created


async def test_a_failed_export_leaves_its_head_done_and_says_why(jobs: JobStore) -> None:
    head = await ask_done(jobs)
    await jobs.create_export("anna", head.id, {})
    await jobs.fail((await take(jobs)).lease, Failure("mesh_invalid", "no solid", {"holes": 2}), retry=False)
    after = await jobs.get_head("anna", head.id)
    assert (after.state, after.error) == (HeadState.DONE, None)
    assert after.exports[0].error == Failure("mesh_invalid", "no solid", {"holes": 2})
    assert (await jobs.events("anna", head.id))[-1].data["error"]["code"] == "mesh_invalid"


def _like_first(head_id: str) -> NewHead:
    pictures = (photo(head_id),)
    return NewHead(head_id, "", OPTIONS, pictures, Idempotency("k-1", request_digest("", OPTIONS, pictures)))


async def test_an_export_is_given_what_the_reconstruction_has_recorded(jobs: JobStore) -> None:
    head = await ask_head(jobs)
    claim = await take(jobs)
    await jobs.advance(claim.lease, step=Step("head", {"key": "heads/x/y"}))
    await jobs.finish(claim.lease)
    await jobs.create_export("anna", head.id, {})
    export = await take(jobs)
    await jobs.advance(export.lease, step=Step("print", {"n": 1}))
    await jobs.release(export.lease)
    again = await take(jobs)
    assert (claim.made, again.made, again.steps) == ({}, {"head": {"key": "heads/x/y"}}, {"print": {"n": 1}})
