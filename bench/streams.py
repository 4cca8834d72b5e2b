"""Streams of events that are held open while nothing happens."""

import asyncio
import math
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.customer import QUICK, Wish, customer
from bench.figures import Figure, median
from bench.processes import processor_s, resident_mb
from bench.stage import Stage

STREAMS = 1000
HEARTBEAT_S = 5.0
"""Of the gateway that is measured, so that there are several in the time of holding."""

_HEADS = 50
_AT_ONCE = 50
_ANSWER_S = 60.0
_SPARE_FILES = 200


@dataclass
class _Stream:
    """One stream.

    Attributes:
        reader: Its bytes.
        writer: Of its connection.
        alive: When the last sign of life came, monotonic.
        cancelled: When it was told that the head is cancelled, monotonic.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    alive: float = -math.inf
    cancelled: float = math.nan

    async def listen(self) -> None:
        """Note what comes, until it is told that the head is cancelled or it ends."""
        while line := await self.reader.readline():
            if line.startswith(b": alive"):
                self.alive = time.monotonic()
            elif b'"state":"cancelled"' in line:
                self.cancelled = time.monotonic()
                return
        self.alive = -math.inf


async def measure_streams(stage: Stage, photo: Path, count: int, hold_s: float) -> Figure:
    """Open streams of heads that nobody makes, hold them, then cancel the heads and see who is told.

    A stream counts as held when it gave a sign of life within the last two heartbeats of the time and was told of the
    end of its head after it.

    Args:
        stage: An installation without a worker, whose streams give a sign of life every ``HEARTBEAT_S``.
        photo: Of the heads.
        count: How many streams.
        hold_s: How long they are held.
    """
    gateway = stage.pids("gateway")
    async with customer(stage.url, _ANSWER_S) as asking:
        heads = [await asking.ask(Wish(photo, QUICK), f"stream-{k}") for k in range(min(_HEADS, count))]
        before = resident_mb(gateway)
        gate = asyncio.Semaphore(_AT_ONCE)
        streams = await asyncio.gather(*(_open(stage.url, heads[k % len(heads)], gate) for k in range(count)))
        tasks = [asyncio.create_task(stream.listen()) for stream in streams]
        try:
            used, start = processor_s(gateway), time.monotonic()
            await asyncio.sleep(hold_s)
            now = time.monotonic()
            idle = (processor_s(gateway) - used) / (now - start)
            after = resident_mb(gateway)
            lively = [now - stream.alive <= 2 * HEARTBEAT_S for stream in streams]
            cancelled = time.monotonic()
            await asyncio.gather(*(asking.cancel(head) for head in heads))
            await asyncio.wait(tasks, timeout=_ANSWER_S)
        finally:
            for task, stream in zip(tasks, streams, strict=True):
                task.cancel()
                stream.writer.close()
            await asyncio.gather(*tasks, return_exceptions=True)
    told = [not math.isnan(stream.cancelled) for stream in streams]
    held = sum(alive and end for alive, end in zip(lively, told, strict=True))
    delays = [stream.cancelled - cancelled for stream, end in zip(streams, told, strict=True) if end]
    beside = {
        "held_s": hold_s,
        "heartbeats_s": HEARTBEAT_S,
        "alive_at_the_end": sum(lively),
        "gateway_processor_share": idle,
        "gateway_kb_a_stream": (after - before) * 1e3 / count,
        "told_of_the_end_s_median": median(delays),
        "told_of_the_end_s_most": max(delays, default=math.nan),
    }
    return Figure("idle streams of events held", "", held, least=float(count), beside=beside)


async def _open(url: str, head_id: str, gate: asyncio.Semaphore) -> _Stream:
    """Begin to follow a head, on a connection of one's own."""
    parts = urlsplit(url)
    async with gate:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(f"GET /v1/heads/{head_id}/events HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"expected 200, found {head[:300]!r}")
        await reader.readuntil(b"event: state\n")
    return _Stream(reader, writer)


def allow_files(streams: int) -> None:
    """Let this process, and those that it starts, hold so many streams, as far as the system allows."""
    wanted = streams + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )
