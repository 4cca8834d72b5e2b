"""A gateway for all tests here, and customers whose keys nobody else has."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.gateway.serving import Served, serving


@pytest.fixture(scope="session")
async def served(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A gateway that wants keys."""
    async with serving(tmp_path_factory.mktemp("gateway"), heartbeat_s=0.2, rate="") as served:
        yield served


@pytest.fixture
async def anna(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    """A customer."""
    async with served.customer(name="anna") as client:
        yield client


@pytest.fixture
async def bert(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    """Another one."""
    async with served.customer(name="bert") as client:
        yield client
