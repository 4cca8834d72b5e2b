"""A real PostgreSQL for tests: made in a temporary folder, on a socket and a loopback port, stopped and removed."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_USER = "maquette"
_START_S = 60.0


class PostgresServer:
    """One server process with a data folder of its own.

    Attributes:
        port: Its port on 127.0.0.1.
        url: Without a database's name.
    """

    def __init__(self, binaries: Path, folder: Path, account: str | None, *, port: int | None = None) -> None:
        """Make the data folder; the server is not started yet.

        Args:
            binaries: Folder with ``initdb`` and ``postgres``.
            folder: Empty, belonging to ``account``.
            account: Who runs the server, when not the user of this process.
            port: Where it listens; a free one when None.
        """
        self._binaries = binaries
        self._folder = folder
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port() if port is None else port
        self.url = f"postgresql://{_USER}@127.0.0.1:{self.port}"
        arguments = ("-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
        subprocess.run(
            self._command("initdb", "-D", self._data, *arguments), check=True, capture_output=True, cwd=folder
        )

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def start(self) -> None:
        """Start and wait until it answers."""
        # Every test's data must outlive the server process, not the machine's power: fsync would only take time.
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": 100,
            "shared_buffers": "32MB",
            "log_min_messages": "warning",
        }
        settings = [a for name, value in options.items() for a in ("-c", f"{name}={value}")]
        give_up = time.monotonic() + _START_S
        while not self._answers():
            # After a SIGKILL the children of the old server need a moment to notice, and until then no new one starts.
            if self._process is None or self._process.poll() is not None:
                with (self._folder / "log").open("ab") as log:
                    self._process = subprocess.Popen(
                        self._command("postgres", "-D", self._data, *settings), stdout=log, stderr=log, cwd=self._folder
                    )
            if time.monotonic() > give_up:
                raise RuntimeError(f"PostgreSQL does not start: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    @property
    def pid(self) -> int | None:
        """Process id of the running server."""
        return None if self._process is None else self._process.pid

    def kill(self) -> None:
        """End it as a power cut would."""
        self.stop(signal.SIGKILL)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT breaks its connections off in an orderly way, SIGKILL does not."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def make_database(self, name: str) -> str:
        """Make an empty database; returns its URL."""
        self._psql("postgres", f'CREATE DATABASE "{name}"')
        return f"{self.url}/{name}"

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever still has it open."""
        self._psql("postgres", f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def schema(self, name: str) -> str:
        """All definitions of a database, as SQL."""
        dump = subprocess.run(
            [str(self._binaries / "pg_dump"), "--schema-only", "--no-owner", f"{self.url}/{name}"],
            check=True,
            capture_output=True,
            text=True,
        )
        lines = (line for line in dump.stdout.splitlines() if line and not line.startswith(("--", "\\", "SET")))
        return "\n".join(lines)

    def value(self, name: str, statement: str) -> str:
        """First value that a statement gives."""
        return self._psql(name, statement).strip()

    def _psql(self, name: str, statement: str) -> str:
        command = [str(self._binaries / "psql"), "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-c", statement]
        done = subprocess.run([*command, f"{self.url}/{name}"], check=True, capture_output=True, text=True)
        return done.stdout

    def _answers(self) -> bool:
        ready = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready).returncode == 0

    def _command(self, program: str, *arguments: str) -> list[str]:
        become = []
        if self._account is not None:
            entry = pwd.getpwnam(self._account)
            # setpriv is replaced by the program; should this process die, so does the server.
            become = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
            become += ["--pdeathsig=INT", "--"]
        return [*become, str(self._binaries / program), *arguments]


def find_binaries() -> Path | None:
    """Folder with PostgreSQL's programs: what the PATH leads to, or the newest that Debian has installed."""
    found = shutil.which("initdb")
    candidates = [Path(found).resolve().parent] if found else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    needed = ("initdb", "postgres", "psql", "pg_isready", "pg_dump")
    return next((c for c in candidates if all((c / n).exists() for n in needed)), None)


def find_account() -> str | None:
    """Who is to run the server: it refuses to run as root; None for the user of this process."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise RuntimeError("no user postgres or nobody to run PostgreSQL as")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running server; tests that need it skip where PostgreSQL is not installed."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's programs (initdb, postgres, psql, pg_dump) are not installed")
    account = find_account()
    if account is not None and shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL does not run as root, and setpriv, which would change the user, is not installed")
    # Not in pytest's folder, which only its user may enter.
    with tempfile.TemporaryDirectory(prefix="maquette-postgres-", ignore_cleanup_errors=True) as folder:
        if account is not None:
            entry = pwd.getpwnam(account)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        server = PostgresServer(binaries, Path(folder), account)
        server.start()
        yield server
        server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
