"""A real MinIO server on loopback, with its own data folder, started and stopped by the tests."""

import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from maquette.store import StoreSettings

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "minio.sh"
ACCESS_KEY = "maquette-tests"
SECRET_KEY = "a secret of the tests"
NO_GO = 3


class MinioServer:
    """One server process at a time over one folder; after ``kill`` it can be started again at the same address."""

    def __init__(
        self,
        binary: Path,
        folder: Path,
        *,
        data: Path | None = None,
        certificates: Path | None = None,
        port: int | None = None,
    ) -> None:
        self._binary = binary
        self._folder = folder
        self._data = data or folder / "data"
        self._certificates = certificates
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port() if port is None else port

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def data(self) -> Path:
        return self._data

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        assert self._process is None
        self._folder.mkdir(parents=True, exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "MINIO_ROOT_USER": ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": SECRET_KEY,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }
        command = [str(self._binary), "server", "--quiet", "--address", self.address]
        if self._certificates is not None:
            command += ["--certs-dir", str(self._certificates)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*command, str(self._data)], env=environment, stdout=log, stderr=log)
        self._await_readiness()

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        """End it if it runs; its data are thrown away, so that it need not take its time."""
        if self._process is not None:
            self.kill()

    def settings(self, bucket: str, **changes: object) -> StoreSettings:
        values: dict[str, object] = {
            "url": f"s3://{self.address}/{bucket}",
            "access_key": ACCESS_KEY,
            "secret_key": SECRET_KEY,
            "tls": self._certificates is not None,
            "part_bytes": 5 << 20,
            "create_bucket": True,
        }
        return StoreSettings.model_validate(values | changes)

    def _await_readiness(self) -> None:
        """Wait until it refuses who has no key; its health page is content a little before that."""
        scheme = "http" if self._certificates is None else "https"
        trusting = ssl._create_unverified_context()
        end = time.monotonic() + 60
        while True:
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"MinIO did not start: {(self._folder / 'log').read_text()[-2000:]}")
            try:
                urllib.request.urlopen(f"{scheme}://{self.address}/", timeout=1, context=trusting).close()
            except urllib.error.HTTPError as answer:
                answer.close()
                if answer.code == 403:
                    return
            except OSError:
                pass
            time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(server: MinioServer) -> Iterator[MinioServer]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def minio_binary() -> Path:
    """The server that scripts/minio.sh builds once; only where nothing can build it, tests skip."""
    done = subprocess.run(["sh", str(SCRIPT)], capture_output=True, text=True, check=False)
    if done.returncode == NO_GO:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def minio(minio_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """A server that all tests share, each with its own bucket; those that harm a server start their own."""
    folder = tmp_path_factory.mktemp("minio")
    with running(MinioServer(minio_binary, folder)) as server:
        yield server
    shutil.rmtree(folder, ignore_errors=True)
