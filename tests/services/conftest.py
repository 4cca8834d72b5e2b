"""The three services, in this process and behind gRPC on loopback, and a photo's way through them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from maquette import pipeline, wire
from maquette.result import Result
from maquette.rooms import ReconstructOptions
from maquette.rpc import servicers
from maquette.rpc.remote import Remote, RemoteDetector, RemoteMeshproc, RemoteReconstructor
from maquette.rpc.server import RpcServer
from maquette.rpc.settings import ClientSettings, ServerSettings
from maquette.services import DetectorService, MeshprocService, ReconstructorService
from maquette.settings import Settings
from maquette.store import FileStore, ObjectStore
from maquette.v1 import common_pb2 as pb
from maquette.v1 import detector_pb2 as dp
from maquette.v1 import reconstructor_pb2 as rp
from services.detector.service import LocalDetectorService
from services.meshproc.service import LocalMeshprocService
from services.reconstructor.service import LocalReconstructorService
from tests.loop import one_loop

__all__ = ["one_loop"]

SCOPE = "heads/head_test"

R = TypeVar("R", bound=Remote)


@dataclass(frozen=True)
class Services:
    """All services, wherever they are, and the store that they share."""

    detector: DetectorService
    reconstructor: ReconstructorService
    meshproc: MeshprocService
    store: ObjectStore


@dataclass(frozen=True)
class Walk:
    """What a photo becomes before there are files."""

    found: dp.DetectResponse
    view: pb.View
    coarse: pb.Head
    head: pb.Head


@pytest.fixture(scope="session")
async def local(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Services]:
    """The services in this process."""
    store = FileStore(tmp_path_factory.mktemp("store"))
    made = Services(
        LocalDetectorService(store, settings, threads=2),
        LocalReconstructorService(store, threads=2),
        LocalMeshprocService(store, threads=2),
        store,
    )
    yield made
    for service in (made.detector, made.reconstructor, made.meshproc):
        await asyncio.to_thread(service.close)  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
async def remote(local: Services) -> AsyncIterator[Services]:
    """The same services behind gRPC."""
    how = ServerSettings(drain_delay_seconds=0, drain_seconds=1, max_concurrent=4)
    async with AsyncExitStack() as stack:

        async def serve(registration: servicers.Registration) -> ClientSettings:
            server = RpcServer(how, [registration])
            await server.start()
            stack.push_async_callback(server.stop)
            await server.set_serving(True)
            return ClientSettings(target=f"127.0.0.1:{server.port}")

        async def called(kind: type[R], registration: servicers.Registration) -> R:
            return await stack.enter_async_context(kind(await serve(registration)))

        yield Services(
            await called(RemoteDetector, servicers.detector(local.detector)),
            await called(RemoteReconstructor, servicers.reconstructor(local.reconstructor)),
            await called(RemoteMeshproc, servicers.meshproc(local.meshproc)),
            local.store,
        )


@pytest.fixture(scope="session", params=["local", "remote"])
def services(request: pytest.FixtureRequest, local: Services, remote: Services) -> Services:
    """Either; every test passes with both."""
    return local if request.param == "local" else remote


@pytest.fixture(scope="session")
def walks() -> dict[int, Walk]:
    """Those made so far, by their services: pytest goes back and forth between the two."""
    return {}


@pytest.fixture
async def walk(services: Services, walks: dict[int, Walk], sample: Path) -> Walk:
    """The sample photo on its way."""
    if id(services) not in walks:
        walks[id(services)] = await _walk(services, sample)
    return walks[id(services)]


@pytest.fixture(scope="session")
def result(sample: Path, settings: Settings) -> Result:
    """What ``maquette reconstruct`` makes of the sample photo."""
    rooms = pipeline.local_rooms(settings)
    return pipeline.reconstruct([sample], rooms=rooms, settings=settings, options=ReconstructOptions())


async def _walk(services: Services, sample: Path) -> Walk:
    photo = wire.blob_message(sample.read_bytes(), "image/png", services.store, SCOPE)
    found = await services.detector.detect(dp.DetectRequest(photo=photo, name=sample.name, scope=SCOPE))
    mask = await services.detector.mask(dp.MaskRequest(photo=found.photo, face=found.faces[0], scope=SCOPE))
    view = pb.View(photo=found.photo, face=found.faces[0], mask=mask.mask)
    coarse = await services.reconstructor.coarse(rp.CoarseRequest(views=[view], scope=SCOPE))
    complete = rp.CompleteRequest(views=[view], coarse=coarse.head, scope=SCOPE)
    head = await services.reconstructor.complete(complete)
    return Walk(found, view, coarse.head, head.head)
