"""What gateway and services cost, and what they bear: ``python -m bench.load``.

The separate processes run on this machine, with SQLite and files in a folder, or with PostgreSQL, MinIO and NVIDIA
Triton (``--cluster``). The last line is one JSON object.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from bench import memory, overhead, streams, throughput, uploads
from bench.figures import Figure, summary, table
from bench.photos import MOST, write_photos
from bench.processes import LOOPBACK, few_cores, free_ports
from bench.spans import collecting
from bench.stage import ROOMS, Plan, open_stage
from maquette.cli import exits
from maquette.cli.console import note, say, show_table
from maquette.networks import require_networks
from maquette.settings import Settings

PARTS = ("throughput", "overhead", "uploads", "streams", "memory")


def main(words: Sequence[str]) -> int:
    """Measure what is asked for; returns the exit status."""
    asked = _parser().parse_args(words)
    require_networks(Settings())
    cores = few_cores(asked.cores)
    with tempfile.TemporaryDirectory(prefix="maquette-load-") as name:
        figures = asyncio.run(_Load(asked, cores, Path(name)).measure(asked.only or PARTS))
    columns, rows = table(figures)
    show_table(columns, rows, right=("found", "limit"))
    say(json.dumps(summary("load", figures, cores=cores, cluster=asked.cluster)))
    return exits.OK if all(figure.kept for figure in figures.values()) else exits.SOME_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench.load", description=(__doc__ or "").partition("\n")[0])

    def number(option: str, default: int, what: str) -> None:
        parser.add_argument(option, type=_count, default=default, metavar="N", help=f"{what} (default {default})")

    parser.add_argument("--only", action="append", choices=PARTS, help="measure this alone; may be given several times")
    parser.add_argument("--cluster", action="store_true", help="with PostgreSQL, MinIO and NVIDIA Triton")
    number("--cores", 2, "processors that everything shares")
    number("--heads", 6, "throughput: heads in a round")
    number("--rounds", 5, "throughput: rounds of each kind")
    number("--overhead-jobs", 20, "overhead: heads, one after the other")
    number("--uploads", 5, "uploads: requests of sixteen photos")
    number("--streams", streams.STREAMS, "streams: how many")
    number("--hold", 30, "streams: seconds to hold them")
    number("--jobs", 500, "memory: heads")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder for what the processes write")
    return parser


def _count(text: str) -> int:
    if (value := int(text)) < 1:
        raise ValueError(f"expected at least 1, found {value}")
    return value


class _Load:
    """The parts of the benchmark, each with an installation of its own."""

    def __init__(self, asked: argparse.Namespace, cores: int, folder: Path) -> None:
        self._asked, self._cores, self._folder = asked, cores, folder
        self._photos = write_photos(folder, MOST)

    async def measure(self, parts: Sequence[str]) -> dict[str, Figure]:
        """Figures by part, in the order of ``PARTS``."""
        ways: dict[str, Callable[[], Awaitable[Figure]]] = {
            "throughput": self._throughput,
            "overhead": self._overhead,
            "uploads": self._uploads,
            "streams": self._streams,
            "memory": self._memory,
        }
        figures = {}
        for name in PARTS:
            if name in parts:
                note(f"{name} …")
                figures[name] = await ways[name]()
        return figures

    async def _throughput(self) -> Figure:
        async with open_stage(self._plan(), self._keep("throughput")) as stage:
            asked = self._asked
            return await throughput.measure_throughput(stage, self._photos, self._cores, asked.heads, asked.rounds)

    async def _overhead(self) -> Figure:
        (port,) = free_ports(1)
        endpoint = f"http://{LOOPBACK}:{port}"
        sends = {"MAQUETTE_TELEMETRY_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "500"}
        async with open_stage(self._plan(sends), self._keep("overhead")) as stage, collecting(port) as collector:
            return await overhead.measure_overhead(stage, collector, self._photos, self._asked.overhead_jobs)

    async def _uploads(self) -> Figure:
        # The rest of the installation has no part in it, and the store is always the folder.
        async with open_stage(Plan(without=(*ROOMS, "worker")), self._keep("uploads")) as stage:
            return await asyncio.to_thread(uploads.measure_uploads, stage.url, self._folder, self._asked.uploads)

    async def _streams(self) -> Figure:
        streams.allow_files(self._asked.streams)
        beats = {"MAQUETTE_GATEWAY_HEARTBEAT_S": str(streams.HEARTBEAT_S)}
        async with open_stage(self._plan(beats, (*ROOMS, "triton", "worker")), self._keep("streams")) as stage:
            return await streams.measure_streams(stage, self._photos[0], self._asked.streams, self._asked.hold)

    async def _memory(self) -> Figure:
        async with open_stage(self._plan(), self._keep("memory")) as stage:
            return await memory.measure_memory(stage, self._photos, self._asked.jobs, 2 * self._cores)

    def _plan(self, settings: dict[str, str] | None = None, without: tuple[str, ...] = ()) -> Plan:
        threads = {f"MAQUETTE_{room.upper()}_MAX_CONCURRENT": str(self._cores) for room in ROOMS}
        own = {"MAQUETTE_WORKER_CONCURRENCY": str(self._cores + 1), **threads, **(settings or {})}
        return Plan(self._asked.cluster, own, without)

    def _keep(self, part: str) -> Path | None:
        folder: Path | None = self._asked.keep
        return None if folder is None else folder / part


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
