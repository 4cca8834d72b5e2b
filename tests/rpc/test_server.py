"""A server's life: start, health, figures, reflection, drain, end."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from maquette.errors import DeadlineExceeded, NoFaceFound, ServiceUnavailable, SetupError
from maquette.rpc.remote import RemoteMeshproc
from maquette.rpc.server import RpcServer
from maquette.rpc.servicers import detector, meshproc, reconstructor
from maquette.rpc.settings import ClientSettings, ServerSettings
from maquette.v1 import common_pb2, detector_pb2, meshproc_pb2, reconstructor_pb2
from tests.rpc.scripted import SERVICE, Gate, Scripted, mesh, raw_call, serving

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def fetch(port: int | None) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


async def test_a_server_is_not_serving_until_it_says_so() -> None:
    server = RpcServer(ServerSettings(drain_delay_seconds=0), [meshproc(Scripted())])
    await server.start()
    async with RemoteMeshproc(ClientSettings(target=f"127.0.0.1:{server.port}")) as client:
        with pytest.raises(ServiceUnavailable, match="unhealthy"):
            await client.check()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as plain:
            answer = await health_pb2_grpc.HealthStub(plain).Check(health_pb2.HealthCheckRequest(), timeout=5)
            assert answer.status == NOT_SERVING
        await server.set_serving(True)
        await client.check()
    await server.stop()


async def test_health_is_told_for_the_server_and_each_service_and_no_other() -> None:
    async with serving() as pair:
        health = health_pb2_grpc.HealthStub(pair.client.channel)
        for name in ("", SERVICE):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert answer.status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="another"), timeout=5)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_every_watcher_hears_of_a_change_though_another_has_left() -> None:
    async with serving(server={"drain_seconds": 5}) as pair:
        health = health_pb2_grpc.HealthStub(pair.client.channel)
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        leaver, stayer = (health.Watch(request, timeout=10) for _ in range(2))
        stranger = health.Watch(health_pb2.HealthCheckRequest(service="another"), timeout=10)
        assert [(await w.read()).status for w in (leaver, stayer, stranger)] == [SERVING, SERVING, UNKNOWN]
        leaver.cancel()
        await asyncio.sleep(0.05)
        await pair.server.set_serving(False)
        assert (await stayer.read()).status == NOT_SERVING
        await pair.server.stop()
        assert await stayer.read() is grpc.aio.EOF
        assert await stayer.code() is grpc.StatusCode.OK


async def test_draining_says_not_serving_first_still_answers_then_lets_running_calls_end() -> None:
    gate = Gate()
    settings = {"drain_delay_seconds": 0.5, "drain_seconds": 10}
    async with (
        serving(Scripted(inspecting=gate), server=settings) as pair,
        grpc.aio.insecure_channel(f"127.0.0.1:{pair.server.port}") as plain,
    ):
        watch = health_pb2_grpc.HealthStub(plain).Watch(health_pb2.HealthCheckRequest(), timeout=10)
        assert (await watch.read()).status == SERVING
        call = asyncio.ensure_future(pair.client.inspect(mesh("abc")))
        assert await asyncio.to_thread(gate.entered.wait, 10)
        stopping = asyncio.ensure_future(pair.server.stop())
        assert (await watch.read()).status == NOT_SERVING
        # A caller that does not look at health is still answered.
        await raw_call(plain, f"/{SERVICE}/Repair", b"")
        watch.cancel()
        assert not stopping.done()
        gate.open()
        assert (await call).report.vertices == 3
        await asyncio.wait_for(stopping, 10)


async def test_calls_that_do_not_end_in_time_are_cancelled() -> None:
    gate = Gate()
    async with serving(Scripted(inspecting=gate), server={"drain_seconds": 0.1}, client={"max_attempts": 1}) as pair:
        call = asyncio.ensure_future(pair.client.inspect(mesh()))
        assert await asyncio.to_thread(gate.entered.wait, 10)
        await pair.server.stop()
        with pytest.raises(ServiceUnavailable):
            await call
        assert await asyncio.to_thread(gate.gave_up.wait, 10)


async def test_figures_are_served_on_their_own_port() -> None:
    def inspecting(data: bytes) -> None:
        if data == b"faceless":
            raise NoFaceFound("expected a face, found none")

    gate = Gate()
    service = Scripted(inspecting=inspecting)
    settings = {"metrics_port": 0, "max_concurrent": 1, "max_queue": 5}
    async with serving(service, server=settings) as pair:
        await pair.client.inspect(mesh("a"))
        for _ in range(2):
            with pytest.raises(NoFaceFound):
                await pair.client.inspect(mesh("faceless"))
        service.inspecting = gate
        calls = [asyncio.ensure_future(pair.client.inspect(mesh("b"))) for _ in range(3)]
        assert await asyncio.to_thread(gate.entered.wait, 10)
        while pair.server.waiting < 2:
            await asyncio.sleep(0.005)
        text = await asyncio.to_thread(fetch, pair.server.metrics_port)
        gate.open()
        await asyncio.gather(*calls)
    where = f'{{method="Inspect",service="{SERVICE}"}}'
    assert f'maquette_rpc_calls_total{{code="OK",method="Inspect",service="{SERVICE}"}} 1.0' in text
    assert f'maquette_rpc_calls_total{{code="INVALID_ARGUMENT",method="Inspect",service="{SERVICE}"}} 2.0' in text
    assert f"maquette_rpc_in_flight{where} 3.0" in text
    assert f"maquette_rpc_seconds_count{where} 3.0" in text
    assert "maquette_rpc_running 1.0" in text
    assert "maquette_rpc_queue_depth 2.0" in text
    assert "process_resident_memory_bytes" in text


async def test_deadlines_and_cancellations_are_counted_as_what_they_are() -> None:
    gate = Gate()
    async with serving(Scripted(inspecting=gate), server={"metrics_port": 0}) as pair:
        raw = pair.client.channel.unary_unary(f"/{SERVICE}/Inspect")
        with pytest.raises(grpc.aio.AioRpcError):
            await raw(mesh().SerializeToString(), timeout=0.2)
        while pair.server.running:
            await asyncio.sleep(0.005)
        call = asyncio.ensure_future(pair.client.inspect(mesh()))
        while pair.server.running < 1:
            await asyncio.sleep(0.005)
        call.cancel()
        while pair.server.running:
            await asyncio.sleep(0.005)
        text = await asyncio.to_thread(fetch, pair.server.metrics_port)
    for code in ("DEADLINE_EXCEEDED", "CANCELLED"):
        assert f'maquette_rpc_calls_total{{code="{code}",method="Inspect",service="{SERVICE}"}} 1.0' in text


async def test_reflection_tells_the_contracts_of_all_services() -> None:
    service = Scripted()
    # Registration asks nothing of a service, so that one object may stand for all three.
    registrations = [detector(service), reconstructor(service), meshproc(service)]  # type: ignore[arg-type]
    server = RpcServer(ServerSettings(drain_delay_seconds=0), registrations)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
        asked += [
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=f"maquette.v1.{name}")
            for name in ("DetectorService", "ReconstructorService", "MeshprocService", "Head")
        ]
        answers = [a async for a in stub.ServerReflectionInfo(iter(asked), timeout=10)]
    await server.stop()
    assert {s.name for s in answers[0].list_services_response.service} == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "maquette.v1.DetectorService",
        "maquette.v1.MeshprocService",
        "maquette.v1.ReconstructorService",
    }
    files = [a.file_descriptor_response.file_descriptor_proto[0] for a in answers[1:]]
    assert files == [m.DESCRIPTOR.serialized_pb for m in (detector_pb2, reconstructor_pb2, meshproc_pb2, common_pb2)]


async def test_an_address_that_is_taken_is_named() -> None:
    async with serving() as pair:
        second = RpcServer(ServerSettings(port=pair.server.port), [meshproc(Scripted())])
        with pytest.raises(SetupError, match=f"127.0.0.1:{pair.server.port}"):
            await second.start()


class Program:
    """tests/rpc/program.py, running."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        # A port that was free a moment ago; the program prints nothing but its log.
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.rpc.program", *arguments],
            cwd=ROOT,
            env=os.environ | {"MAQUETTE_RPC_DRAIN_DELAY_SECONDS": "0.2"} | environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict[str, object]] = []

    def until(self, message: str) -> dict[str, object]:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(json.loads(line))
            if self.lines[-1]["message"] == message:
                return self.lines[-1]
        raise AssertionError(f"{message!r} not among {self.lines}")

    def end(self) -> int:
        assert self.process.stderr is not None
        self.lines += [json.loads(line) for line in self.process.stderr]
        return self.process.wait(timeout=20)


