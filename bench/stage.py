"""All processes of an installation on free loopback ports, each of which can be killed and started again.

The least is the gateway, a worker and the three services, with SQLite and files in a folder. With ``cluster`` there are
PostgreSQL, MinIO and NVIDIA Triton as well, and nothing is shared but through them.
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import httpx

from bench.processes import LOOPBACK, Process, answers, family, free_ports, wait_until
from maquette.errors import DependencyMissing
from maquette.settings import Settings
from maquette.store import StoreSettings
from maquette.triton import install_triton
from tests.servers.minio import SCRIPT, MinioServer
from tests.servers.postgres import PostgresServer, find_account, find_binaries

ROOMS = ("detector", "reconstructor", "meshproc")
SERVERS = ("postgres", "minio", "triton")
"""What a cluster has besides."""

_BUCKET = "maquette"
_DATABASE = "maquette"
_READY_S = 120.0
_MAINS = {
    "gateway": "from gateway.programs import gateway_main as main",
    "worker": "from gateway.programs import worker_main as main",
    **{room: f"from services.{room}.server import main" for room in ROOMS},
}
_R = TypeVar("_R", Process, MinioServer, PostgresServer)

_SERVING = b'"message": "serving"'
_WORKING = b'"message": "working"'


class Part(Protocol):
    """One of the processes of an installation."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    async def start(self) -> None:
        """Start it and return when it is ready."""
        ...

    def kill(self) -> None:
        """End it with SIGKILL."""
        ...

    def stop(self) -> None:
        """End it, if it runs."""
        ...

    def pids(self) -> Sequence[int]:
        """Its processes; none while it does not run."""
        ...


@dataclass(frozen=True)
class Plan:
    """What is to be on a stage.

    Attributes:
        cluster: Whether with PostgreSQL, MinIO and Triton, or with SQLite, files and the engine in the reconstructor.
        settings: Environment of all of its processes, beside what the stage itself needs.
        without: Names of parts that are left out.
    """

    cluster: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()


class Stage:
    """An installation that runs.

    Attributes:
        url: Of its gateway.
        parts: Its processes by name, in the order in which they are started.
        store: Settings of its object store.
    """

    def __init__(self, url: str, parts: Mapping[str, Part], store: StoreSettings) -> None:
        self.url, self.parts, self.store = url, parts, store

    def pids(self, *names: str) -> list[int]:
        """Processes of some parts, or of all, with those that they have started."""
        return [pid for name in names or self.parts for pid in self.parts[name].pids()]


@asynccontextmanager
async def open_stage(plan: Plan, keep: Path | None = None) -> AsyncIterator[Stage]:
    """Start an installation, with data of its own, and end it.

    Args:
        plan: What it consists of.
        keep: Folder that gets what its processes have written.

    Raises:
        DependencyMissing: PostgreSQL, MinIO or Triton is not here.
        RuntimeError: A process does not start.
    """
    # Not in a folder that only its user may enter: PostgreSQL does not run as root.
    with tempfile.TemporaryDirectory(prefix="maquette-stage-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        made = _make(plan, folder)
        try:
            for wave in _waves(made.parts):
                await asyncio.gather(*(part.start() for part in wave))
            if "gateway" in made.parts:
                # It answers sooner than it has what it needs, the bucket for one.
                needed = {"jobs", "store"} | made.parts.keys()
                ready = partial(_has, made.url, needed)
                await asyncio.to_thread(wait_until, ready, "the gateway to be ready", _READY_S)
            yield made
        finally:
            await asyncio.gather(*(asyncio.to_thread(part.stop) for part in made.parts.values()))
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                for log in folder.glob("*.log"):
                    shutil.copy(log, keep)


def _waves(parts: Mapping[str, Part]) -> list[list[Part]]:
    """Parts that can be started side by side: the servers, then who asks them, then who asks these."""
    waves = [SERVERS, ROOMS, ("gateway",), ("worker",)]
    return [[parts[name] for name in wave if name in parts] for wave in waves]


def _make(plan: Plan, folder: Path) -> Stage:
    ports = dict(zip((*ROOMS, "gateway", *SERVERS, "triton_http", "triton_metrics"), free_ports(9), strict=True))
    parts: dict[str, Part] = {}
    environment = _environment(plan.settings)
    if plan.cluster:
        postgres = _Postgres(folder, ports["postgres"])
        minio = _Minio(folder, ports["minio"])
        parts |= {"postgres": postgres, "minio": minio, "triton": _triton(folder, ports)}
        store = minio.settings
        environment |= {
            "MAQUETTE_JOBS_DATABASE_URL": postgres.url,
            "MAQUETTE_STORE_URL": store.url,
            "MAQUETTE_STORE_TLS": "false",
            "MAQUETTE_STORE_CREATE_BUCKET": "true",
            "MAQUETTE_RECONSTRUCTOR_TRITON_URL": f"{LOOPBACK}:{ports['triton']}",
            **_credentials(store),
        }
    else:
        store = StoreSettings(url=(folder / "store").as_uri())
        environment |= {
            "MAQUETTE_JOBS_DATABASE_URL": f"sqlite:///{folder}/jobs.sqlite3",
            "MAQUETTE_STORE_URL": store.url,
        }
    url = f"http://{LOOPBACK}:{ports['gateway']}"
    environment |= {
        "MAQUETTE_GATEWAY_PORT": str(ports["gateway"]),
        "MAQUETTE_GATEWAY_REQUIRE_KEYS": "false",
        "MAQUETTE_HTTP_DRAIN_DELAY_S": "0",
        **{f"MAQUETTE_{room.upper()}_PORT": str(ports[room]) for room in ROOMS},
        **{f"MAQUETTE_{room.upper()}_DRAIN_DELAY_SECONDS": "0" for room in ROOMS},
        **{f"MAQUETTE_SERVICES_{room.upper()}": f"{LOOPBACK}:{ports[room]}" for room in ROOMS},
    }
    for name in (*ROOMS, "gateway", "worker"):
        code = f"import sys; {_MAINS[name]}; sys.exit(main())"
        process = Process(name, code, (), environment, folder / f"{name}.log")
        if name == "gateway":
            parts[name] = _Gateway(process, url)
        else:
            parts[name] = _Program(process, _WORKING if name == "worker" else _SERVING)
    return Stage(url, {name: part for name, part in parts.items() if name not in plan.without}, store)


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, without settings of Maquette that somebody has made for something else."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MAQUETTE_") or k == "MAQUETTE_HOME"}
    return plain | {"GRPC_VERBOSITY": "NONE"} | dict(settings)


