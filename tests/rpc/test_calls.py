"""Calls that go well, and messages that cannot."""

import asyncio

import grpc
import pytest

from maquette.errors import MessageInvalid, MessageTooLarge, ServiceMismatch
from maquette.rpc.errors import error_of
from maquette.services import MeshprocService
from maquette.v1 import common_pb2 as pb
from maquette.v1 import meshproc_pb2 as mp
from tests.rpc.scripted import SERVICE, mesh, raw_call, serving

pytestmark = pytest.mark.anyio


async def test_a_remote_service_answers_as_the_local_one_does() -> None:
    async with serving() as pair:
        for service in (pair.service, pair.client):
            asked: MeshprocService = service
            head = pb.Head(data=pb.Blob(inline=b"abc", sha256="x", media_type="y"))
            preview = await asked.preview(mp.PreviewRequest(head=head))
            assert preview.product.data == head.data
            assert (await asked.inspect(mesh("12345"))).report.vertices == 5
            assert [r.product.name async for r in asked.export(mp.ExportRequest())] == ["head.glb", "head.obj"]


async def test_many_calls_at_once_all_get_their_own_answer() -> None:
    async with serving(server={"max_queue": 100}) as pair:
        answers = await asyncio.gather(*(pair.client.inspect(mesh("x" * n)) for n in range(60)))
        assert [a.report.vertices for a in answers] == list(range(60))


async def test_a_message_that_cannot_be_parsed_is_named() -> None:
    async with serving() as pair:
        for method in ("Inspect", "Export"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                if method == "Inspect":
                    await raw_call(pair.client.channel, f"/{SERVICE}/{method}", b"\xff\xff\xff")
                else:
                    call = pair.client.channel.unary_stream(f"/{SERVICE}/{method}")(b"\xff\xff\xff", timeout=10)
                    await call.read()
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            error = error_of(caught.value, "meshproc")
            assert isinstance(error, MessageInvalid)
            assert "3 bytes that are none" in str(error)
        # The connection serves on.
        assert (await pair.client.inspect(mesh("ab"))).report.vertices == 2


async def test_an_unknown_method_is_another_version() -> None:
    async with serving() as pair:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw_call(pair.client.channel, f"/{SERVICE}/Levitate", b"")
        assert isinstance(error_of(caught.value, "meshproc"), ServiceMismatch)


@pytest.mark.parametrize("side", ["server", "client"])
async def test_a_request_beyond_the_limit_of_either_side_is_named_and_does_no_work(side: str) -> None:
    async with serving(**{side: {"max_message_bytes": 1 << 20}}) as pair:
        with pytest.raises(MessageTooLarge):
            await pair.client.inspect(mesh("x" * (1 << 20)))
        assert pair.service.started == []
        assert (await pair.client.inspect(mesh("x" * 1000))).report.vertices == 1000


@pytest.mark.parametrize("side", ["server", "client"])
async def test_an_answer_beyond_the_limit_of_either_side_is_named(side: str) -> None:
    async with serving(**{side: {"max_message_bytes": 1 << 20}}) as pair:
        with pytest.raises(MessageTooLarge):
            await pair.client.repair(mp.RepairRequest(merge_mm=1 << 20))
        assert len((await pair.client.repair(mp.RepairRequest(merge_mm=1000))).mesh.inline) == 1000


async def test_messages_far_above_grpcs_own_limit_pass() -> None:
    async with serving() as pair:
        assert (await pair.client.inspect(mesh("x" * 20_000_000))).report.vertices == 20_000_000
