"""A real NVIDIA Triton on free loopback ports, started and stopped by the tests."""

from collections.abc import Iterator

import pytest

from maquette.settings import Settings
from maquette.triton import install_triton
from maquette.tritonserver import TritonServer, free_ports


@pytest.fixture(scope="session")
def triton_settings() -> Settings:
    """Settings of an installation that has the server; it is fetched by the first test that asks for it."""
    settings = Settings()
    install_triton(settings)
    return settings


@pytest.fixture(scope="session")
def triton(triton_settings: Settings) -> Iterator[TritonServer]:
    """One running server with the models of this installation."""
    with TritonServer(triton_settings, ports=free_ports()) as server:
        yield server
