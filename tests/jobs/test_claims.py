import pytest

from gateway.jobs import (
    Claim,
    EventKind,
    Failure,
    HeadState,
    JobKind,
    JobSettings,
    JobState,
    JobStore,
    Reason,
    Step,
    open_jobs,
)
from maquette.errors import HeadNotFound, JobConflict, LeaseLost, OptionInvalid, PhotosExpired
from tests.jobs.customers import SetClock, ask_done, ask_head, take

pytestmark = pytest.mark.anyio


async def _owners(jobs: JobStore, number: int, *, finish: bool) -> str:
    """First letters of the owners that are served in turn."""
    served = ""
    for _ in range(number):
        claim = await take(jobs)
        served += claim.job.owner[0]
        if finish:
            await jobs.finish(claim.lease)
    return served


async def _lose(jobs: JobStore, clock: SetClock) -> Claim:
    """Claim a job and let the lease run out."""
    claim = await take(jobs)
    clock.pass_(31)
    return claim


async def test_the_oldest_job_of_an_owner_is_first(jobs: JobStore, clock: SetClock) -> None:
    asked = []
    for _ in range(5):
        asked.append((await ask_head(jobs)).id)
        clock.pass_(1)
    assert [(await take(jobs)).head.id for _ in range(5)] == asked


async def test_a_higher_priority_is_first(jobs: JobStore, clock: SetClock) -> None:
    low = await ask_head(jobs, priority=-1)
    middle = await ask_head(jobs)
    high = await ask_head(jobs, "bert", priority=5)
    clock.pass_(1)
    assert [(await take(jobs)).head.id for _ in range(3)] == [high.id, middle.id, low.id]


async def test_one_worker_serves_owners_in_turn(jobs: JobStore, clock: SetClock) -> None:
    for _ in range(6):
        await ask_head(jobs, "anna")
    clock.pass_(60)
    await ask_head(jobs, "bert")
    await ask_head(jobs, "bert")
    clock.pass_(1)
    await ask_head(jobs, "carl")
    assert await _owners(jobs, 9, finish=True) == "abcabaaaa"


async def test_many_workers_are_shared_out_among_owners(jobs: JobStore, clock: SetClock) -> None:
    for _ in range(6):
        await ask_head(jobs, "anna")
    assert await _owners(jobs, 4, finish=False) == "aaaa"
    clock.pass_(1)
    await ask_head(jobs, "bert")
    await ask_head(jobs, "bert")
    # Anna has four running, so that Bert's two come first though they are younger.
    assert await _owners(jobs, 4, finish=False) == "bbaa"


async def test_a_claim_shows_what_earlier_tries_have_recorded(jobs: JobStore, clock: SetClock) -> None:
    await ask_head(jobs)
    first = await take(jobs, "one")
    await jobs.advance(first.lease, step=Step("detect", {"faces": [1, 2.5, None]}))
    await jobs.advance(first.lease, step=Step("coarse", {"blob": "heads/x/y"}))
    clock.pass_(31)
    second = await take(jobs, "two")
    assert (first.steps, second.steps) == ({}, {"detect": {"faces": [1, 2.5, None]}, "coarse": {"blob": "heads/x/y"}})
    assert (second.job.attempts, second.job.losses, second.lease.worker) == (2, 1, "two")
    assert first.lease.token != second.lease.token


async def test_a_silent_workers_job_is_anothers(jobs: JobStore, clock: SetClock) -> None:
    head = await ask_head(jobs)
    lost = await take(jobs, "one")
    clock.pass_(29.5)
    assert await jobs.claim("two") is None
    clock.pass_(0.5)
    taken = await take(jobs, "two")
    assert taken.job.id == lost.job.id
    for late in (
        jobs.heartbeat(lost.lease),
        jobs.advance(lost.lease, step=Step("detect", {})),
        jobs.finish(lost.lease),
        jobs.fail(lost.lease, Failure("x", "y"), retry=False),
        jobs.release(lost.lease),
        jobs.stopped(lost.lease),
    ):
        with pytest.raises(LeaseLost) as refused:
            await late
        assert refused.value.detail["why"] == "taken"
    await jobs.advance(taken.lease, step=Step("detect", {"by": "two"}))
    await jobs.finish(taken.lease)
    assert (await jobs.get_head("anna", head.id)).state is HeadState.DONE


async def test_the_head_says_that_it_waits_again(jobs: JobStore, clock: SetClock) -> None:
    head = await ask_head(jobs)
    claim = await take(jobs)
    await jobs.advance(claim.lease, state=HeadState.DETECTING, progress=0.25)
    clock.pass_(31)
    await jobs.sweep()
    after = await jobs.get_head("anna", head.id)
    assert (after.state, after.progress, after.error) == (HeadState.QUEUED, 0.25, None)
    told = (await jobs.events("anna", head.id))[-1]
    assert (told.kind, told.data) == (
        EventKind.STATE,
        {"state": "queued", "retry": {"reason": "worker_lost", "code": "worker_lost", "after": 0.0}},
    )


