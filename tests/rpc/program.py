"""A service as a program: Inspect takes as many seconds as the mesh says, Export checkpoints in between."""

import sys
import time

from maquette.errors import SetupError
from maquette.rpc.server import run_server
from maquette.rpc.servicers import meshproc
from maquette.rpc.settings import ServerSettings
from tests.rpc.scripted import Scripted


async def refuse() -> None:
    raise SetupError("expected a model, found none")


def main() -> int:
    service = Scripted(inspecting=lambda mesh: time.sleep(float(mesh)))
    warm_up = refuse if "--cold" in sys.argv else None
    return run_server(
        "maquette-meshproc", ServerSettings(), [meshproc(service)], warm_up=warm_up, close=service.workers.close
    )


if __name__ == "__main__":
    sys.exit(main())
