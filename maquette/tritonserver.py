"""One NVIDIA Triton server on this machine: started, waited for, watched, stopped.

Triton itself restarts nothing: when the process of a model dies, its requests fail for good while the server goes on
calling itself ready. So whoever runs a server watches it (``TritonServer.failure``) and starts it anew.
"""

import contextlib
import http.client
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from maquette.belongings import Belongings
from maquette.errors import OptionInvalid, ServiceUnavailable, SetupError
from maquette.settings import Settings
from maquette.triton import Installation, require_triton

LOOPBACK = "127.0.0.1"
CONFIG = "config.pbtxt"
TO_STDERR = Path("-")

_STUB = b"triton_python_backend_stub"
_POLL_S = 0.05
_LAST_LINES = 6
_STOP_GRACE_S = 5.0
_COUNT = re.compile(r"(instance_group\s*\[\s*\{[^}]*?\bcount:\s*)\d+")
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
os.execv(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True)
class Ports:
    """Where a server listens."""

    http: int = 8000
    grpc: int = 8001
    metrics: int = 8002


def shipped_repository() -> Path:
    """The model repository of this installation."""
    spec = importlib.util.find_spec("services.reconstructor")
    (root, *_) = (spec.submodule_search_locations if spec else None) or [""]
    path = Path(root, "model_repository")
    if not any(path.glob(f"*/{CONFIG}")):
        raise SetupError(
            f"expected models in {path}, found none: install maquette[reconstructor] again", path=str(path)
        )
    return path


