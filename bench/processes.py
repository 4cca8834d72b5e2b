"""Processes that are started, watched, killed and started again, and what they use of the machine."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOOPBACK = "127.0.0.1"

_FIRST_PORT, _LAST_PORT = 20_000, 32_000
_TERM_S = 30.0
_ENDS_WITH_PARENT = "import ctypes; ctypes.CDLL(None).prctl(1, 9)"
"""Linux: PR_SET_PDEATHSIG, SIGKILL. Said by the new process, since gRPC does not bear code between fork and exec."""

_MOST_SAID = 2000


class Process:
    """One Python program that can be killed and started again.

    Attributes:
        name: For people.
        log: File that has what it wrote, of all its lives.
    """

    def __init__(self, name: str, code: str, words: Iterable[str], environment: Mapping[str, str], log: Path) -> None:
        """Describe a process; nothing is started.

        Args:
            name: For people.
            code: What Python is to run.
            words: Arguments.
            environment: All of it.
            log: File that what it writes is added to.
        """
        self.name, self.log = name, log
        self._command = [sys.executable, "-c", f"{_ENDS_WITH_PARENT}; {code}", *words]
        self._environment = dict(environment)
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its number; None while it does not run."""
        return None if self._popen is None else self._popen.pid

    def start(self) -> None:
        """Start it; returns at once.

        To be called on the main thread: the process is killed when the thread that started it ends.
        """
        assert self._popen is None, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the benchmark, which then ends what it has started, each in its turn.
                start_new_session=True,
            )

    def require_running(self) -> None:
        """Make sure that it has not ended by itself.

        Raises:
            RuntimeError: It has.
        """
        status = None if self._popen is None else self._popen.poll()
        if self._popen is None or status is not None:
            raise RuntimeError(f"expected {self.name} to run, found it ended with {status}: {self.said()}")

    def said(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-_MOST_SAID:]

    def kill(self) -> None:
        """End it with SIGKILL, as lack of memory or a power cut would; nothing is told to those that it started."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order, or after a while with SIGKILL; does nothing where it does not run."""
        if self._popen is not None:
            self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        popen, self._popen = self._popen, None
        assert popen is not None, f"{self.name} does not run"
        popen.send_signal(how)
        try:
            popen.wait(_TERM_S)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on, below those that the system gives to outgoing connections.

    While a killed server is away, an outgoing connection could otherwise be given its port.
    """
    found: list[int] = []
    for port in random.SystemRandom().sample(range(_FIRST_PORT, _LAST_PORT), _LAST_PORT - _FIRST_PORT):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"expected {count} free ports from {_FIRST_PORT} to {_LAST_PORT}, found {len(found)}")


def answers(port: int) -> bool:
    """Whether somebody listens on a port of loopback."""
    try:
        socket.create_connection((LOOPBACK, port), 0.2).close()
    except OSError:
        return False
    return True


def family(pid: int) -> list[int]:
    """A process and all that descend from it (Linux); those that end meanwhile may be left out."""
    found = [pid]
    for one in found:
        found += _children(one)
    return found


def resident_mb(pids: Iterable[int]) -> float:
    """Memory that processes use, 10⁶ bytes; pages that several share count once for each."""
    return sum(_resident_kib(pid) for pid in pids) * 1.024e-3


def processor_s(pids: Iterable[int]) -> float:
    """Processor time that processes have used so far, of all threads, seconds."""
    ticks = sum(_ticks(pid) for pid in pids)
    return ticks / os.sysconf("SC_CLK_TCK")


def wait_until(done: Callable[[], bool], what: str, seconds: float, watch: Callable[[], None] = lambda: None) -> None:
    """Wait until something is so.

    Args:
        done: Whether it is.
        what: It, for the error.
        seconds: Longest wait.
        watch: Called meanwhile; raises what makes waiting useless.

    Raises:
        RuntimeError: It was not so in time.
    """
    end = time.monotonic() + seconds
    while not done():
        watch()
        if time.monotonic() > end:
            raise RuntimeError(f"expected {what} within {seconds:g} s")
        time.sleep(0.05)


def few_cores(count: int) -> int:
    """Hold this process, and those that it will start, to some cores, where the system can; returns how many."""
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    chosen = sorted(os.sched_getaffinity(0))[:count]
    os.sched_setaffinity(0, chosen)
    return len(chosen)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    except OSError:
        return found
    return found


def _resident_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def _ticks(pid: int) -> int:
    try:
        # The second field, the program's name, is in brackets and may hold blanks.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0
    user, system = fields[11:13]
    return int(user) + int(system)
