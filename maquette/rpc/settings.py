"""Settings of the ends of a gRPC connection, read once from the environment in main()."""

import os
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from maquette.errors import OptionInvalid

MEBIBYTE = 1 << 20
MESSAGE_BYTES = 64 * MEBIBYTE


class ServerSettings(BaseSettings):
    """What every service can be told; a service's own class sets the prefix and its port.

    ::

        class DetectorServerSettings(ServerSettings):
            model_config = SettingsConfigDict(env_prefix="MAQUETTE_DETECTOR_", frozen=True)
            port: int = 50051

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 picks a free one.
        metrics_host: Address that ``/metrics`` listens on.
        metrics_port: Port of ``/metrics``; 0 picks a free one, unset serves none.
        tls_certificate: PEM file with the server's certificate and its chain; without it there is no TLS. It and the
            key are read again when they change.
        tls_key: PEM file with its private key.
        tls_client_ca: PEM file with the authorities of callers' certificates; callers must then show one (mTLS).
        max_message_bytes: Largest message, in and out.
        max_concurrent: Calls that are worked on at once, and threads they run on.
        max_queue: Calls that wait for their turn; further ones are refused with RESOURCE_EXHAUSTED.
        max_seconds: Longest that a call may take, whatever deadline its caller set.
        keepalive_seconds: Time without traffic after which a connection is checked.
        keepalive_timeout_seconds: Time the other side has to answer that.
        max_connection_age_seconds: Age at which clients are told to connect anew, so that new servers get traffic.
        drain_delay_seconds: Time between NOT_SERVING and refusing calls, for load balancers to notice.
        drain_seconds: Time that calls have to end after that, before they are cancelled.
        reflection: Whether callers may ask for the contracts.
    """

    model_config = SettingsConfigDict(env_prefix="MAQUETTE_RPC_", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65_535)
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = Field(default=None, ge=0, le=65_535)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    max_message_bytes: int = Field(default=MESSAGE_BYTES, ge=MEBIBYTE, le=2**31 - 1)
    max_concurrent: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    max_queue: int = Field(default=16, ge=0)
    max_seconds: float = Field(default=600, gt=0)
    keepalive_seconds: float = Field(default=30, ge=10)
    keepalive_timeout_seconds: float = Field(default=10, gt=0)
    max_connection_age_seconds: float = Field(default=300, gt=0)
    drain_delay_seconds: float = Field(default=1, ge=0)
    drain_seconds: float = Field(default=30, ge=0)
    reflection: bool = True

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        _both("tls_certificate", self.tls_certificate, "tls_key", self.tls_key)
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key: callers are only known by TLS")
        return self


class ClientSettings(BaseSettings):
    """How a service is reached; each caller's own class or the arguments set the prefix and the target.

    Attributes:
        target: ``host:port``, ``dns:///host:port`` (all addresses of the name are used in turn) or ``unix:path``.
        tls_ca: PEM file with the authorities of the server's certificate; without it the connection is not encrypted.
        tls_certificate: PEM file with the caller's own certificate, where the server asks for one (mTLS).
        tls_key: PEM file with its private key.
        tls_server_name: Name that the server's certificate has, where it is not that of the target.
        timeout_seconds: Longest a call may take; a nearer deadline of the caller's own call counts.
        max_message_bytes: Largest message, in and out.
        max_attempts: Tries of a call that finds the service UNAVAILABLE, the first included; 1 never retries.
        keepalive_seconds: Time without traffic after which the connection is checked; not less than the server's.
        keepalive_timeout_seconds: Time the server has to answer that.
    """

    model_config = SettingsConfigDict(env_prefix="MAQUETTE_CLIENT_", frozen=True)

    target: str = Field(min_length=1)
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_server_name: str | None = None
    timeout_seconds: float = Field(default=300, gt=0)
    max_message_bytes: int = Field(default=MESSAGE_BYTES, ge=MEBIBYTE, le=2**31 - 1)
    max_attempts: int = Field(default=4, ge=1, le=5)
    keepalive_seconds: float = Field(default=30, ge=10)
    keepalive_timeout_seconds: float = Field(default=10, gt=0)

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        _both("tls_certificate", self.tls_certificate, "tls_key", self.tls_key)
        if self.tls_certificate is not None and self.tls_ca is None:
            raise ValueError("tls_certificate needs tls_ca: without TLS nobody is shown a certificate")
        return self


def read_pem(path: Path, what: str) -> bytes:
    """Contents of a PEM file.

    Raises:
        OptionInvalid: It cannot be read, or holds no PEM.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OptionInvalid(f"expected {what} at {path}, found none that can be read: {error.strerror}") from error
    if b"-----BEGIN " not in data:
        raise OptionInvalid(f"expected {what} in PEM at {path}, found something else")
    return data


def _both(first: str, a: object, second: str, b: object) -> None:
    if (a is None) != (b is None):
        raise ValueError(f"expected {first} and {second} together, found only {second if a is None else first}")
