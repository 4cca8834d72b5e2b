"""The engine without any service: processes that reconstruct what they are told to, one for each core."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.customer import Wish
from bench.processes import ROOT
from maquette import pipeline
from maquette.rooms import ReconstructOptions
from maquette.settings import Settings

_SERVER = "from bench.engine import serve; serve()"


@dataclass(frozen=True)
class Engines:
    """Processes that wait for photos."""

    processes: Sequence["subprocess.Popen[str]"]

    @property
    def pids(self) -> list[int]:
        """Their numbers."""
        return [process.pid for process in self.processes]

    def reconstruct(self, wishes: Sequence[Wish]) -> float:
        """Make heads and their files, each process its share; returns the wall seconds that all of them took.

        Raises:
            RuntimeError: A process ended.
        """
        start = time.perf_counter()
        shares = [wishes[k :: len(self.processes)] for k in range(len(self.processes))]
        for process, share in zip(self.processes, shares, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps([[str(w.photo), dict(w.options)] for w in share]) + "\n")
            process.stdin.flush()
        for process in self.processes:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError(f"expected the engine to answer, found it ended with {process.wait()}")
        return time.perf_counter() - start


@contextmanager
def engines(count: int) -> Iterator[Engines]:
    """Start processes and end them; they load what they need with their first photos."""
    with ExitStack() as stack:
        processes = []
        for _ in range(count):
            command = [sys.executable, "-c", _SERVER]
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
            )
            stack.enter_context(process)
            # Ends with its standard input; leaving the context above waits for it.
            stack.callback(process.kill)
            processes.append(process)
        yield Engines(processes)


def serve() -> None:
    """For each line on standard input, reconstruct its photos, save their files and print a line."""
    settings = Settings()
    rooms = pipeline.local_rooms(settings)
    for line in sys.stdin:
        for photo, chosen in json.loads(line):
            result = pipeline.reconstruct([photo], rooms=rooms, settings=settings, options=read_options(chosen))
            with tempfile.TemporaryDirectory(prefix="maquette-engine-") as folder:
                result.save(folder)
        sys.stdout.write("done\n")
        sys.stdout.flush()


def read_options(chosen: dict[str, str]) -> ReconstructOptions:
    """Fields of a form as the engine takes them."""
    from gateway.options import parse_head_options

    return parse_head_options(chosen, where="form").reconstruct_options()
