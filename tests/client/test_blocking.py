import asyncio
import threading
from pathlib import Path

import pytest

from maquette import errors
from maquette.client import AsyncClient, Client
from tests.client.conftest import FILES, finish, sent
from tests.gateway.serving import Served

pytestmark = pytest.mark.anyio


async def test_both_clients_have_the_same_methods() -> None:
    public = {name for name in vars(AsyncClient) if not name.startswith("_")}
    assert {name for name in vars(Client) if not name.startswith("_")} - {"server"} == public


async def test_a_program_that_waits_gets_the_same(served: Served, key: str, sample: Path, tmp_path: Path) -> None:
    def program() -> tuple[dict[str, bytes], list[int], list[str]]:
        with Client(served.url, key=key) as client:
            asked = client.submit(sample)
            submitted.set()
            heard: list[int] = []
            head = client.wait(asked.id, lambda e: heard.append(e.number))
            files = sent(client.download(head, tmp_path))
            assert [e.number for e in client.events(head.id)] == heard
            assert next(client.events(head.id)).number == 1
            with pytest.raises(errors.HeadNotFound):
                client.get("head_aaaaaaaaaaaaaaaaaaaaaaaaaa")
            return files, heard, [h.id for h in client.heads()]

    submitted = threading.Event()
    running = asyncio.create_task(asyncio.to_thread(program))
    await asyncio.to_thread(submitted.wait, 30)
    (head,) = (await served.jobs.list_heads((await served.jobs.keys.authenticate(key)).owner)).heads
    await finish(served, head.id)
    files, heard, heads = await running
    assert files == {name: data for name, (_, data) in FILES.items()}
    assert heard == list(range(1, len(heard) + 1))
    assert heads == [head.id]


def test_a_server_that_is_none_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    with pytest.raises(errors.OptionInvalid):
        Client("nonsense")
    assert threading.active_count() == before
