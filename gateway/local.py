"""The three services in this process."""

import asyncio

from gateway.orchestration import Services
from maquette.settings import Settings
from maquette.store import ObjectStore


class LocalServices:
    """The services of an installation, side by side in one process.

    Attributes:
        services: The services.
    """

    def __init__(self, store: ObjectStore, settings: Settings, *, threads: int) -> None:
        """Prepare them; nothing is loaded yet.

        Args:
            store: Where payloads lie.
            settings: Where the networks are, and limits on photos.
            threads: Calls that each works on at once.
        """
        # Only here, since whoever calls services elsewhere has none of their packages.
        from services.detector.service import LocalDetectorService
        from services.meshproc.service import LocalMeshprocService
        from services.reconstructor.service import LocalReconstructorService

        self._detector = LocalDetectorService(store, settings, threads=threads)
        self._reconstructor = LocalReconstructorService(store, threads=threads)
        self._meshproc = LocalMeshprocService(store, threads=threads)
        self.services = Services(self._detector, self._reconstructor, self._meshproc)

    async def warm_up(self) -> None:
        """Load what the first head would have to wait for.

        Raises:
            SetupError: This installation lacks something.
        """
        for service in (self._detector, self._reconstructor, self._meshproc):
            await service.warm_up()

    async def close(self) -> None:
        """Let what runs end at its next checkpoint, and start nothing more."""
        closing = (self._detector.close, self._reconstructor.close, self._meshproc.close)
        await asyncio.gather(*(asyncio.to_thread(close) for close in closing))
