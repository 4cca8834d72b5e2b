"""The line to a gateway: requests that are repeated while it is away, and downloads that go on where they broke off."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from maquette.client.problems import error_of_response
from maquette.client.records import RemoteFile
from maquette.client.sinks import Sink
from maquette.errors import MaquetteError, ObjectCorrupt, OptionInvalid, ServiceUnavailable
from maquette.release import version

_PASSING = (429, 502, 503, 504)
_PASSING_CODES = frozenset(
    {
        "service_unavailable", "overloaded", "store_unavailable", "jobs_unavailable", "deadline_exceeded", "cancelled",
        "rate_exceeded", "quota_exceeded",
    }
)  # fmt: skip
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0
_CONNECT_S = 10.0


class Patience:
    """How long somebody goes on trying: pauses grow, until there is success or it is enough."""

    def __init__(self, seconds: float) -> None:
        """Begin."""
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """There was success."""
        self._pause = _FIRST_PAUSE_S
        self._give_up = asyncio.get_running_loop().time() + self._seconds

    async def pause(self, failure: MaquetteError | None) -> None:
        """Wait before the next try.

        Args:
            failure: What came of the last one; raised when it was the last. None for no failure.
        """
        advised = None if failure is None else failure.detail.get("retry_after_seconds")
        wait = max(self._pause * random.uniform(0.75, 1.25), advised if isinstance(advised, int | float) else 0)
        if failure is not None and asyncio.get_running_loop().time() + wait > self._give_up:
            raise failure
        await asyncio.sleep(wait)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE_S)


class Line:
    """A connection to a gateway.

    Attributes:
        http: The connection itself.
    """

    def __init__(
        self,
        server: str,
        key: str | None,
        patience_s: float,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        """See ``AsyncClient``.

        Raises:
            OptionInvalid: The address is none.
        """
        self._server, self._patience_s = server, patience_s
        headers = {"user-agent": f"maquette/{version()}"}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        try:
            url = httpx.URL(server)
        except httpx.InvalidURL as error:
            raise OptionInvalid(f"expected a server http://HOST[:PORT], found {server!r}: {error}") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise OptionInvalid(f"expected a server http://HOST[:PORT] or https://HOST[:PORT], found {server!r}")
        # To a link into an object store the key is not sent along: httpx keeps Authorization from other hosts.
        self.http = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
            follow_redirects=True,
            transport=transport,
        )

    async def close(self) -> None:
        """Let go of it."""
        await self.http.aclose()

    def patience(self) -> Patience:
        """Patience with the server, as its caller has."""
        return Patience(self._patience_s)

    async def json(self, method: str, path: str, **request: Any) -> Any:
        """The JSON that a request is answered with, which may be repeated."""
        return (await self.insist(lambda: self.http.request(method, path, **request))).json()

    async def insist(self, send: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        """Send a request that may be repeated, again and again while the server is away or busy, for a while."""
        patience = self.patience()
        while True:
            failure: MaquetteError
            try:
                answer = await send()
                if answer.is_success:
                    return answer
                failure = error_of_response(answer)
                if answer.status_code not in _PASSING:
                    raise failure
            except httpx.TransportError as error:
                failure = self.away(error)
            await patience.pause(failure)

    @asynccontextmanager
    async def stream(self, path: str, headers: dict[str, str]) -> AsyncGenerator[httpx.Response, None]:
        """An answer that is read while it comes."""
        async with self.http.stream("GET", path, headers=headers) as answer:
            if not answer.is_success:
                await answer.aread()
                raise error_of_response(answer)
            yield answer

    async def pull(self, file: RemoteFile, sink: Sink) -> None:
        """Fetch a file, going on where the connection broke off.

        Raises:
            ProductNotFound: It is not there.
            ObjectCorrupt: Other bytes came, twice.
        """
        patience = self.patience()
        spoilt = False
        while True:
            before = sink.have()
            failure: MaquetteError | None = None
            try:
                if before < file.size:
                    await self._pull_rest(file, sink, before)
            except httpx.TransportError as error:
                failure = self.away(error)
            except MaquetteError as error:
                if not may_pass(error):
                    raise
                failure = error
            if sink.have() >= file.size:
                if sink.have() == file.size and await asyncio.to_thread(sink.digest) == file.sha256:
                    return
                sink.restart()
                if spoilt:
                    raise ObjectCorrupt(f"expected {file.name} with the sha256 {file.sha256}, found other bytes")
                spoilt = True
            elif sink.have() > before:
                patience.renew()
            await patience.pause(failure or ServiceUnavailable(f"{self._server} breaks {file.name} off"))

    async def _pull_rest(self, file: RemoteFile, sink: Sink, start: int) -> None:
        # As it is: of a compressed answer the part that came could not be gone on with.
        headers = {"accept-encoding": "identity"} | ({"range": f"bytes={start}-"} if start else {})
        async with self.stream(file.url, headers) as answer:
            if start and answer.status_code != 206:
                sink.restart()
            async for piece in answer.aiter_raw():
                sink.write(piece)
                if sink.have() > file.size:
                    return

    def away(self, error: httpx.TransportError) -> ServiceUnavailable:
        """The error of the tree for a connection that is not to be had, or broke off."""
        reason = " ".join(str(error).split()) or type(error).__name__
        return ServiceUnavailable(f"{self._server} does not answer: {reason}")


def may_pass(error: MaquetteError) -> bool:
    """Whether the server may do it a little later."""
    return error.code in _PASSING_CODES
