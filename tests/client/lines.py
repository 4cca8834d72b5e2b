"""A line to a server that breaks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Line:
    """A relay on loopback.

    Attributes:
        url: Its address.
        limits: How many bytes of answers each of the next connections carries before it breaks; further ones do not.
        connections: How many there were.
        up: Whether connections are taken at all.
    """

    url: str = ""
    limits: list[int] = field(default_factory=list)
    connections: int = 0
    up: bool = True


@asynccontextmanager
async def breaking_line(url: str, *limits: int) -> AsyncIterator[Line]:
    """A relay to a server that breaks connections off."""
    target = urlsplit(url)
    line = Line(limits=list(limits))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line.connections += 1
        if not line.up:
            writer.transport.abort()
            return
        limit = line.limits.pop(0) if line.limits else None
        far_reader, far_writer = await asyncio.open_connection(target.hostname, target.port)
        tasks = {
            asyncio.create_task(_carry(reader, far_writer, None)),
            asyncio.create_task(_carry(far_reader, writer, limit)),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            far_writer.transport.abort()
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    line.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield line
    finally:
        server.close()


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter, limit: int | None) -> None:
    carried = 0
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 14):
            if limit is not None and carried + len(data) > limit:
                target.write(data[: limit - carried])
                await target.drain()
                return
            target.write(data)
            await target.drain()
            carried += len(data)
