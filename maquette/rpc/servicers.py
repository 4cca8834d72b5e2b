"""The generated servicers on top of the services, and how each is added to a server."""

# ruff: noqa: N802 (methods have the names of the contracts)

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc

from maquette.services import DetectorService, MeshprocService, ReconstructorService
from maquette.v1 import (
    detector_pb2,
    detector_pb2_grpc,
    meshproc_pb2,
    meshproc_pb2_grpc,
    reconstructor_pb2,
    reconstructor_pb2_grpc,
)

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class Registration:
    """A service that a server answers for.

    Attributes:
        name: Full name, e.g. ``maquette.v1.DetectorService``.
        add: Adds it to a server.
    """

    name: str
    add: Callable[[grpc.aio.Server], None]


def detector(service: DetectorService) -> Registration:
    """Serve a detector."""
    servicer = _Detector(service)
    name = detector_pb2.DESCRIPTOR.services_by_name["DetectorService"].full_name
    return Registration(name, lambda s: detector_pb2_grpc.add_DetectorServiceServicer_to_server(servicer, s))


def reconstructor(service: ReconstructorService) -> Registration:
    """Serve a reconstructor."""
    servicer = _Reconstructor(service)
    name = reconstructor_pb2.DESCRIPTOR.services_by_name["ReconstructorService"].full_name
    return Registration(name, lambda s: reconstructor_pb2_grpc.add_ReconstructorServiceServicer_to_server(servicer, s))


def meshproc(service: MeshprocService) -> Registration:
    """Serve a mesh service."""
    servicer = _Meshproc(service)
    name = meshproc_pb2.DESCRIPTOR.services_by_name["MeshprocService"].full_name
    return Registration(name, lambda s: meshproc_pb2_grpc.add_MeshprocServiceServicer_to_server(servicer, s))


class _Detector(detector_pb2_grpc.DetectorServiceServicer):
    def __init__(self, service: DetectorService) -> None:
        self._service = service

    async def Detect(self, request: detector_pb2.DetectRequest, context: Context) -> detector_pb2.DetectResponse:
        return await self._service.detect(request)

    async def Mask(self, request: detector_pb2.MaskRequest, context: Context) -> detector_pb2.MaskResponse:
        return await self._service.mask(request)


class _Reconstructor(reconstructor_pb2_grpc.ReconstructorServiceServicer):
    def __init__(self, service: ReconstructorService) -> None:
        self._service = service

    async def Coarse(
        self, request: reconstructor_pb2.CoarseRequest, context: Context
    ) -> reconstructor_pb2.CoarseResponse:
        return await self._service.coarse(request)

    async def Complete(
        self, request: reconstructor_pb2.CompleteRequest, context: Context
    ) -> reconstructor_pb2.CompleteResponse:
        return await self._service.complete(request)

    async def ListEngines(
        self, request: reconstructor_pb2.ListEnginesRequest, context: Context
    ) -> reconstructor_pb2.ListEnginesResponse:
        return await self._service.list_engines(request)


class _Meshproc(meshproc_pb2_grpc.MeshprocServiceServicer):
    def __init__(self, service: MeshprocService) -> None:
        self._service = service

    async def Preview(self, request: meshproc_pb2.PreviewRequest, context: Context) -> meshproc_pb2.PreviewResponse:
        return await self._service.preview(request)

    def Export(
        self, request: meshproc_pb2.ExportRequest, context: Context
    ) -> AsyncIterator[meshproc_pb2.ExportResponse]:
        return self._service.export(request)

    async def Inspect(self, request: meshproc_pb2.InspectRequest, context: Context) -> meshproc_pb2.InspectResponse:
        return await self._service.inspect(request)

    async def Repair(self, request: meshproc_pb2.RepairRequest, context: Context) -> meshproc_pb2.RepairResponse:
        return await self._service.repair(request)

    async def Simplify(self, request: meshproc_pb2.SimplifyRequest, context: Context) -> meshproc_pb2.SimplifyResponse:
        return await self._service.simplify(request)
