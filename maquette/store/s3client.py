"""How requests to an S3 server are made: how long, how often, and which of our errors theirs are."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree.ElementTree import ParseError

import certifi
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Retry, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, MaxRetryError, SSLError

from maquette.errors import ObjectMissing, StoreError, StoreFull, StoreRefused, StoreUnavailable

_MISSING = {"NoSuchKey", "NoSuchVersion", "NoSuchUpload"}
_FULL = {"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded"}
# Of the client's faults these pass by themselves: the request was damaged, or came when it could not be served.
_PASSING = {
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "IncompleteBody",
    "RequestTimeout",
    "SlowDown",
    "OperationAborted",
}


def make_pool(
    *, connect_s: float, transfer_s: float, retries: int, connections: int = 16, ca_file: Path | None = None
) -> PoolManager:
    """Connections to a server.

    Every request is repeated when the server cannot be reached, breaks off or answers that it cannot serve now; all of
    ours may be. After the n-th failure in a row it waits 0.2·2^(n-1) s, the first time not at all. What a server asks
    with Retry-After (MinIO: a minute) is not waited for: the caller is told sooner and decides.

    Args:
        connect_s: Seconds until a connection has to be there.
        transfer_s: Seconds in which a body has to be sent, and in which an answer has to come.
        retries: How often a request is repeated.
        connections: How many are kept for reuse; more are made when needed.
        ca_file: Certificates to trust in place of the public ones.
    """
    pool = PoolManager(
        timeout=Timeout(connect=connect_s, read=transfer_s),
        maxsize=connections,
        cert_reqs="CERT_REQUIRED",
        ca_certs=str(ca_file or os.environ.get("SSL_CERT_FILE") or certifi.where()),
        retries=Retry(
            total=retries,
            other=0,  # a certificate that is refused once is refused again
            allowed_methods=None,
            status_forcelist=(500, 502, 503, 504),
            raise_on_status=False,
            backoff_factor=0.2,
            backoff_max=10,
            respect_retry_after_header=False,
        ),
    )
    pool.pool_classes_by_scheme = _pools(transfer_s)
    return pool


def _pools(transfer_s: float) -> dict[str, type[HTTPConnectionPool]]:
    """Pools whose connections allow ``transfer_s`` for sending.

    urllib3 leaves the socket with the time limit for connecting while a request is sent, and Python's sockets apply it
    to the whole body: a part would have to be through within the few seconds in which a dead server is to be noticed.
    """

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            assert self.sock is not None
            self.sock.settimeout(transfer_s)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            assert self.sock is not None
            self.sock.settimeout(transfer_s)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


@contextmanager
def named_errors(doing: str, where: str, **detail: object) -> Iterator[None]:
    """Turn errors of requests into those of the store.

    Args:
        doing: What was asked, after "cannot".
        where: Of whom.
        detail: Facts for the error.

    Raises:
        StoreError: The branch that says what can be done about it.
    """
    try:
        yield
    except (MinioException, HTTPError, ParseError) as error:
        kind, reason = _meaning(error)
        raise kind(f"cannot {doing} at {where}: {reason}", **detail) from error


def _meaning(error: Exception) -> tuple[type[StoreError], str]:
    """Which of our errors one is, and why."""
    if isinstance(error, S3Error):
        code = error.code or "no code"
        return _kind(code, error.response.status), f"{error.message or 'no reason given'} ({code})"
    if isinstance(error, ServerError):
        return _kind("", error.status_code), str(error)
    if isinstance(error, InvalidResponseError):
        return StoreUnavailable, "what answers is no S3 server, or one that is not ready"
    cause = error.reason if isinstance(error, MaxRetryError) and error.reason is not None else error
    reason = str(cause)
    if isinstance(cause, SSLError):
        return StoreRefused, reason
    # urllib3 begins with the object that failed: "HTTPConnection(host=…, port=…): Failed to establish …".
    return StoreUnavailable, reason.partition("): ")[2] or reason


def _kind(code: str, status: int) -> type[StoreError]:
    if code in _MISSING:
        return ObjectMissing
    if code in _FULL or status == 507:
        return StoreFull
    if code in _PASSING or status >= 500:
        return StoreUnavailable
    return StoreRefused
