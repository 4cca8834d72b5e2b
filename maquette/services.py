"""The services of the three rooms: the same calls, whether they stay in the process or travel.

A service takes and gives the messages of ``maquette.v1``, as its gRPC namesake does. Its *local* implementation is
``services.<room>.service``, which reads and writes the object store and keeps its work off the event loop; its *remote*
one is in ``maquette.rpc.remote``. What either raises is a ``maquette.errors.MaquetteError``, or
``asyncio.CancelledError`` where the call itself is cancelled. Whoever calls knows only these Protocols.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from maquette.v1.detector_pb2 import DetectRequest, DetectResponse, MaskRequest, MaskResponse
from maquette.v1.meshproc_pb2 import (
    ExportRequest,
    ExportResponse,
    InspectRequest,
    InspectResponse,
    PreviewRequest,
    PreviewResponse,
    RepairRequest,
    RepairResponse,
    SimplifyRequest,
    SimplifyResponse,
)
from maquette.v1.reconstructor_pb2 import (
    CoarseRequest,
    CoarseResponse,
    CompleteRequest,
    CompleteResponse,
    ListEnginesRequest,
    ListEnginesResponse,
)


class DetectorService(Protocol):
    """Photo to faces."""

    async def detect(self, request: DetectRequest) -> DetectResponse:
        """Read a photo and find its faces; raises PhotoError or NoFaceFound."""
        ...

    async def mask(self, request: MaskRequest) -> MaskResponse:
        """Mask the person around one face."""
        ...


class ReconstructorService(Protocol):
    """Photos and faces to a head."""

    async def coarse(self, request: CoarseRequest) -> CoarseResponse:
        """Fit the shape only, quickly; raises FaceUnusable, PeopleMixed or OptionInvalid."""
        ...

    async def complete(self, request: CompleteRequest) -> CompleteResponse:
        """Add textures, detail and hair to a coarse head of the same views."""
        ...

    async def list_engines(self, request: ListEnginesRequest) -> ListEnginesResponse:
        """The engines that are known here, and whether they can be used."""
        ...


class MeshprocService(Protocol):
    """Head to products; meshes to better meshes."""

    async def preview(self, request: PreviewRequest) -> PreviewResponse:
        """A small GLB of a coarse head."""
        ...

    def export(self, request: ExportRequest) -> AsyncIterator[ExportResponse]:
        """The files of a head, each as soon as it is ready; raises MeshInvalid or OptionInvalid."""
        ...

    async def inspect(self, request: InspectRequest) -> InspectResponse:
        """Figures about a mesh; raises MeshInvalid."""
        ...

    async def repair(self, request: RepairRequest) -> RepairResponse:
        """Mend a mesh; raises MeshInvalid."""
        ...

    async def simplify(self, request: SimplifyRequest) -> SimplifyResponse:
        """Make coarser versions of a mesh; raises MeshInvalid or OptionInvalid."""
        ...
