"""Services whose work the tests steer, and clients that send what no honest client would."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc.status_pb2 import Status

from maquette.rpc.errors import DETAILS_KEY
from maquette.rpc.remote import RemoteMeshproc
from maquette.rpc.server import RpcServer
from maquette.rpc.servicers import meshproc
from maquette.rpc.settings import ClientSettings, ServerSettings
from maquette.rpc.work import Workers, checkpoint
from maquette.v1 import common_pb2 as pb
from maquette.v1 import meshproc_pb2 as mp

SERVICE = "maquette.v1.MeshprocService"


@dataclass
class Scripted:
    """A mesh service that does what a test says, on real workers.

    Attributes:
        inspecting: Runs on a worker thread for each Inspect, given the bytes of the mesh; what it raises is answered.
        exporting: Runs on a worker thread for each Export and yields the names of products.
        started: Meshes whose work has begun, in that order.
    """

    inspecting: Callable[[bytes], None] = lambda mesh: None
    exporting: Callable[[], Iterator[str]] = lambda: iter(("head.glb", "head.obj"))
    started: list[bytes] = field(default_factory=list)
    workers: Workers = field(default_factory=lambda: Workers(4))

    async def preview(self, request: mp.PreviewRequest) -> mp.PreviewResponse:
        return mp.PreviewResponse(product=pb.Product(name="preview.glb", data=request.head.data))

    async def export(self, request: mp.ExportRequest) -> AsyncIterator[mp.ExportResponse]:
        async for name in self.workers.stream(self.exporting):
            yield mp.ExportResponse(product=pb.Product(name=name))

    async def inspect(self, request: mp.InspectRequest) -> mp.InspectResponse:
        def work() -> int:
            self.started.append(request.mesh.inline)
            self.inspecting(request.mesh.inline)
            return len(request.mesh.inline)

        return mp.InspectResponse(report=mp.MeshReport(vertices=await self.workers.run(work)))

    async def repair(self, request: mp.RepairRequest) -> mp.RepairResponse:
        """A mesh of as many bytes as ``merge_mm`` says."""
        return mp.RepairResponse(mesh=pb.Blob(inline=bytes(int(request.merge_mm))))

    async def simplify(self, request: mp.SimplifyRequest) -> mp.SimplifyResponse:
        raise ZeroDivisionError("the photo anna_smith.jpg cannot be divided")


class Gate:
    """Work that waits until it is let go, and gives up when nobody waits for it any more."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.gave_up = threading.Event()
        self.finished = 0
        self._open = threading.Event()

    def __call__(self, _mesh: bytes = b"") -> None:
        self.entered.set()
        try:
            while not self._open.wait(0.005):
                checkpoint()
            self.finished += 1
        except BaseException:
            self.gave_up.set()
            raise

    def open(self) -> None:
        self._open.set()


def mesh(text: str = "mesh") -> mp.InspectRequest:
    return mp.InspectRequest(mesh=pb.Blob(inline=text.encode()))


@dataclass
class Pair:
    """A server, its service and a client of it."""

    server: RpcServer
    service: Scripted
    client: RemoteMeshproc


Serve = Callable[..., AbstractAsyncContextManager[Pair]]


@asynccontextmanager
async def serving(
    service: Scripted | None = None, *, server: dict[str, Any] | None = None, client: dict[str, Any] | None = None
) -> AsyncIterator[Pair]:
    """A scripted service on the loopback interface, and a client; the dictionaries change their settings."""
    service = service or Scripted()
    settings = {"drain_delay_seconds": 0, "drain_seconds": 0, "max_concurrent": 4} | (server or {})
    made = RpcServer(ServerSettings(**settings), [meshproc(service)])
    await made.start()
    await made.set_serving(True)
    target = {"target": f"127.0.0.1:{made.port}", "timeout_seconds": 20} | (client or {})
    try:
        async with RemoteMeshproc(ClientSettings(**target)) as remote:
            yield Pair(made, service, remote)
    finally:
        await made.stop()
        service.workers.close()


async def raw_call(channel: grpc.aio.Channel, path: str, data: bytes, timeout: float = 10) -> bytes:
    """Send bytes as they are."""
    answer: bytes = await channel.unary_unary(path)(data, timeout=timeout)
    return answer


def raw_status(failure: grpc.aio.AioRpcError) -> Status:
    """The google.rpc.Status that came with a failure."""
    (value,) = [v for k, v in failure.trailing_metadata() or () if k == DETAILS_KEY]
    return Status.FromString(value)