async def test_the_third_lost_lease_is_the_last(jobs: JobStore, clock: SetClock) -> None:
    head = await ask_head(jobs)
    for _ in range(3):
        lost = await _lose(jobs, clock)
    assert await jobs.claim("fourth") is None
    after = await jobs.get_head("anna", head.id)
    assert after.error is not None
    assert (after.state, after.error.code) == (HeadState.FAILED, "worker_lost")
    # Which worker it was is for operators, not for customers.
    assert after.error.detail == {"losses": 3}
    (letter,) = await jobs.dead_letters()
    assert letter.worker == "worker"
    assert (letter.id, letter.state, letter.reason, letter.losses) == (
        lost.job.id,
        JobState.FAILED,
        Reason.WORKER_LOST,
        3,
    )
    with pytest.raises(LeaseLost):
        await jobs.heartbeat(lost.lease)


async def test_passing_failures_are_tried_again_after_longer_and_longer_pauses(url: str, clock: SetClock) -> None:
    settings = JobSettings(database_url=url, attempts=5, retry_first_s=2, retry_longest_s=10)
    async with await open_jobs(settings, clock) as jobs:
        head = await ask_head(jobs)
        for pause in (2, 4, 8, 10):
            await jobs.fail((await take(jobs)).lease, Failure("service_unavailable", "gone"), retry=True)
            told = (await jobs.events("anna", head.id))[-1].data
            assert told == {
                "state": "queued",
                "retry": {"reason": "error", "code": "service_unavailable", "after": pause},
            }
            clock.pass_(pause - 0.01)
            assert await jobs.claim("early") is None
            clock.pass_(0.01)
        await jobs.fail((await take(jobs)).lease, Failure("service_unavailable", "still gone", {"n": 1}), retry=True)
        clock.pass_(1000)
        assert await jobs.claim("never") is None
        after = await jobs.get_head("anna", head.id)
        assert (after.state, after.error) == (
            HeadState.FAILED,
            Failure("service_unavailable", "still gone", {"n": 1}),
        )
        assert [(j.reason, j.failures) for j in await jobs.dead_letters()] == [(Reason.EXHAUSTED, 5)]


async def test_a_permanent_failure_is_not_tried_again(jobs: JobStore, clock: SetClock) -> None:
    head = await ask_head(jobs)
    failure = Failure("no_face_found", "expected a face, found none", {"photo": "me.jpg"})
    await jobs.fail((await take(jobs)).lease, failure, retry=False)
    clock.pass_(1000)
    assert await jobs.claim("never") is None
    after = await jobs.get_head("anna", head.id)
    assert (after.state, after.error) == (HeadState.FAILED, failure)
    told = (await jobs.events("anna", head.id))[-1].data
    assert told == {
        "state": "failed",
        "error": {
            "code": "no_face_found",
            "message": "expected a face, found none",
            "detail": {"photo": "me.jpg"},
        },
    }
    assert [j.reason for j in await jobs.dead_letters()] == [Reason.PERMANENT]


async def test_a_released_job_is_anothers_at_once_and_nothing_is_counted(jobs: JobStore) -> None:
    await ask_head(jobs)
    for _ in range(12):
        await jobs.release((await take(jobs)).lease)
    claim = await take(jobs)
    assert (claim.job.failures, claim.job.losses) == (0, 0)


async def test_a_job_that_waits_is_cancelled_at_once(jobs: JobStore) -> None:
    head = await ask_head(jobs)
    assert (await jobs.cancel_head("anna", head.id)).state is HeadState.CANCELLED
    assert await jobs.claim("worker") is None
    assert (await jobs.cancel_head("anna", head.id)).state is HeadState.CANCELLED
    assert [e.data["state"] for e in await jobs.events("anna", head.id)] == ["queued", "cancelled"]


async def test_the_holder_learns_of_a_cancellation_at_its_next_heartbeat(jobs: JobStore) -> None:
    head = await ask_head(jobs)
    claim = await take(jobs)
    assert not (await jobs.heartbeat(claim.lease)).cancel
    for _ in range(2):
        asked = await jobs.cancel_head("anna", head.id)
        assert (asked.state, asked.cancelling) == (HeadState.QUEUED, True)
    assert (await jobs.heartbeat(claim.lease)).cancel
    for _ in range(2):
        await jobs.stopped(claim.lease)
    after = await jobs.get_head("anna", head.id)
    assert (after.state, after.cancelling) == (HeadState.CANCELLED, False)
    with pytest.raises(LeaseLost) as refused:
        await jobs.finish(claim.lease)
    assert refused.value.detail["why"] == "over"


