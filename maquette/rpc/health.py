"""The standard health service (``grpc.health.v1.Health``).

Its own implementation, because the one of grpcio-health-checking forgets all watchers of a service as soon as one of
them leaves, and those who stay are never told that the server drains.
"""

# ruff: noqa: N802 (methods have the names of the contract)

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
Serving = health_pb2.HealthCheckResponse.ServingStatus


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc] # the package has no types
    """One state for the server as a whole (the empty name) and all its services."""

    def __init__(self, services: Iterable[str]) -> None:
        """Begin as NOT_SERVING.

        Args:
            services: Full names.
        """
        self._names = {"", *services}
        self._serving = self._closed = False
        self._changed = asyncio.Condition()

    async def set_serving(self, serving: bool) -> None:
        """Say whether calls are welcome; watchers are told."""
        async with self._changed:
            self._serving = serving
            self._changed.notify_all()

    async def close(self) -> None:
        """Let all watchers go, who would otherwise keep the server from ending."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        """The state now."""
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service here")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The state now and whenever it changes, until the server ends."""
        told: int | None = None
        while True:
            async with self._changed:
                while self._status(request.service) == told and not self._closed:
                    await self._changed.wait()
                if self._closed:
                    return
                told = self._status(request.service)
            yield health_pb2.HealthCheckResponse(status=told)

    def _status(self, service: str) -> Any:
        if service not in self._names:
            return health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        if self._serving:
            return health_pb2.HealthCheckResponse.SERVING
        return health_pb2.HealthCheckResponse.NOT_SERVING
