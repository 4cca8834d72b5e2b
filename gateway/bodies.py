"""Bodies of requests, read within limits of size and time."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from gateway.settings import GatewaySettings
from maquette.errors import BodyInvalid, BodyTooLarge, BodyTooSlow, BodyTypeUnknown

MOST_JSON_BYTES = 64 * 1024


class Body:
    """A body, to be read once.

    Pieces come as the server gives them. What is left when reading stops is thrown away by the server.
    """

    def __init__(self, request: Request, settings: GatewaySettings, limit: int) -> None:
        """Look at what the headers announce.

        Args:
            request: Whose body.
            settings: How long it may take.
            limit: Most bytes.

        Raises:
            BodyTooLarge: More are announced.
        """
        self._request, self._settings, self._limit = request, settings, limit
        announced = request.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
            raise _too_large(limit)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The pieces.

        Raises:
            BodyTooLarge: It goes on after the limit.
            BodyTooSlow: It pauses for too long, or takes too long in all.
            ClientDisconnect: The caller has gone.
        """
        loop = asyncio.get_running_loop()
        pause = self._settings.body_pause_s
        end = loop.time() + self._settings.upload_s
        read, more = 0, True
        while more:
            try:
                async with asyncio.timeout_at(min(loop.time() + pause, end)):
                    message = await self._request.receive()
            except TimeoutError:
                seconds = pause if loop.time() < end else self._settings.upload_s
                what = "a pause" if loop.time() < end else "a body"
                raise BodyTooSlow(
                    f"expected {what} of at most {seconds:g} s, found a longer one", limit_seconds=seconds, bytes=read
                ) from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            piece: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            read += len(piece)
            if read > self._limit:
                raise _too_large(self._limit)
            if piece:
                yield piece


async def read_json(request: Request, settings: GatewaySettings) -> bytes:
    """The text of a small JSON body.

    Raises:
        BodyTypeUnknown: It is said to be something else.
        BodyInvalid: It is empty.
        BodyTooLarge: It is large.
        BodyTooSlow: It does not arrive in time.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise BodyTypeUnknown("expected a body of application/json, found another or none")
    text = b"".join([piece async for piece in Body(request, settings, MOST_JSON_BYTES)])
    if not text:
        raise BodyInvalid("expected a JSON object, found an empty body")
    return text


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"expected a body of at most {limit:,} bytes, found more", limit=limit)
