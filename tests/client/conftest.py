"""A gateway, and a head on it that is done, whose files are made up: clients do not look into them."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.gateway.serving import Served, served

__all__ = ["served"]

FILES = {
    "preview.glb": ("model/gltf-binary", b"glTF" + bytes(1000)),
    "head.ply": ("application/vnd.ply", random.Random(7).randbytes(3_000_000)),
    "empty.obj": ("model/obj", b""),
    "report.json": ("application/json", b'{"products": []}'),
}


@pytest.fixture
async def key(served: Served) -> str:
    return await served.key()


async def finish(served: Served, head_id: str, *, pause_s: float = 0.0) -> None:
    """Make a head as a worker does, file by file."""
    claim = await served.take(head_id)
    for name, content in FILES.items():
        await asyncio.sleep(pause_s)
        await served.put_products(claim, {name: content})
    await served.jobs.finish(claim.lease)


def sent(paths: list[Path]) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in paths}
