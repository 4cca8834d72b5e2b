"""TLS of both ends, from PEM files."""

import logging
import threading
from pathlib import Path

import grpc

from maquette.errors import OptionInvalid
from maquette.rpc.settings import ClientSettings, ServerSettings, read_pem

logger = logging.getLogger(__name__)


def server_credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    """What a server shows and asks for; None without TLS. Certificates that are renewed on disk are taken up.

    Raises:
        OptionInvalid: A file cannot be read.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    files = _Files(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    return grpc.dynamic_ssl_server_credentials(
        files.first,
        files.renewed,  # type: ignore[arg-type] # None, which the types forget, keeps the certificate that there is
        require_client_authentication=settings.tls_client_ca is not None,
    )


def channel_credentials(settings: ClientSettings) -> grpc.ChannelCredentials | None:
    """What a client trusts and shows; None without TLS.

    Raises:
        OptionInvalid: A file cannot be read.
    """
    if settings.tls_ca is None:
        return None
    key = certificate = None
    if settings.tls_certificate is not None and settings.tls_key is not None:
        key = read_pem(settings.tls_key, "the private key")
        certificate = read_pem(settings.tls_certificate, "the certificate")
    return grpc.ssl_channel_credentials(read_pem(settings.tls_ca, "the authorities"), key, certificate)


class _Files:
    """The files of a server, read again when one of them has changed."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._lock = threading.Lock()
        self._stamps = self._stamp()
        self.first = self._read()

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """For each new connection, on gRPC's threads: the files' contents if they have changed."""
        with self._lock:
            try:
                stamps = self._stamp()
                if stamps == self._stamps:
                    return None
                renewed = self._read()
            except (OSError, OptionInvalid):
                # Half-renewed: the old certificate serves until the new one is whole.
                logger.warning("the renewed certificate cannot be read")
                return None
            self._stamps = stamps
            return renewed

    def _read(self) -> grpc.ServerCertificateConfiguration:
        pair = (read_pem(self._key, "the private key"), read_pem(self._certificate, "the certificate"))
        authorities = None if self._client_ca is None else read_pem(self._client_ca, "the callers' authorities")
        return grpc.ssl_server_certificate_configuration([pair], authorities)

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        paths = [p for p in (self._certificate, self._key, self._client_ca) if p is not None and p.exists()]
        return tuple((p.stat().st_mtime_ns, p.stat().st_size) for p in paths)
