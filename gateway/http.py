"""The HTTP server around the application: where it listens, and how it ends."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from starlette.types import ASGIApp

from maquette.errors import SetupError
from maquette.logs import fields

_log = logging.getLogger(__name__)


class HttpSettings(BaseSettings):
    """How the gateway's connections are treated, as ``MAQUETTE_HTTP_<NAME>``.

    Attributes:
        backlog: Connections that wait to be taken.
        keep_alive_s: How long a connection is kept without a request, seconds; longer than a balancer before it keeps
            its own.
        drain_delay_s: Time between being unready and taking no more connections, for balancers to notice, seconds;
            ``maquette serve``, before which there are none, does not wait.
        drain_s: How long requests have to end when the gateway is told to, seconds.
    """

    model_config = SettingsConfigDict(env_prefix="MAQUETTE_HTTP_", frozen=True)

    backlog: int = Field(default=2048, ge=1)
    keep_alive_s: int = Field(default=75, ge=1)
    drain_delay_s: float = Field(default=1.0, ge=0)
    drain_s: int = Field(default=20, ge=0)


class HttpServer:
    """Serves an application made by ``gateway.app.create_app``, within a running event loop.

    Attributes:
        url: Where, as callers on this machine see it.
    """

    def __init__(self, app: FastAPI, host: str, port: int, settings: HttpSettings, door: ASGIApp | None = None) -> None:
        """Listen; requests are answered once it runs.

        Args:
            app: The application.
            host: Address to listen on.
            port: Port to listen on; 0 picks a free one.
            settings: How connections are treated.
            door: What requests go through first; the application itself when None.

        Raises:
            SetupError: The address is taken or not of this machine.
        """
        self._app, self._settings = app, settings
        self._socket = _listen(host, port, settings.backlog)
        shown, port = self._socket.getsockname()[:2]
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
        config = uvicorn.Config(
            door or app,
            lifespan="on",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=settings.backlog,
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=settings.drain_s,
        )
        self._server = _Server(config)

    async def run(self) -> None:
        """Answer requests until ``stop``, and then until they are answered."""
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._socket.close()

    async def started(self) -> None:
        """Wait until requests are answered."""
        await self._server.ready.wait()
        _log.info("listening", extra=fields(address=self._socket_host, port=self._port))

    async def stop(self, delay_s: float) -> None:
        """Say that it is about to end, and after a while take no more requests; ``run`` returns when all is answered.

        Args:
            delay_s: How long to be unready and answer all the same.
        """
        _log.info("draining", extra=fields(port=self._port))
        self._app.state.gateway.drain()
        await asyncio.sleep(delay_s)
        self._server.should_exit = True

    @property
    def _socket_host(self) -> str:
        return self.url.removeprefix("http://").rpartition(":")[0]

    @property
    def _port(self) -> int:
        return int(self.url.rpartition(":")[2])


class _Server(uvicorn.Server):
    """Leaves signals to the program, which has more to end than a server."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


def _listen(host: str, port: int, backlog: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=backlog)
    except OSError as error:
        raise SetupError(f"cannot listen at {host}:{port}: {error.strerror or error}", host=host, port=port) from error
