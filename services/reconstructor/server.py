"""``maquette-reconstructor``: the reconstructor service over gRPC."""

import sys

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from maquette.rpc import servicers
from maquette.rpc.program import run_program
from maquette.rpc.server import run_server
from maquette.rpc.settings import ServerSettings
from maquette.store import StoreSettings, open_store
from services.reconstructor.service import LocalReconstructorService
from services.reconstructor.settings import ReconstructorSettings

NAME = "maquette-reconstructor"


class ReconstructorServerSettings(ServerSettings):
    """How the reconstructor serves, as ``MAQUETTE_RECONSTRUCTOR_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="MAQUETTE_RECONSTRUCTOR_", frozen=True)

    port: int = Field(default=50052, ge=0, le=65_535)


def main() -> int:
    """Serve until told to end; returns the exit status."""
    settings = (ReconstructorServerSettings, ReconstructorSettings, StoreSettings)
    what = "Reconstructs heads from photos of faces, over gRPC."
    return run_program(NAME, what, settings, _serve, sys.argv[1:])


def _serve() -> int:
    settings = ReconstructorServerSettings()
    store = open_store(StoreSettings())
    service = LocalReconstructorService(store, ReconstructorSettings(), threads=settings.max_concurrent)

    def close() -> None:
        service.close()
        store.close()

    services = [servicers.reconstructor(service)]
    return run_server(NAME, settings, services, warm_up=service.warm_up, close=close)


if __name__ == "__main__":
    sys.exit(main())
