import io
import itertools
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from minio import Minio

from maquette.store import ObjectStore, StoreSettings, open_store
from tests.servers.minio import ACCESS_KEY, SECRET_KEY, MinioServer

_BUCKETS = itertools.count()


class Place(Protocol):
    """A store, and the back door to it."""

    store: ObjectStore
    settings: StoreSettings

    def damage(self, key: str, data: bytes) -> None:
        """Put other bytes where an object is."""

    def unfinished(self, key: str) -> int:
        """How many uploads of an object have left something behind."""


class FilePlace:
    def __init__(self, folder: Path) -> None:
        self.settings = StoreSettings(url=folder.as_uri())
        self.store = open_store(self.settings)
        self._folder = folder

    def damage(self, key: str, data: bytes) -> None:
        (path,) = self._folder.glob(f"{key}.*")
        path.write_bytes(data)

    def unfinished(self, key: str) -> int:
        scope = key.rpartition("/")[0].replace("/", "~")
        return len(list((self._folder / ".uploads").glob(f"{scope}~*")))


class S3Place:
    def __init__(self, server: MinioServer) -> None:
        self.settings = server.settings(f"tests-{next(_BUCKETS)}")
        self.store = open_store(self.settings)
        self.store.check()
        self.client = raw_client(server)

    def damage(self, key: str, data: bytes) -> None:

        self.client.put_object(self.settings.bucket, key, io.BytesIO(data), len(data))

    def unfinished(self, key: str) -> int:
        listed = self.client._list_multipart_uploads(self.settings.bucket, prefix=key)
        return len(listed.uploads)


def raw_client(server: MinioServer) -> Minio:
    return Minio(server.address, ACCESS_KEY, SECRET_KEY, secure=False, region="us-east-1")


@pytest.fixture(params=["files", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    server = request.getfixturevalue("minio") if request.param == "s3" else None
    place = FilePlace(tmp_path / "store") if server is None else S3Place(server)
    yield place
    place.store.close()


@pytest.fixture
def store(place: Place) -> ObjectStore:
    return place.store


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own of a given size; only root may mount one."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "maquette-tests", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
