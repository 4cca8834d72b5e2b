"""A process that takes files through the pipeline, seen from the one that started it."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from maquette.benchmarks.trial import Attempt

_START_SECONDS = 120.0
_PROGRAM = (
    "import sys; from maquette.benchmarks.trial import serve; "
    "serve(int(sys.argv[1]), int(sys.argv[2]), None if sys.argv[3] == 'all' else int(sys.argv[3]))"
)


class WorkerDied(Exception):
    """The process ended, or took longer than it may and was ended; the message says which."""


class Worker:
    """The process, its two pipes, and a file for what it prints.

    Attributes:
        scratch: Its working and temporary folder, in which nothing should stay.
    """

    def __init__(self, folder: Path, *, heads: int | None) -> None:
        """Start it.

        Args:
            folder: Empty, for its own.
            heads: As ``trial.serve`` takes it.
        """
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        their_noise = (folder / "noise").open("ab")
        # Opened twice: what is opened once has one place at which both would read and write.
        self._noise = (folder / "noise").open("rb")
        self._rest = b""
        their_requests, self._requests = os.pipe()
        self._answers, their_answers = os.pipe()
        words = [str(their_requests), str(their_answers), "all" if heads is None else str(heads)]
        self._process = subprocess.Popen(
            # The fault handler says where in Python a crash happened.
            [sys.executable, "-X", "faulthandler", "-c", _PROGRAM, *words],
            cwd=self.scratch,
            env={**os.environ, "TMPDIR": str(self.scratch)},
            stdin=subprocess.DEVNULL,
            stdout=their_noise,
            stderr=their_noise,
            pass_fds=(their_requests, their_answers),
        )
        os.close(their_requests)
        os.close(their_answers)
        their_noise.close()

    def start(self) -> None:
        """Wait until it is ready; what it printed meanwhile is no file's fault.

        Raises:
            WorkerDied: It could not take the sample photo.
        """
        try:
            self._line(_START_SECONDS)
        except WorkerDied as error:
            raise WorkerDied(f"{error}, before the first file\n{self.noise()}") from error
        self.noise()

    def attempt(self, path: Path, seconds: float) -> Attempt:
        """Let it take a file.

        Raises:
            WorkerDied: It did not answer within the seconds, or ended.
        """
        # Where it has ended in between, the absence of an answer says why.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._requests, json.dumps(str(path)).encode("ascii") + b"\n")
        answer = json.loads(self._line(seconds))
        return Attempt(**{**answer, "wrong": tuple(answer["wrong"])})

    def noise(self) -> str:
        """What it printed since the last call."""
        return self._noise.read().decode("utf-8", errors="backslashreplace").strip()

    def end(self) -> None:
        """End it."""
        os.close(self._requests)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._answers)
        self._noise.close()

    def _line(self, seconds: float) -> bytes:
        end = time.monotonic() + seconds
        while b"\n" not in self._rest:
            readable, _, _ = select.select([self._answers], [], [], max(0.0, end - time.monotonic()))
            if not readable:
                self._process.kill()
                self._process.wait()
                raise WorkerDied(f"hang: not done after {seconds:g} s")
            block = os.read(self._answers, 1 << 16)
            if not block:
                status = self._process.wait()
                raise WorkerDied(f"crash: {signal.Signals(-status).name if status < 0 else f'exit status {status}'}")
            self._rest += block
        line, self._rest = self._rest.split(b"\n", 1)
        return line
