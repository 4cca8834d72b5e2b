"""``maquette-detector``: the detector service over gRPC."""

import sys

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from maquette.rpc import servicers
from maquette.rpc.program import run_program
from maquette.rpc.server import run_server
from maquette.rpc.settings import ServerSettings
from maquette.settings import Settings
from maquette.store import StoreSettings, open_store
from services.detector.service import LocalDetectorService

NAME = "maquette-detector"


class DetectorServerSettings(ServerSettings):
    """How the detector serves, as ``MAQUETTE_DETECTOR_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="MAQUETTE_DETECTOR_", frozen=True)

    port: int = Field(default=50051, ge=0, le=65_535)


def main() -> int:
    """Serve until told to end; returns the exit status."""
    settings = (DetectorServerSettings, Settings, StoreSettings)
    what = "Finds faces in photos, over gRPC."
    return run_program(NAME, what, settings, _serve, sys.argv[1:])


def _serve() -> int:
    settings = DetectorServerSettings()
    store = open_store(StoreSettings())
    service = LocalDetectorService(store, Settings(), threads=settings.max_concurrent)

    def close() -> None:
        service.close()
        store.close()

    services = [servicers.detector(service)]
    return run_server(NAME, settings, services, warm_up=service.warm_up, close=close)


if __name__ == "__main__":
    sys.exit(main())