@pytest.mark.parametrize("end", ["lost", "failed", "released"])
async def test_a_cancelled_job_does_not_come_back(jobs: JobStore, clock: SetClock, end: str) -> None:
    head = await ask_head(jobs)
    claim = await take(jobs)
    await jobs.cancel_head("anna", head.id)
    if end == "lost":
        clock.pass_(31)
    elif end == "failed":
        await jobs.fail(claim.lease, Failure("a", "b"), retry=True)
    else:
        await jobs.release(claim.lease)
    clock.pass_(1000)
    assert await jobs.claim("other") is None
    assert (await jobs.get_head("anna", head.id)).state is HeadState.CANCELLED


async def test_work_that_is_done_before_the_worker_hears_of_the_cancellation_is_done(jobs: JobStore) -> None:
    head = await ask_head(jobs)
    claim = await take(jobs)
    await jobs.cancel_head("anna", head.id)
    await jobs.finish(claim.lease)
    assert (await jobs.get_head("anna", head.id)).state is HeadState.DONE


async def test_a_head_with_nothing_to_be_done_cannot_be_cancelled(jobs: JobStore) -> None:
    head = await ask_done(jobs)
    with pytest.raises(JobConflict, match="done"):
        await jobs.cancel_head("anna", head.id)


async def test_cancelling_a_done_head_cancels_its_exports(jobs: JobStore) -> None:
    head = await ask_done(jobs)
    await jobs.create_export("anna", head.id, {"n": 1})
    await jobs.create_export("anna", head.id, {"n": 2})
    running = await take(jobs)
    after = await jobs.cancel_head("anna", head.id)
    assert (after.state, after.cancelling) == (HeadState.DONE, True)
    await jobs.stopped(running.lease)
    after = await jobs.get_head("anna", head.id)
    assert [j.state for j in after.exports] == [JobState.CANCELLED] * 2
    assert after.state is HeadState.DONE


async def test_an_operator_can_queue_a_dead_letter_again(jobs: JobStore, clock: SetClock) -> None:
    head = await ask_head(jobs)
    for _ in range(3):
        await _lose(jobs, clock)
    await jobs.sweep()
    (letter,) = await jobs.dead_letters()
    revived = await jobs.revive(letter.id)
    assert (revived.state, revived.losses, revived.reason, revived.error) == (JobState.QUEUED, 0, None, None)
    assert (await jobs.get_head("anna", head.id)).error is None
    claim = await take(jobs)
    await jobs.finish(claim.lease)
    assert (await jobs.get_head("anna", head.id)).state is HeadState.DONE
    assert await jobs.dead_letters() == ()
    with pytest.raises(JobConflict):
        await jobs.revive(letter.id)
    for forged in ("", "job_" + "a" * 26, "job_\0"):
        with pytest.raises(HeadNotFound):
            await jobs.revive(forged)


async def test_a_dead_letter_without_photos_cannot_be_done_again(jobs: JobStore, clock: SetClock) -> None:
    await ask_head(jobs)
    await jobs.fail((await take(jobs)).lease, Failure("a", "b"), retry=False)
    clock.pass_(86_401)
    await jobs.sweep()
    with pytest.raises(PhotosExpired):
        await jobs.revive((await jobs.dead_letters())[0].id)


async def test_figures_count_what_there_is(jobs: JobStore, clock: SetClock) -> None:
    done = await ask_done(jobs)
    await jobs.create_export("anna", done.id, {})
    clock.pass_(5)
    await ask_head(jobs)
    await ask_head(jobs)
    await jobs.fail((await take(jobs)).lease, Failure("a", "b"), retry=True)
    clock.pass_(0.5)
    counts = await jobs.counts()
    assert counts.heads == {HeadState.DONE: 1, HeadState.QUEUED: 2}
    assert counts.jobs == {
        (JobKind.RECONSTRUCT, JobState.DONE): 1,
        (JobKind.RECONSTRUCT, JobState.QUEUED): 2,
        (JobKind.EXPORT, JobState.QUEUED): 1,
    }
    # The export failed once and waits for its next try.
    assert (counts.ready, counts.oldest_ready_s, counts.removals) == (2, 0.5, 0)
    await jobs.delete_head("anna", done.id)
    assert (await jobs.counts()).removals == 2


async def test_a_worker_without_a_name_is_refused(jobs: JobStore) -> None:
    with pytest.raises(OptionInvalid):
        await jobs.claim("")
