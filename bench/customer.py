"""Somebody who asks for heads over HTTP and does not give up when nobody answers."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

FINAL = ("done", "failed", "cancelled", "expired")
QUICK = {"formats": "ply", "detail": "false", "hair": "none"}
"""Options of a head that is made in the least time."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 2.0
_AGAIN = {429, 502, 503, 504}
_QUIET_S = 30.0
"""Streams say that they are alive twice as often."""


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        photo: The photo.
        options: Fields of the form.
    """

    photo: Path
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """An event of a head.

    Attributes:
        number: Within the head.
        kind: What it tells of.
        data: Its data.
    """

    number: int
    kind: str
    data: dict[str, Any]


class Unanswered(Exception):
    """Nobody has answered for as long as the customer waits, or with something that no patience helps against."""


class Customer:
    """Asks again whatever was not answered: heads with an idempotency key, events from the last one seen.

    Attributes:
        again: How often something was asked again, by why.
    """

    def __init__(self, client: httpx.AsyncClient, patience_s: float) -> None:
        self._client, self._patience_s = client, patience_s
        self.again: Counter[str] = Counter()

    async def ask(self, wish: Wish, key: str) -> str:
        """Ask for a head; returns its identifier once it is acknowledged.

        Raises:
            Unanswered: It was not.
        """
        data = await asyncio.to_thread(wish.photo.read_bytes)

        async def once() -> httpx.Response:
            files = {"photos": (wish.photo.name, data, "image/png")}
            headers = {"idempotency-key": key}
            return await self._client.post("/v1/heads", files=files, data=dict(wish.options), headers=headers)

        answer = await self._insist(once, 202)
        head_id: str = answer.json()["id"]
        return head_id

    async def head(self, head_id: str) -> dict[str, Any]:
        """A head as it stands.

        Raises:
            Unanswered: Nobody says.
        """
        found: dict[str, Any] = (await self._insist(lambda: self._client.get(f"/v1/heads/{head_id}"), 200)).json()
        return found

    async def heads(self) -> list[str]:
        """Identifiers of all heads.

        Raises:
            Unanswered: Nobody says.
        """
        found: list[str] = []
        cursor = ""
        while True:
            where = f"/v1/heads?limit=200{cursor}"
            page = (await self._insist(lambda where=where: self._client.get(where), 200)).json()
            found += [head["id"] for head in page["heads"]]
            if page["cursor"] is None:
                return found
            cursor = f"&cursor={page['cursor']}"

    async def follow(self, head_id: str) -> list[Told]:
        """All events of a head, to the last.

        Raises:
            Unanswered: There was no news for too long.
        """
        events: list[Told] = []
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._patience_s
        while not (events and events[-1].kind == "state" and events[-1].data["state"] in FINAL):
            seen = len(events)
            try:
                headers = {"last-event-id": str(events[-1].number)} if events else {}
                path = f"/v1/heads/{head_id}/events"
                async with self._client.stream("GET", path, headers=headers, timeout=_QUIET_S) as answer:
                    if answer.status_code == 204:
                        return events
                    self._require(answer, 200)
                    async for event in _events(answer):
                        events.append(event)
                self.again["stream ended"] += 1
            except httpx.TransportError as error:
                self.again[type(error).__name__] += 1
            if len(events) > seen:
                give_up = loop.time() + self._patience_s
            elif loop.time() > give_up:
                raise Unanswered(f"no news of a head for {self._patience_s:g} s")
            else:
                await asyncio.sleep(_FIRST_PAUSE_S)
        self.again["stream ended"] -= 1
        return events

    async def digest(self, url: str) -> tuple[str, int]:
        """SHA-256 (hex) and size of a file.

        Raises:
            Unanswered: Nobody gives it.
        """
        answer = await self._insist(lambda: self._client.get(url), 200)
        return hashlib.sha256(answer.content).hexdigest(), len(answer.content)

    async def cancel(self, head_id: str) -> None:
        """End what is being made of a head.

        Raises:
            Unanswered: Nobody does.
        """
        await self._insist(lambda: self._client.post(f"/v1/heads/{head_id}/cancel"), 200, 202)

    async def _insist(self, once: Any, *expected: int) -> httpx.Response:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._patience_s
        pause = _FIRST_PAUSE_S
        while True:
            try:
                answer: httpx.Response = await once()
                if self._require(answer, *expected):
                    return answer
                why = str(answer.status_code)
            except httpx.TransportError as error:
                why = type(error).__name__
            self.again[why] += 1
            if loop.time() + pause > give_up:
                raise Unanswered(f"expected an answer within {self._patience_s:g} s, the last time found {why}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _require(self, answer: httpx.Response, *expected: int) -> bool:
        """Whether an answer is what was expected; False when it is worth asking again.

        Raises:
            Unanswered: It is something else.
        """
        if answer.status_code in expected:
            return True
        if answer.status_code in _AGAIN:
            return False
        said = answer.text[:500] if answer.is_stream_consumed else ""
        raise Unanswered(f"expected {expected}, found {answer.status_code} {said}")


@asynccontextmanager
async def customer(url: str, patience_s: float) -> AsyncIterator[Customer]:
    """Somebody who calls a gateway.

    Args:
        url: Of the gateway.
        patience_s: How long to ask again before giving up.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits, trust_env=False) as client:
        yield Customer(client, patience_s)


async def _events(answer: httpx.Response) -> AsyncIterator[Told]:
    """Events of a stream (HTML Standard, 9.2.6), without those that have no number."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "id" in fields and "data" in fields:
            yield Told(int(fields["id"]), fields.get("event", "message"), json.loads(fields["data"]))
        fields = {}
