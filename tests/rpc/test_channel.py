"""Which calls are tried again, and where they go."""

import asyncio
import socket
from contextlib import AsyncExitStack

import pytest

from maquette.errors import MaquetteError, ServiceUnavailable, StoreFull, StoreUnavailable
from maquette.rpc.channel import service_config
from maquette.rpc.remote import RemoteMeshproc
from maquette.rpc.server import RpcServer
from maquette.rpc.servicers import meshproc
from maquette.rpc.settings import ClientSettings, ServerSettings
from tests.rpc.scripted import Scripted, mesh, serving

pytestmark = pytest.mark.anyio


class Stubborn:
    """Fails a number of times."""

    def __init__(self, times: int, error: Exception) -> None:
        self.left, self.error, self.calls = times, error, 0

    def __call__(self, _mesh: bytes) -> None:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error


async def test_unavailable_is_tried_again_a_large_message_included() -> None:
    work = Stubborn(2, StoreUnavailable("the store does not answer"))
    async with serving(Scripted(inspecting=work)) as pair:
        assert (await pair.client.inspect(mesh("x" * 3_000_000))).report.vertices == 3_000_000
        assert work.calls == 3


async def test_a_service_that_stays_unavailable_is_given_up_with_its_own_error() -> None:
    work = Stubborn(99, StoreUnavailable("the store does not answer", host="x"))
    async with serving(Scripted(inspecting=work), client={"max_attempts": 3}) as pair:
        with pytest.raises(StoreUnavailable, match="the store does not answer"):
            await pair.client.inspect(mesh())
        assert work.calls == 3


@pytest.mark.parametrize("error", [MaquetteError("x"), StoreFull("x"), ZeroDivisionError("x")])
async def test_nothing_else_is_tried_again(error: Exception) -> None:
    work = Stubborn(1, error)
    async with serving(Scripted(inspecting=work)) as pair:
        with pytest.raises(MaquetteError):
            await pair.client.inspect(mesh())
        assert work.calls == 1


async def test_calls_wait_out_a_server_that_comes_back() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with RemoteMeshproc(ClientSettings(target=f"127.0.0.1:{port}", max_attempts=5)) as client:
        call = asyncio.ensure_future(client.inspect(mesh("abc")))
        await asyncio.sleep(0.1)
        server = RpcServer(ServerSettings(port=port, drain_delay_seconds=0), [meshproc(Scripted())])
        await server.start()
        await server.set_serving(True)
        assert (await call).report.vertices == 3
        await server.stop()


async def test_all_addresses_of_a_name_get_calls_and_one_that_drains_gets_none() -> None:
    async with AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(serving()) for _ in range(2)]
        target = "ipv4:" + ",".join(f"127.0.0.1:{p.server.port}" for p in pairs)
        client = await stack.enter_async_context(RemoteMeshproc(ClientSettings(target=target)))
        while not all(p.service.started for p in pairs):
            await client.inspect(mesh())
        before = [len(p.service.started) for p in pairs]
        for _ in range(10):
            await client.inspect(mesh())
        assert [len(p.service.started) - n for p, n in zip(pairs, before, strict=True)] == [5, 5]

        await pairs[0].server.set_serving(False)
        await asyncio.sleep(0.2)
        before = [len(p.service.started) for p in pairs]
        for _ in range(10):
            await client.inspect(mesh())
        assert [len(p.service.started) - n for p, n in zip(pairs, before, strict=True)] == [0, 10]


async def test_a_name_is_looked_up_for_all_its_addresses() -> None:
    async with serving() as pair:
        settings = ClientSettings(target=f"dns:///localhost:{pair.server.port}")
        async with RemoteMeshproc(settings) as client:
            assert (await client.inspect(mesh("abc"))).report.vertices == 3


async def test_without_retries_there_is_no_policy_for_them() -> None:
    assert "methodConfig" not in service_config(ClientSettings(target="x", max_attempts=1))
    policy = service_config(ClientSettings(target="x"))["methodConfig"][0]["retryPolicy"]
    assert policy["retryableStatusCodes"] == ["UNAVAILABLE"]


async def test_a_client_of_nothing_is_told_so() -> None:
    async with RemoteMeshproc(ClientSettings(target="127.0.0.1:1", max_attempts=1)) as client:
        with pytest.raises(ServiceUnavailable):
            await client.check()
