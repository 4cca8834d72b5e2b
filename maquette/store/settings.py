"""Where the object store is, read once from the environment, and how it is opened."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from maquette.errors import DependencyMissing, StoreError
from maquette.settings import Settings
from maquette.store.files import FileStore
from maquette.store.store import ObjectStore

_BUCKET = re.compile("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
MIB = 1 << 20


class StoreSettings(BaseSettings):
    """The object store, as ``MAQUETTE_STORE_<NAME>``.

    Attributes:
        url: ``file:///FOLDER``, the embedded store, or ``s3://HOST[:PORT]/BUCKET``, any server with the S3 API.
        access_key: S3: who asks.
        secret_key: S3: the key that requests are signed with.
        region: S3: the region in signatures; servers of one's own mostly take any.
        tls: S3: whether the server is spoken to over TLS.
        ca_file: S3: certificates, PEM, that the server's may be signed by; without it the public ones.
        public_endpoint: S3: ``https://HOST[:PORT]`` under which clients reach the server. Links are signed for it;
            without it there are none, and files go through the gateway.
        create_bucket: S3: make the bucket where it is not there.
        part_bytes: S3: what is larger is uploaded in parts of this size; as much is held in memory for each upload.
        connect_timeout_s: S3: how long to wait for a connection.
        transfer_timeout_s: S3: how long to wait for a part to be sent, and for each answer.
        retries: S3: how often a request is repeated when the server does not answer; 5 take 6 s and bear a restart.
    """

    model_config = SettingsConfigDict(env_prefix="MAQUETTE_STORE_", frozen=True)

    url: str = Field(default_factory=lambda: (Settings().home.absolute() / "store").as_uri())
    access_key: str | None = None
    secret_key: SecretStr | None = None
    region: str = Field(default="us-east-1", min_length=1)
    tls: bool = True
    ca_file: Path | None = None
    public_endpoint: str | None = None
    create_bucket: bool = False
    part_bytes: int = Field(default=16 * MIB, ge=5 * MIB, le=1024 * MIB)
    connect_timeout_s: float = Field(default=2.0, gt=0)
    transfer_timeout_s: float = Field(default=60.0, gt=0)
    retries: int = Field(default=5, ge=0, le=10)

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        parts = urlsplit(url)
        path = unquote(parts.path)
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("expected file:///FOLDER or s3://HOST[:PORT]/BUCKET, without user, query and fragment")
        if parts.scheme == "file" and not parts.netloc and path.startswith("/") and "\0" not in path:
            return url
        if parts.scheme == "s3" and parts.hostname and parts.port != 0 and _BUCKET.fullmatch(path.strip("/")):
            return url
        raise ValueError(f"expected file:///FOLDER or s3://HOST[:PORT]/BUCKET, got {url!r}")

    @field_validator("public_endpoint")
    @classmethod
    def _public_endpoint(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and "@" not in parts.netloc
        if not known or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(f"expected http://HOST[:PORT] or https://HOST[:PORT], got {url!r}")
        return url

    @model_validator(mode="after")
    def _keys(self) -> Self:
        if self.url.startswith("s3:") and not (self.access_key and self.secret_key):
            raise ValueError("expected access_key and secret_key with an s3:// store")
        return self

    @property
    def folder(self) -> Path | None:
        """Folder of the embedded store; None with S3."""
        return Path(unquote(urlsplit(self.url).path)) if self.url.startswith("file:") else None

    @property
    def endpoint(self) -> str:
        """``HOST[:PORT]`` of the S3 server; empty with the embedded store."""
        return urlsplit(self.url).netloc

    @property
    def bucket(self) -> str:
        """Bucket of the S3 server."""
        return urlsplit(self.url).path.strip("/")


def open_store(settings: StoreSettings) -> ObjectStore:
    """Open the store that the settings name; an S3 server is asked only where its bucket is to be made.

    Raises:
        DependencyMissing: It is an S3 server, and the package ``minio`` is not there.
        StoreRefused: Its folder may not be written, or its certificates cannot be read.
        StoreUnavailable: Its folder cannot be made.
    """
    if settings.folder is not None:
        return FileStore(settings.folder)
    try:
        from maquette.store.s3 import S3Store
    except ModuleNotFoundError as error:
        if error.name != "minio":
            raise
        raise DependencyMissing(
            "the object store at an s3:// address needs the package minio: pip install minio"
        ) from error
    store = S3Store(settings)
    if settings.create_bucket:
        with suppress(StoreError):  # the server may come later; what is wrong is told by whatever needs it next
            store.check()
    return store
