"""A gateway for all tests here, and customers whose keys nobody else has."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.gateway.serving import Served, served

__all__ = ["served"]


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
