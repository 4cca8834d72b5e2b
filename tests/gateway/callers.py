"""Callers that do what no well-behaved client would."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.gateway.serving import Served

BOUNDARY = "frontier"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


@dataclass(frozen=True)
class Answer:
    """What came back over a connection of one's own."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """A TCP connection to a gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def begin(self, method: str, path: str, headers: dict[str, str]) -> None:
        lines = [f"{method} {path} HTTP/1.1", "host: gateway", *(f"{k}: {v}" for k, v in headers.items())]
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(head[0].split()[1]), headers, body)


@asynccontextmanager
async def connection(served: Served) -> AsyncIterator[Connection]:
    """A connection to a gateway, closed at the end."""
    parts = urlsplit(served.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def part(name: str, content: bytes, file_name: str | None = None, *headers: str) -> bytes:
    """A part of a form, with the boundary before it."""
    shown = "" if file_name is None else f'; filename="{file_name}"'
    lines = [f"--{BOUNDARY}", f'Content-Disposition: form-data; name="{name}"{shown}', *headers, "", ""]
    return "\r\n".join(lines).encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    """A form of parts."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


async def post_form(client: httpx.AsyncClient, path: str, content: bytes, content_type: str = FORM) -> httpx.Response:
    """Send a body as it is."""
    return await client.post(path, content=content, headers={"content-type": content_type})


def code_of(answer: "httpx.Response | Answer") -> tuple[int, str]:
    """Status and code of a problem."""
    status = answer.status_code if isinstance(answer, httpx.Response) else answer.status
    media_type = answer.headers["content-type"]
    assert media_type == "application/problem+json", (status, media_type)
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"] == f"urn:maquette:problem:{problem['code']}"
    return status, problem["code"]


@dataclass(frozen=True)
class Told:
    """One event of a stream."""

    number: int | None
    kind: str
    data: Any


def read_events(text: str) -> list[Told]:
    """Events of a stream's text, as a browser reads them (HTML Standard, 9.2.6)."""
    found = []
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
        if "data" in fields:
            number = int(fields["id"]) if "id" in fields else None
            found.append(Told(number, fields.get("event", "message"), json.loads(fields["data"])))
    return found


def kinds(events: Sequence[Told]) -> list[str]:
    return [e.kind for e in events]
