"""Errors on their way from a service to whoever called it."""

import io
import json
import logging

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo

from maquette import errors
from maquette.errors import InputError, MaquetteError, ObjectCorrupt, OptionInvalid, Overloaded, ServiceError
from maquette.logs import JsonFormatter
from maquette.rpc.errors import DETAILS_KEY, INTERNAL_MESSAGE, error_of, status_of
from maquette.v1 import meshproc_pb2 as mp
from tests.rpc.scripted import SERVICE, Scripted, mesh, raw_call, raw_status, serving

pytestmark = pytest.mark.anyio

TREE = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, MaquetteError)]


def fail(error: Exception) -> Scripted:
    def inspecting(_mesh: bytes) -> None:
        raise error

    return Scripted(inspecting=inspecting)


async def test_every_error_of_the_tree_arrives_as_it_was_raised() -> None:
    raised: list[MaquetteError] = []

    def inspecting(_mesh: bytes) -> None:
        raise raised[-1]

    async with serving(Scripted(inspecting=inspecting), client={"max_attempts": 1}) as pair:
        for kind in TREE:
            raised.append(kind(f"expected a, found {kind.code} “ü”", faces=3, names=["b", "c"], ratio=0.5, none=None))
            with pytest.raises(MaquetteError) as caught:
                await pair.client.inspect(mesh())
            assert type(caught.value) is kind
            assert str(caught.value) == str(raised[-1])
            assert caught.value.detail == raised[-1].detail


async def test_an_error_in_the_middle_of_a_stream_comes_after_what_was_ready() -> None:
    def exporting():
        yield "head.glb"
        raise errors.MeshInvalid("expected a closed mesh, found holes", holes=3)

    async with serving(Scripted(exporting=exporting)) as pair:
        names = []
        with pytest.raises(errors.MeshInvalid, match="found holes") as caught:
            async for answer in pair.client.export(mp.ExportRequest()):
                names.append(answer.product.name)
        assert names == ["head.glb"]
        assert caught.value.detail == {"holes": 3}


async def test_an_unforeseen_exception_is_internal_and_its_text_stays_where_it_is() -> None:
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    handler.setFormatter(JsonFormatter("meshproc"))
    logging.getLogger("maquette.rpc.layers").addHandler(handler)
    try:
        async with serving() as pair:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await raw_call(pair.client.channel, f"/{SERVICE}/Simplify", b"")
            assert caught.value.code() is grpc.StatusCode.INTERNAL
            assert caught.value.details() == INTERNAL_MESSAGE
            assert b"anna_smith" not in raw_status(caught.value).SerializeToString()
            with pytest.raises(MaquetteError) as named:
                await pair.client.simplify(mp.SimplifyRequest())
            assert type(named.value) is MaquetteError
    finally:
        logging.getLogger("maquette.rpc.layers").removeHandler(handler)
    assert "anna_smith" not in log.getvalue()
    line = json.loads(log.getvalue().splitlines()[0])
    assert line["error"] == "ZeroDivisionError"
    assert any(at.endswith("simplify") for at in line["at"])


async def test_the_details_are_those_that_other_languages_read() -> None:
    error = OptionInvalid("expected 1024 or 2048, found 3", field="options.texture_size", found=3)
    async with serving(fail(error)) as pair:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw_call(pair.client.channel, f"/{SERVICE}/Inspect", mesh().SerializeToString())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    info, bad = ErrorInfo(), BadRequest()
    status = raw_status(caught.value)
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == (
        "OPTION_INVALID",
        "maquette",
        {"field": '"options.texture_size"', "found": "3"},
    )
    assert status.details[1].Unpack(bad)
    assert [(v.field, v.description) for v in bad.field_violations] == [("options.texture_size", str(error))]


def _retry_seconds(error: Exception) -> float:
    info = RetryInfo()
    (seconds,) = [info.retry_delay.ToMilliseconds() / 1000 for d in status_of(error).details if d.Unpack(info)]
    return seconds


async def test_an_overloaded_service_says_when_to_come_back() -> None:
    assert _retry_seconds(Overloaded("full", retry_after_seconds=2.5)) == 2.5


async def test_an_error_of_a_newer_service_keeps_its_code() -> None:
    status = status_of(InputError("expected less, found more", grams=3))
    info = ErrorInfo(reason="HEAD_TOO_HEAVY", domain="maquette", metadata={"grams": "3", "note": "not JSON"})
    status.details[0].Pack(info)
    trailers = grpc.aio.Metadata((DETAILS_KEY, status.SerializeToString()))
    failure = grpc.aio.AioRpcError(grpc.StatusCode.INVALID_ARGUMENT, grpc.aio.Metadata(), trailers, status.message)
    error = error_of(failure, "meshproc")
    assert type(error) is ServiceError
    assert error.detail == {"grams": 3, "note": "not JSON", "remote_code": "head_too_heavy"}


@pytest.mark.parametrize("details", [b"\xff\xff", b""])
async def test_details_that_are_none_leave_the_status(details: bytes) -> None:
    trailers = grpc.aio.Metadata((DETAILS_KEY, details))
    failure = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), trailers, "gone")
    error = error_of(failure, "meshproc")
    assert type(error) is errors.ServiceUnavailable
    assert error.detail == {"status": "UNAVAILABLE"}


async def test_a_long_detail_does_not_break_the_trailers() -> None:
    error = ObjectCorrupt("damaged " + "x" * 50_000, key="k" * 50_000, size=5)
    async with serving(fail(error)) as pair:
        with pytest.raises(ObjectCorrupt) as caught:
            await pair.client.inspect(mesh())
    assert str(caught.value).startswith("damaged xxx")
    assert caught.value.detail == {"size": 5}


async def test_a_service_that_is_not_there_is_unavailable() -> None:
    async with serving(client={"max_attempts": 1}) as pair:
        await pair.server.stop()
        with pytest.raises(errors.ServiceUnavailable, match="meshproc"):
            await pair.client.inspect(mesh())
