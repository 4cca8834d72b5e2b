"""Server-sent events (HTML Standard, 9.2) of a head: from any number on, until there is no more to come.

A stream that waits is one coroutine and two timers, and asks nothing of the database. It ends when the head is final,
no export is under way and everything has been told; when the head is deleted; after ``stream_s``; and when the gateway
drains. In the last two cases the caller goes on elsewhere with ``Last-Event-ID``.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway import problems
from gateway.context import Gateway
from gateway.jobs import Event, HeadRecord
from gateway.models import event_data
from maquette.errors import MaquetteError

MEDIA_TYPE = "text/event-stream"
_BATCH = 100
_RECONNECT_MS = 2000
_ALIVE = b": alive\n\n"
_HEADERS = {
    # Proxies that hold back an answer until it is complete would hold this one back for ever.
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}


def told(head: HeadRecord, after: int) -> bool:
    """Whether there is nothing to come after an event: the head and its exports are over, and it was the last."""
    return head.state.final and not any(e.state.open for e in head.exports) and after >= head.sequence


class EventStream(Response):
    """The events of a head as an answer."""

    def __init__(self, gateway: Gateway, owner: str, head: HeadRecord, after: int) -> None:
        """Prepare the answer.

        Args:
            gateway: Where the head is.
            owner: Whose it is.
            head: The head.
            after: Number of the last event that the caller has; a number there is not yet counts as the newest.
        """
        super().__init__(None, 200, _HEADERS, MEDIA_TYPE)
        del self.headers["content-length"]
        self._gateway, self._owner, self._head_id = gateway, owner, head.id
        self._after = min(after, head.sequence)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until there are no more, or the caller has gone.

        Raises:
            QuotaExceeded: The owner follows as many heads as one may; nothing has been sent.
            Overloaded: As many are followed as can be.
        """
        with self._gateway.streams.hold(self._owner), self._gateway.metrics.streams.track_inprogress():
            await self._answer(receive, send)

    async def _answer(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        telling = asyncio.ensure_future(self._tell(send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            with self._gateway.until_drained(telling):
                await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            telling.cancel()
            leaving.cancel()
            failure, _ = await asyncio.gather(telling, leaving, return_exceptions=True)
        if isinstance(failure, Exception):
            raise failure
        with contextlib.suppress(OSError):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell(self, send: Send) -> None:
        async for text in self._texts():
            await send({"type": "http.response.body", "body": text, "more_body": True})

    async def _texts(self) -> AsyncIterator[bytes]:
        jobs, settings = self._gateway.jobs, self._gateway.settings
        yield f"retry: {_RECONNECT_MS}\n\n".encode()
        loop = asyncio.get_running_loop()
        end = loop.time() + settings.stream_s
        try:
            while (left := end - loop.time()) > 0:
                wait = min(settings.heartbeat_s, left)
                found = await jobs.wait_events(self._owner, self._head_id, self._after, timeout=wait, limit=_BATCH)
                if found:
                    self._after = found[-1].sequence
                    yield b"".join(self._text(event) for event in found)
                    if _may_be_last(found[-1]) and told(await jobs.get_head(self._owner, self._head_id), self._after):
                        return
                else:
                    yield _ALIVE
        except MaquetteError as error:
            # The status is out already, so that the problem comes as an event: the head was deleted, or the jobs'
            # database is away.
            yield f"event: problem\ndata: {_json(problems.document(error))}\n\n".encode()

    def _text(self, event: Event) -> bytes:
        data = _json(event_data(self._head_id, event))
        return f"id: {event.sequence}\nevent: {event.kind}\ndata: {data}\n\n".encode()


def _may_be_last(event: Event) -> bool:
    """Whether nothing may come after an event: one about a state that is not open."""
    return event.data.get("state") in ("done", "failed", "cancelled", "expired")


async def _left(receive: Receive) -> None:
    """Wait until the caller has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
