"""One event loop for all asynchronous tests of a folder; its conftest imports the fixture."""

from collections.abc import AsyncIterator

import pytest


@pytest.fixture(scope="session", autouse=True)
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Keeps the loop: gRPC still reports to a loop what ends after it was closed."""
    yield