@pytest.fixture
def program() -> Iterator[Program]:
    made = Program()
    yield made
    made.process.kill()
    made.process.wait()
    assert made.process.stderr is not None
    made.process.stderr.close()


async def test_a_program_told_to_end_drains_and_loses_no_call(program: Program) -> None:
    port = (await asyncio.to_thread(program.until, "listening"))["port"]
    await asyncio.to_thread(program.until, "serving")
    async with RemoteMeshproc(ClientSettings(target=f"127.0.0.1:{port}", max_attempts=1)) as client:
        await client.check()
        calls = [asyncio.ensure_future(client.inspect(mesh("1.5"))) for _ in range(2)]
        await asyncio.sleep(0.3)
        start = time.monotonic()
        program.process.send_signal(signal.SIGTERM)
        assert [(await c).report.vertices for c in calls] == [3, 3]
        assert await asyncio.to_thread(program.end) == 0
        assert time.monotonic() - start < 10
        with pytest.raises((ServiceUnavailable, DeadlineExceeded)):
            await client.inspect(mesh("0"))
    messages = [line["message"] for line in program.lines]
    assert messages == ["listening", "serving", "draining", "call", "call", "stopped"]
    assert all(line["service"] == "maquette-meshproc" for line in program.lines)


async def test_a_program_that_cannot_warm_up_ends_with_the_reason() -> None:
    program = Program("--cold")
    assert await asyncio.to_thread(program.end) == SetupError.exit_code
    assert program.process.stderr is not None
    program.process.stderr.close()
    assert [line["message"] for line in program.lines] == ["listening", "draining", "stopped", "cannot start"]
    assert program.lines[-1]["reason"] == "expected a model, found none"
