import asyncio
import hashlib
import re
import sqlite3
from pathlib import Path

import pytest

from gateway.jobs import JobSettings, JobStore, open_jobs
from gateway.jobs.keys import CUSTOMER_SCOPES, Scope
from maquette.errors import KeyInvalid, OptionInvalid, ScopeMissing
from tests.jobs.customers import SetClock, ask_head

pytestmark = pytest.mark.anyio


async def test_a_key_is_shown_once_and_lets_its_holder_in(jobs: JobStore, clock: SetClock) -> None:
    made = await jobs.keys.create("Studio Ä", rate="10/second;200/minute", quota=500)
    assert re.fullmatch("mq_[a-z2-7]{16}_[a-z2-7]{52}", made.secret)
    assert made.secret.startswith(f"mq_{made.key.id}_")
    assert made.secret not in repr(made)
    key = await jobs.keys.authenticate(made.secret)
    assert key == made.key
    assert (key.owner, key.name, key.scopes, key.rate, key.quota, key.created, key.revoked) == (
        key.id,
        "Studio Ä",
        CUSTOMER_SCOPES,
        "10/second;200/minute",
        500,
        clock.now,
        None,
    )


async def test_only_a_digest_of_the_secret_is_stored(sqlite_url: str, tmp_path: Path) -> None:
    async with await open_jobs(JobSettings(database_url=sqlite_url)) as jobs:
        made = await jobs.keys.create("a")
        await jobs.keys.authenticate(made.secret)
    secret = made.secret.split("_")[2]
    stored = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert made.key.id.encode() in stored
    assert secret.encode() not in stored
    row = sqlite3.connect(tmp_path / "jobs.sqlite3").execute("SELECT sha256 FROM keys").fetchone()
    assert row == (hashlib.sha256(secret.encode()).hexdigest(),)


async def test_every_other_text_is_refused_in_the_same_words(jobs: JobStore) -> None:
    made, other = await jobs.keys.create("a"), await jobs.keys.create("b")
    revoked = await jobs.keys.create("c")
    await jobs.keys.revoke(revoked.key.id)
    prefix, key_id, secret = made.secret.split("_")
    wrong = {
        "",
        "mq_",
        made.secret[:-1],
        made.secret + "a",
        made.secret + "\n",
        made.secret.upper(),
        made.secret[:-1] + ("b" if made.secret[-1] == "a" else "a"),
        f"{prefix}_{other.key.id}_{secret}",
        f"{prefix}_{'a' * 16}_{secret}",
        f"mk_{key_id}_{secret}",
        f"mq_%_{secret}",
        "mq_\0_\0",
        "é" * 72,
        "x" * 1_000_000,
        revoked.secret,
    }
    said = set()
    for presented in wrong:
        with pytest.raises(KeyInvalid) as refused:
            await jobs.keys.authenticate(presented)
        said.add(str(refused.value))
    assert len(said) == 1
    assert not any(s in next(iter(said)) for s in (key_id, secret))
    await jobs.keys.authenticate(made.secret)


async def test_keys_are_different(jobs: JobStore) -> None:
    made = [await jobs.keys.create("same name") for _ in range(10)]
    assert len({m.key.id for m in made}) == len({m.secret.split("_")[2] for m in made}) == 10


async def test_a_key_may_do_what_its_scopes_say(jobs: JobStore) -> None:
    reader = await jobs.keys.create("a", scopes=[Scope.READ])
    key = await jobs.keys.authenticate(reader.secret)
    key.require(Scope.READ)
    for scope in set(Scope) - {Scope.READ}:
        with pytest.raises(ScopeMissing, match=scope):
            key.require(scope)
    assert Scope.METRICS not in CUSTOMER_SCOPES


async def test_a_revoked_key_lets_nobody_in_and_is_listed_when_asked_for(jobs: JobStore, clock: SetClock) -> None:
    made = [await jobs.keys.create(name) for name in "abc"]
    clock.pass_(5)
    revoked = await jobs.keys.revoke(made[1].key.id)
    assert revoked.revoked == clock.now
    clock.pass_(5)
    assert await jobs.keys.revoke(made[1].key.id) == revoked
    with pytest.raises(KeyInvalid):
        await jobs.keys.authenticate(made[1].secret)
    assert {k.name for k in await jobs.keys.list()} == {"a", "c"}
    assert {k.name for k in await jobs.keys.list(revoked=True)} == {"a", "b", "c"}
    with pytest.raises(KeyInvalid):
        await jobs.keys.revoke("unknown")


async def test_the_last_use_is_noted_to_the_minute(jobs: JobStore, clock: SetClock) -> None:
    made = await jobs.keys.create("a")
    used = []
    for pause in (0, 30, 31, 600):
        clock.pass_(pause)
        await asyncio.gather(*(jobs.keys.authenticate(made.secret) for _ in range(5)))
        await jobs.keys.settle()
        used.append((await jobs.keys.list())[0].last_used)
    now = clock.now
    assert used == [now - 661, now - 661, now - 600, now]


async def test_a_key_can_replace_another_without_losing_sight_of_its_heads(jobs: JobStore) -> None:
    old = (await jobs.keys.create("old")).key
    head = await ask_head(jobs, old.owner)
    new = (await jobs.keys.create("new", owner=old.owner)).key
    await jobs.keys.revoke(old.id)
    assert new.id != old.id
    assert (await jobs.list_heads(new.owner)).heads == (head,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 201},
        {"scopes": []},
        {"rate": "often"},
        {"rate": "10/fortnight"},
        {"rate": ""},
        {"quota": 0},
        {"quota": 2**31},
        {"owner": ""},
        {"owner": "a\0"},
    ],
)
async def test_wrong_options_are_refused(sqlite_url: str, wrong: dict[str, object]) -> None:
    async with await open_jobs(JobSettings(database_url=sqlite_url)) as jobs:
        with pytest.raises(OptionInvalid):
            await jobs.keys.create(**{"name": "a", **wrong})  # type: ignore[arg-type]
        assert await jobs.keys.list(revoked=True) == ()


async def test_a_use_that_cannot_be_noted_lets_its_holder_in_all_the_same(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with await open_jobs(JobSettings(database_url=sqlite_url, outage_s=0.1)) as jobs:
        made = await jobs.keys.create("a")
        other = sqlite3.connect(tmp_path / "jobs.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert (await jobs.keys.authenticate(made.secret)).id == made.key.id
        await jobs.keys.settle()
        other.close()
        assert (await jobs.keys.list())[0].last_used is None
    assert "use of a key" in caplog.text
