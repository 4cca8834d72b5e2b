"""Whether the gateway can answer, and which engines there are."""

import asyncio
from pathlib import Path

import pytest

from gateway.readiness import Lately
from maquette.errors import ServiceUnavailable, StoreRefused
from maquette.rpc.remote import RemoteDetector
from maquette.rpc.settings import ClientSettings
from maquette.store import FileStore
from maquette.v1.reconstructor_pb2 import ListEnginesRequest
from services.reconstructor.service import LocalReconstructorService
from tests.gateway.callers import code_of
from tests.gateway.serving import serving

pytestmark = pytest.mark.anyio


async def test_a_gateway_that_has_everything_is_ready(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, served.client(None) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"
    assert {name: d["status"] for name, d in answer.json()["dependencies"].items()} == dict.fromkeys(
        ("jobs", "store", "detector", "reconstructor"), "ok"
    )


class _Store(FileStore):
    refused = False

    def check(self) -> None:
        if self.refused:
            raise StoreRefused("wrong credentials for secret@10.0.0.7")
        super().check()


async def test_what_fails_is_named_without_its_secrets_and_the_process_is_still_alive(tmp_path: Path) -> None:
    # Nobody listens there.
    async with RemoteDetector(ClientSettings(target="127.0.0.1:1", max_attempts=1)) as detector:
        store = _Store(tmp_path / "store")
        store.refused = True
        async with serving(tmp_path, store=store, detector=detector) as served, served.client(None) as client:
            answer = await client.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["status"] == "unready"
            assert answer.json()["dependencies"] == {
                "jobs": {"status": "ok", "code": None},
                "store": {"status": "failed", "code": "store_refused"},
                "detector": {"status": "failed", "code": "service_unavailable"},
                "reconstructor": {"status": "ok", "code": None},
            }
            assert "10.0.0.7" not in answer.text
            assert (await client.get("/healthz")).status_code == 200
            store.refused = False
            async with asyncio.timeout(5):
                while (await client.get("/readyz")).json()["dependencies"]["store"]["status"] != "ok":
                    await asyncio.sleep(0.1)


async def test_a_dependency_that_does_not_answer_in_time_is_not_ready(tmp_path: Path) -> None:
    class Slow(LocalReconstructorService):
        async def check(self) -> None:
            await asyncio.sleep(60)

    slow = Slow(FileStore(tmp_path / "store"))
    async with serving(tmp_path, reconstructor=slow, ready_s=0.1) as served, served.client(None) as client:
        answer = await client.get("/readyz")
    assert answer.json()["dependencies"]["reconstructor"] == {"status": "failed", "code": "deadline_exceeded"}
    await asyncio.to_thread(slow.close)


async def test_the_engines_are_those_of_the_reconstructor(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, served.customer() as anna:
        answer = await anna.get("/v1/engines")
        listed = await served.gateway.reconstructor.list_engines(ListEnginesRequest())
    assert [(e["name"], e["version"], e["licence"]) for e in answer.json()["engines"]] == [
        (e.name, e.version, e.licence) for e in listed.engines
    ]
    (engine,) = [e for e in answer.json()["engines"] if e["name"] == "open"]
    assert engine["available"] and engine["commercial_use"] and engine["unavailable_reason"] is None


async def test_a_reconstructor_that_is_away_is_a_problem(tmp_path: Path) -> None:
    class Away(LocalReconstructorService):
        async def list_engines(self, request: ListEnginesRequest) -> None:  # type: ignore[override]
            raise ServiceUnavailable("nobody at 10.0.0.7")

    away = Away(FileStore(tmp_path / "store"))
    async with serving(tmp_path, reconstructor=away) as served, served.customer() as anna:
        answer = await anna.get("/v1/engines")
    assert code_of(answer) == (503, "service_unavailable")
    assert "10.0.0.7" not in answer.text
    await asyncio.to_thread(away.close)


class Oracle:
    """Answers with how often it was asked, when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = asyncio.Event()
        self.go.set()
        self.fails = False

    async def __call__(self) -> int:
        self.asked += 1
        mine = self.asked
        await self.go.wait()
        if self.fails:
            raise ServiceUnavailable("away")
        return mine


async def test_a_question_of_many_is_asked_once_and_again_when_the_answer_is_old() -> None:
    oracle = Oracle()
    lately = Lately(oracle, 0.2)
    assert await asyncio.gather(*(lately() for _ in range(20))) == [1] * 20
    assert await lately() == 1
    await asyncio.sleep(0.25)
    assert await asyncio.gather(*(lately() for _ in range(20))) == [2] * 20


async def test_one_who_gives_up_waiting_takes_the_answer_from_nobody() -> None:
    oracle = Oracle()
    oracle.go.clear()
    lately = Lately(oracle, 10)
    impatient, patient = asyncio.create_task(lately()), asyncio.create_task(lately())
    await asyncio.sleep(0.01)
    impatient.cancel()
    oracle.go.set()
    assert await patient == 1


async def test_an_old_answer_does_while_the_new_one_is_on_its_way_where_that_is_good_enough() -> None:
    oracle = Oracle()
    lately = Lately(oracle, 0.05, patient=False)
    assert await lately() == 1
    await asyncio.sleep(0.1)
    oracle.go.clear()
    assert [await lately(), await lately()] == [1, 1]
    oracle.go.set()
    await asyncio.sleep(0.01)
    assert await lately() == 2


async def test_a_failure_is_not_remembered() -> None:
    oracle = Oracle()
    oracle.fails = True
    lately = Lately(oracle, 10)
    with pytest.raises(ServiceUnavailable):
        await lately()
    oracle.fails = False
    assert await lately() == 2
