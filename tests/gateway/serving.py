"""A gateway as it runs: uvicorn on loopback, the real jobs, store and services of this process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from gateway.app import create_app
from gateway.context import Gateway
from gateway.jobs import Claim, Failure, HeadState, JobKind, JobSettings, JobStore, ProductRecord, head_scope, open_jobs
from gateway.jobs.keys import CUSTOMER_SCOPES, Scope
from gateway.settings import GatewaySettings
from maquette.errors import OutputError
from maquette.services import DetectorService, ReconstructorService
from maquette.settings import Settings
from maquette.store import FileStore, ObjectStore
from services.detector.service import LocalDetectorService
from services.reconstructor.service import LocalReconstructorService


class Server(uvicorn.Server):
    """uvicorn, without its hold on the process's signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True)
class Served:
    """A gateway that answers.

    Attributes:
        url: Where.
        app: The application.
        jobs: Its jobs.
        store: Its object store.
    """

    url: str
    app: FastAPI
    jobs: JobStore
    store: ObjectStore

    @property
    def gateway(self) -> Gateway:
        gateway: Gateway = self.app.state.gateway
        return gateway

    async def key(
        self,
        name: str = "anna",
        *,
        scopes: frozenset[Scope] = CUSTOMER_SCOPES,
        rate: str | None = None,
        quota: int | None = None,
    ) -> str:
        """A new key's secret; each is an owner of its own."""
        return (await self.jobs.keys.create(name, scopes=scopes, rate=rate, quota=quota)).secret

    @asynccontextmanager
    async def client(self, secret: str | None) -> AsyncIterator[httpx.AsyncClient]:
        """Somebody who calls with a key, or without."""
        headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=30, trust_env=False, verify=False
        ) as client:
            yield client

    @asynccontextmanager
    async def customer(self, **key: Any) -> AsyncIterator[httpx.AsyncClient]:
        """Somebody with a new key."""
        async with self.client(await self.key(**key)) as client:
            yield client

    async def take(self, head_id: str) -> Claim:
        """The job of a head, as a worker gets it; what earlier tests left waiting is put aside."""
        while True:
            claim = await self.jobs.claim("worker")
            assert claim is not None, f"no job for {head_id}"
            if claim.head.id == head_id:
                return claim
            await self.jobs.fail(claim.lease, Failure.of(OutputError("put aside")), retry=False)

    async def put_products(self, claim: Claim, files: dict[str, tuple[str, bytes]]) -> None:
        """Store files and announce them, as a worker does."""
        for name, (media_type, data) in files.items():
            info = await asyncio.to_thread(self.store.put, head_scope(claim.head.id), data, media_type)
            product = ProductRecord(name, info.key, info.size, info.sha256, media_type)
            state = HeadState.MESHING if claim.job.kind is JobKind.RECONSTRUCT else None
            await self.jobs.advance(claim.lease, state=state, products=[product])

    async def finish(self, head_id: str, files: dict[str, tuple[str, bytes]]) -> None:
        """Make a head, as a worker does."""
        claim = await self.take(head_id)
        await self.put_products(claim, files)
        await self.jobs.finish(claim.lease)


@asynccontextmanager
async def serving(
    folder: Path,
    *,
    jobs: dict[str, Any] | None = None,
    store: ObjectStore | None = None,
    detector: DetectorService | None = None,
    reconstructor: ReconstructorService | None = None,
    **settings: Any,
) -> AsyncIterator[Served]:
    """Run a gateway.

    Args:
        folder: Where its data go.
        jobs: Settings of its jobs.
        store: Its store; files in the folder when None.
        detector: The real one of this process when None.
        reconstructor: Likewise.
        settings: Of the gateway.
    """
    store = store or FileStore(folder / "store")
    own_detector = LocalDetectorService(store, Settings())
    own_reconstructor = LocalReconstructorService(store)
    job_settings = JobSettings(database_url=f"sqlite:///{folder}/jobs.sqlite3", **(jobs or {}))
    async with await open_jobs(job_settings) as opened:
        app = create_app(
            opened,
            store,
            detector or own_detector,
            reconstructor or own_reconstructor,
            GatewaySettings(**settings),
        )
        async with listening(app) as url:
            yield Served(url, app, opened, store)
    await asyncio.to_thread(own_detector.close)
    await asyncio.to_thread(own_reconstructor.close)


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    """Serve an application on a free port; gives its address."""
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=5)
    server = Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
        if running.done():
            running.result()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        app.state.gateway.drain()
        server.should_exit = True
        await running


@pytest.fixture(scope="session")
async def served(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A gateway that wants keys; the conftests that need it import it."""
    async with serving(tmp_path_factory.mktemp("gateway"), heartbeat_s=0.2, rate="") as made:
        yield made
