"""``maquette-meshproc``: the meshproc service over gRPC."""

import sys

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from maquette.rpc import servicers
from maquette.rpc.program import run_program
from maquette.rpc.server import run_server
from maquette.rpc.settings import ServerSettings
from maquette.store import StoreSettings, open_store
from services.meshproc.service import LocalMeshprocService
from services.meshproc.settings import MeshprocSettings

NAME = "maquette-meshproc"


class MeshprocServerSettings(ServerSettings):
    """How the meshproc serves, as ``MAQUETTE_MESHPROC_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="MAQUETTE_MESHPROC_", frozen=True)

    port: int = Field(default=50053, ge=0, le=65_535)


def main() -> int:
    """Serve until told to end; returns the exit status."""
    settings = (MeshprocServerSettings, MeshprocSettings, StoreSettings)
    what = "Makes files of heads, and mends and simplifies meshes, over gRPC."
    return run_program(NAME, what, settings, _serve, sys.argv[1:])


def _serve() -> int:
    settings = MeshprocServerSettings()
    store = open_store(StoreSettings())
    service = LocalMeshprocService(store, MeshprocSettings(), threads=settings.max_concurrent)

    def close() -> None:
        service.close()
        store.close()

    services = [servicers.meshproc(service)]
    return run_server(NAME, settings, services, warm_up=service.warm_up, close=close)


if __name__ == "__main__":
    sys.exit(main())
