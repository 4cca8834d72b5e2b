"""The services over gRPC: the same Protocols as the local ones, with deadlines, retries and the same exceptions.

::

    async with RemoteDetector(ClientSettings(target="dns:///detector:50051")) as detector:
        found = await detector.detect(request)
"""

from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self, TypeVar

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from maquette import telemetry
from maquette.errors import ServiceUnavailable
from maquette.rpc.channel import open_channel
from maquette.rpc.deadline import remaining
from maquette.rpc.errors import error_of
from maquette.rpc.settings import ClientSettings
from maquette.v1.detector_pb2 import DetectRequest, DetectResponse, MaskRequest, MaskResponse
from maquette.v1.detector_pb2_grpc import DetectorServiceStub
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
from maquette.v1.meshproc_pb2_grpc import MeshprocServiceStub
from maquette.v1.reconstructor_pb2 import (
    CoarseRequest,
    CoarseResponse,
    CompleteRequest,
    CompleteResponse,
    ListEnginesRequest,
    ListEnginesResponse,
)
from maquette.v1.reconstructor_pb2_grpc import ReconstructorServiceStub

Request = TypeVar("Request", bound=Message)
Answer = TypeVar("Answer", bound=Message)

_CHECK_SECONDS = 3.0


class Remote:
    """What all remote services have in common: a channel, and one way to call.

    Every call may raise any ``MaquetteError``: what the service raised, or a ``ServiceError`` of the way there. It ends
    at the nearest of the settings' timeout and the caller's own deadline (``maquette.rpc.deadline``); a caller that is
    cancelled cancels the call.
    """

    name = "remote"

    def __init__(self, settings: ClientSettings) -> None:
        """Prepare a connection; it is made when it is first used, within a running event loop.

        Raises:
            OptionInvalid: A certificate cannot be read.
        """
        self._timeout = settings.timeout_seconds
        self.channel = open_channel(settings)
        self._health = health_pb2_grpc.HealthStub(self.channel)

    async def check(self) -> None:
        """Ask the service for its health.

        Raises:
            ServiceUnavailable: It is NOT_SERVING, or does not answer within seconds.
        """
        request = health_pb2.HealthCheckRequest()
        answer = await self._call("Check", self._health.Check, request, _CHECK_SECONDS)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise ServiceUnavailable(f"expected the {self.name} service to be SERVING, found it starting or draining")

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(
        self,
        method: str,
        make: "Callable[..., grpc.aio.UnaryUnaryCall[Request, Answer]]",
        request: Request,
        limit: float | None = None,
    ) -> Answer:
        with telemetry.client_span(f"{self.name}/{method}", rpc_system="grpc") as headers:
            timeout = remaining(self._timeout if limit is None else limit)
            try:
                return await make(request, timeout=timeout, metadata=tuple(headers.items()))
            except grpc.aio.AioRpcError as failure:
                raise error_of(failure, self.name) from failure

    async def _stream(
        self, method: str, make: "Callable[..., grpc.aio.UnaryStreamCall[Request, Answer]]", request: Request
    ) -> AsyncIterator[Answer]:
        with telemetry.client_span(f"{self.name}/{method}", rpc_system="grpc") as headers:
            call = make(request, timeout=remaining(self._timeout), metadata=tuple(headers.items()))
            try:
                async for answer in call:
                    yield answer
            except grpc.aio.AioRpcError as failure:
                raise error_of(failure, self.name) from failure
            finally:
                call.cancel()


class RemoteDetector(Remote):
    """A ``DetectorService`` elsewhere."""

    name = "detector"

    def __init__(self, settings: ClientSettings) -> None:
        super().__init__(settings)
        self._stub = DetectorServiceStub(self.channel)

    async def detect(self, request: DetectRequest) -> DetectResponse:
        """See ``maquette.services``."""
        return await self._call("Detect", self._stub.Detect, request)

    async def mask(self, request: MaskRequest) -> MaskResponse:
        """See ``maquette.services``."""
        return await self._call("Mask", self._stub.Mask, request)


class RemoteReconstructor(Remote):
    """A ``ReconstructorService`` elsewhere."""

    name = "reconstructor"

    def __init__(self, settings: ClientSettings) -> None:
        super().__init__(settings)
        self._stub = ReconstructorServiceStub(self.channel)

    async def coarse(self, request: CoarseRequest) -> CoarseResponse:
        """See ``maquette.services``."""
        return await self._call("Coarse", self._stub.Coarse, request)

    async def complete(self, request: CompleteRequest) -> CompleteResponse:
        """See ``maquette.services``."""
        return await self._call("Complete", self._stub.Complete, request)

    async def list_engines(self, request: ListEnginesRequest) -> ListEnginesResponse:
        """See ``maquette.services``."""
        return await self._call("ListEngines", self._stub.ListEngines, request)


class RemoteMeshproc(Remote):
    """A ``MeshprocService`` elsewhere."""

    name = "meshproc"

    def __init__(self, settings: ClientSettings) -> None:
        super().__init__(settings)
        self._stub = MeshprocServiceStub(self.channel)

    async def preview(self, request: PreviewRequest) -> PreviewResponse:
        """See ``maquette.services``."""
        return await self._call("Preview", self._stub.Preview, request)

    def export(self, request: ExportRequest) -> AsyncIterator[ExportResponse]:
        """See ``maquette.services``."""
        return self._stream("Export", self._stub.Export, request)

    async def inspect(self, request: InspectRequest) -> InspectResponse:
        """See ``maquette.services``."""
        return await self._call("Inspect", self._stub.Inspect, request)

    async def repair(self, request: RepairRequest) -> RepairResponse:
        """See ``maquette.services``."""
        return await self._call("Repair", self._stub.Repair, request)

    async def simplify(self, request: SimplifyRequest) -> SimplifyResponse:
        """See ``maquette.services``."""
        return await self._call("Simplify", self._stub.Simplify, request)