def _credentials(store: StoreSettings) -> dict[str, str]:
    assert store.access_key is not None
    assert store.secret_key is not None
    return {
        "MAQUETTE_STORE_ACCESS_KEY": store.access_key,
        "MAQUETTE_STORE_SECRET_KEY": store.secret_key.get_secret_value(),
    }


def _says_ok(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _has(url: str, needed: Container[str]) -> bool:
    """Whether a gateway has what it needs, of what is there."""
    try:
        answer = httpx.get(f"{url}/readyz", timeout=10, trust_env=False).json()
    except httpx.TransportError:
        return False
    return all(found["status"] == "ok" for name, found in answer["dependencies"].items() if name in needed)


class _Running(Generic[_R]):
    """What can be killed, stopped and looked at, whatever it is."""

    def __init__(self, process: _R) -> None:
        self._process: _R = process

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        self._process.stop()

    def pids(self) -> Sequence[int]:
        return [] if self._process.pid is None else family(self._process.pid)


class _Program(_Running[Process]):
    """A program of the project that writes a line when it is ready."""

    def __init__(self, process: Process, line: bytes) -> None:
        super().__init__(process)
        self._line = line
        self.name = process.name

    async def start(self) -> None:
        before = self._process.log.stat().st_size if self._process.log.exists() else 0
        self._process.start()
        await self._wait(lambda: self._line in self._process.log.read_bytes()[before:])

    async def _wait(self, ready: Callable[[], bool]) -> None:
        what = f"{self.name} to be ready"
        await asyncio.to_thread(wait_until, ready, what, _READY_S, self._process.require_running)


class _Gateway(_Program):
    """The gateway, which is ready when it says so to those who ask."""

    def __init__(self, process: Process, url: str) -> None:
        super().__init__(process, b"")
        self._url = url

    async def start(self) -> None:
        self._process.start()
        await self._wait(lambda: _says_ok(f"{self._url}/healthz"))


class _Triton(_Program):
    """``maquette triton``, which ends its server when it is ended itself."""

    def __init__(self, process: Process, ports: Sequence[int]) -> None:
        super().__init__(process, b'"models"')
        self._ports = ports

    async def start(self) -> None:
        # What a killed server has left to end still holds its ports for a moment.
        def ports_are_free() -> bool:
            return not any(map(answers, self._ports))

        await asyncio.to_thread(wait_until, ports_are_free, "the ports of Triton to be free", _READY_S)
        await super().start()


def _triton(folder: Path, ports: Mapping[str, int]) -> _Triton:
    settings = Settings()
    install_triton(settings)
    own = {"grpc": ports["triton"], "http": ports["triton_http"], "metrics": ports["triton_metrics"]}
    options = [word for kind, port in own.items() for word in (f"--{kind}-port", str(port))]
    words = ("triton", "--json", *options, "--log", str(folder / "tritonserver.log"))
    code = "from maquette.cli import main; main()"
    return _Triton(Process("triton", code, words, _environment({}), folder / "triton.log"), list(own.values()))


class _Minio(_Running[MinioServer]):
    """The MinIO server of the tests."""

    name = "minio"

    def __init__(self, folder: Path, port: int) -> None:
        built = subprocess.run(["sh", str(SCRIPT)], capture_output=True, text=True, check=False)
        if built.returncode != 0:
            raise DependencyMissing(f"expected a MinIO server: {built.stderr.strip()}")
        super().__init__(MinioServer(Path(built.stdout.strip()), folder / "minio", port=port))
        self.settings = self._process.settings(_BUCKET)

    async def start(self) -> None:
        await asyncio.to_thread(self._process.start)


class _Postgres(_Running[PostgresServer]):
    """The PostgreSQL of the tests."""

    name = "postgres"

    def __init__(self, folder: Path, port: int) -> None:
        binaries, account = find_binaries(), find_account()
        if binaries is None or (account is not None and shutil.which("setpriv") is None):
            raise DependencyMissing("expected PostgreSQL's programs (initdb, postgres, psql) and setpriv, found none")
        own = folder / "postgres"
        own.mkdir()
        if account is not None:
            shutil.chown(own, account)
        super().__init__(PostgresServer(binaries, own, account, port=port))
        self._is_new = True
        self.url = f"{self._process.url}/{_DATABASE}"

    async def start(self) -> None:
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        self._process.start()
        if self._is_new:
            self._process.make_database(_DATABASE)
            self._is_new = False