def free_ports(address: str = LOOPBACK) -> Ports:
    """Three ports that nobody listens on just now."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(3)]
        for s in sockets:
            s.bind((address, 0))
        return Ports(*(s.getsockname()[1] for s in sockets))


class TritonServer:
    """A server process with the processes of its models; as a context manager it is started and stopped."""

    def __init__(
        self,
        settings: Settings,
        *,
        ports: Ports | None = None,
        address: str = LOOPBACK,
        instances: int = 1,
        repository: Path | None = None,
        log: Path | None = None,
        exit_seconds: int = 10,
    ) -> None:
        """Describe a server; nothing is started.

        Args:
            settings: Where the server's files are.
            ports: Where to listen.
            address: On which address; the default is reached from this machine alone.
            instances: Processes per model.
            repository: Folder of models; the one of this installation when None.
            log: File that the server's messages are added to; ``TO_STDERR`` for standard error; None for a file that
                goes away with the server.
            exit_seconds: Time that running requests have to end when the server is stopped.

        Raises:
            OptionInvalid: A number is out of its range, or the folder holds no models.
        """
        self.ports = ports or Ports()
        self.address = address
        self._settings = settings
        self._instances = instances
        self._repository = repository or shipped_repository()
        self._log = log
        self._exit_seconds = exit_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._stubs: set[int] = set()
        self._belongings: Belongings | None = None
        if instances < 1:
            raise OptionInvalid(f"expected at least one instance of each model, found {instances}")
        numbers = (self.ports.http, self.ports.grpc, self.ports.metrics)
        if len(set(numbers)) < 3 or not all(0 < n < 65_536 for n in numbers):
            raise OptionInvalid(f"expected three different ports from 1 to 65535, found {numbers}")
        if not any(self._repository.glob(f"*/{CONFIG}")):
            raise OptionInvalid(
                f"expected a folder of models, each with its {CONFIG}, found none in {self._repository}"
            )

    @property
    def grpc_target(self) -> str:
        """Host and port for gRPC clients."""
        return f"{self.address}:{self.ports.grpc}"

    @property
    def models(self) -> list[str]:
        """Names of the models in the repository."""
        return sorted(c.parent.name for c in self._repository.glob(f"*/{CONFIG}"))

    @property
    def pid(self) -> int | None:
        """Process id of the running server."""
        return None if self._process is None else self._process.pid

    @property
    def stubs(self) -> frozenset[int]:
        """Process ids of the models' processes, one for each instance."""
        return frozenset(self._stubs)

    @property
    def log(self) -> str:
        """What the server has written into its file so far; empty when that is standard error."""
        path = self._log_file()
        return path.read_text(errors="replace") if path is not None and path.is_file() else ""

    def start(self, timeout_s: float = 120.0) -> None:
        """Start and return as soon as every model is loaded and warmed up.

        Args:
            timeout_s: Longest wait.

        Raises:
            DependencyMissing: The server is not here, or cannot run here.
            OptionInvalid: A port is in use.
            ServiceUnavailable: It ended, or was not ready in time; the message has its last errors.
        """
        if self._process is not None:
            raise RuntimeError("this server has been started already")
        installation = require_triton(self._settings)
        for port in (self.ports.http, self.ports.grpc, self.ports.metrics):
            _require_free(self.address, port)
        self._belongings = Belongings()
        try:
            models = self._assemble(self._belongings.folder / "models")
            self._process = self._spawn(installation, models, self._belongings.prefix)
            self._wait_until_ready(timeout_s)
            self._stubs = set(_stubs_of(self._process.pid))
        except BaseException:
            self.stop()
            raise

    def failure(self) -> str | None:
        """What is wrong with the running server, None while nothing is: it ended, or a model's process did."""
        process = self._process
        if process is None:
            return "the server is not running"
        status = process.poll()
        if status is not None:
            return f"the server ended with status {status}"
        lost = [pid for pid in self._stubs if not _is_stub(pid, process.pid)]
        return f"process {min(lost)} of a model ended" if lost else None

    def wait(self, poll_s: float = 0.5) -> str:
        """Return when something goes wrong, and what."""
        while (failure := self.failure()) is None:
            time.sleep(poll_s)
        return failure

    def stop(self) -> None:
        """End the server, its models' processes and their shared memory; running requests may end first."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self._exit_seconds + _STOP_GRACE_S)
            self._kill(process)
        self._stubs = set()
        if self._belongings is not None:
            self._belongings.remove()
            self._belongings = None

    def kill(self) -> None:
        """End the server at once, as a fault would; ``stop`` then cleans up after it."""
        if self._process is not None:
            self._kill(self._process)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_about: object) -> None:
        self.stop()

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        # The models' processes are in the server's group, which may outlive it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _assemble(self, folder: Path) -> Path:
        """Copy the models, with as many instances as are wanted; what is no model stays behind."""
        for config in sorted(self._repository.glob(f"*/{CONFIG}")):
            target = folder / config.parent.name
            shutil.copytree(config.parent, target, ignore=shutil.ignore_patterns("__pycache__"))
            text, found = _COUNT.subn(rf"\g<1>{self._instances}", config.read_text())
            if found != 1 and self._instances != 1:
                raise OptionInvalid(f"expected one instance_group with a count in {config}, found {found}")
            (target / CONFIG).write_text(text if self._instances != 1 else config.read_text())
        return folder

    def _spawn(self, installation: Installation, models: Path, prefix: str) -> subprocess.Popen[bytes]:
        path = self._log_file()
        with contextlib.ExitStack() as stack:
            sink = None if path is None else stack.enter_context(path.open("ab"))
            return subprocess.Popen(
                [*_shim(), *self._command(installation, models, prefix)],
                env=_environment(installation),
                stdin=subprocess.DEVNULL,
                stdout=sink if sink is not None else sys.stderr.fileno(),
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches this process alone, which then stops the server in order.
                start_new_session=True,
            )

    def _command(self, installation: Installation, models: Path, prefix: str) -> list[str]:
        options = {
            "model-repository": models,
            "backend-directory": installation.backends,
            "disable-auto-complete-config": None,
            "strict-readiness": "true",
            "http-address": self.address,
            "http-port": self.ports.http,
            "grpc-address": self.address,
            "grpc-port": self.ports.grpc,
            "metrics-address": self.address,
            "metrics-port": self.ports.metrics,
            "allow-gpu-metrics": str(Path("/dev/nvidiactl").exists()).lower(),
            "backend-config": f"python,shm-region-prefix-name={prefix}",
            "grpc-header-forward-pattern": "(traceparent)",
            "http-header-forward-pattern": "(traceparent)",
            # A request kept for reuse keeps its photo's memory.
            "grpc-infer-allocation-pool-size": 0,
            # Clients look every 30 s whether the server is still there; it takes 10 s for rude, not 5 minutes.
            "grpc-http2-min-recv-ping-interval-without-data": 10_000,
            "grpc-keepalive-permit-without-calls": 1,
            "grpc-keepalive-time": 30_000,
            "grpc-keepalive-timeout": 10_000,
            # New servers behind one name get their share of the traffic.
            "grpc-max-connection-age": 300_000,
            "grpc-max-connection-age-grace": 600_000,
            "exit-timeout-secs": self._exit_seconds,
        }
        words = [f"--{name}" if value is None else f"--{name}={value}" for name, value in options.items()]
        return [str(installation.executable), *words]

    def _wait_until_ready(self, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while not _is_ready(self.address, self.ports.http):
            failure = self.failure()
            if failure is None and time.monotonic() > end:
                failure = f"it was not ready after {timeout_s:g} s"
            if failure is not None:
                raise ServiceUnavailable(f"NVIDIA Triton did not start: {failure}{_said(self.log)}")
            time.sleep(_POLL_S)

    def _log_file(self) -> Path | None:
        if self._log == TO_STDERR:
            return None
        if self._log is not None:
            return self._log
        return None if self._belongings is None else self._belongings.folder / "server.log"


def _environment(installation: Installation) -> dict[str, str]:
    """The server's environment: its models run this interpreter, with one thread of linear algebra each."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "VIRTUAL_ENV")}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    if installation.libpython is not None:
        found = os.environ.get("LD_LIBRARY_PATH")
        environment["LD_LIBRARY_PATH"] = os.pathsep.join([str(installation.libpython), *([found] if found else [])])
    # Waiting threads that spin take the cores from those that work.
    environment |= {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return environment


def _shim() -> list[str]:
    """What becomes the server, so that it ends with this process even when that is killed and can stop nothing.

    The system counts the thread that starts a process as its parent, so other threads than the first cannot have this.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT]


def _require_free(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise OptionInvalid(
                f"expected a free port {port} on {address}, found one that cannot be used: {error.strerror}", port=port
            ) from error


def _is_ready(address: str, port: int) -> bool:
    host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(address, address)
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _said(log: str) -> str:
    """The last things a server complained of, in one line; what it says of absent CUDA devices is no complaint."""
    lines = (line.strip() for line in log.replace("\0", "").splitlines())
    kept = (line for line in lines if re.match(r"E\d{4} |error:|\w*Error\b|Segmentation", line) and "Cuda" not in line)
    said = " / ".join(re.sub(r"^E\d{4} \S+ \d+ ", "", line) for line in deque(kept, _LAST_LINES))
    return f"; it said: {said[:1500]}" if said else ""


def _stubs_of(server: int) -> Iterator[int]:
    """Process ids of the models that a server runs."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _is_stub(int(entry.name), server):
            yield int(entry.name)


def _is_stub(pid: int, server: int) -> bool:
    """Whether a process lives and is a child of the server that runs a model."""
    try:
        # The second field, in brackets, may hold anything.
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
        program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except (OSError, ValueError):
        return False
    return int(parent) == server and state != "Z" and _STUB in program
