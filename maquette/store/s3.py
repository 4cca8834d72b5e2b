"""The object store at a server with the S3 API: MinIO, its forks, SeaweedFS, Ceph or a cloud's.

    heads/head_x7/<sha256>                      an object, named by its key
    .uploads/heads/head_x7/<sha256>/<random>    an empty object that is there while the other is uploaded in parts

Parts of an upload that never ended lie outside of every listing, and MinIO tells of them only who asks for the very
name. The empty objects remember those names, so that deleting a scope and ``sweep`` find all that killed processes
left.
"""

import io
import secrets
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, cast
from urllib.parse import quote, urlsplit

from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from maquette.errors import ObjectMissing, OptionInvalid, StoreError, StoreRefused, StoreUnavailable
from maquette.store.keys import check_digest, check_kind, check_media_type, check_range, check_scope, split_key
from maquette.store.s3client import make_pool, named_errors
from maquette.store.settings import StoreSettings
from maquette.store.store import PIECE, Chunks, Entry, ObjectInfo, ObjectStream
from maquette.store.upload import Upload, receive

_UPLOADS = ".uploads"
_LONGEST_LINK = 604_800
_CHECK_S = 3.0


class S3Store:
    """Objects in a bucket, which is for this store alone.

    The keys need the rights to read, write, delete and list objects and their versions, to list, abort and complete
    uploads in parts, and to read the bucket's versioning.
    """

    def __init__(self, settings: StoreSettings) -> None:
        """Prepare requests; none is made.

        Raises:
            StoreRefused: ``ca_file`` cannot be read.
        """
        assert settings.access_key is not None
        assert settings.secret_key is not None
        if settings.ca_file is not None and not settings.ca_file.is_file():
            raise StoreRefused(f"expected certificates in {settings.ca_file}, found no file")
        self.retries = settings.retries
        self._settings = settings
        self._bucket = settings.bucket
        self._where = f"the object store {settings.url}"
        self._pool = make_pool(
            connect_s=settings.connect_timeout_s,
            transfer_s=settings.transfer_timeout_s,
            retries=settings.retries,
            ca_file=settings.ca_file,
        )
        self._check_pool = make_pool(
            connect_s=min(_CHECK_S, settings.connect_timeout_s),
            transfer_s=min(_CHECK_S, settings.transfer_timeout_s),
            retries=2,
            connections=1,
            ca_file=settings.ca_file,
        )

        def client(endpoint: str, secure: bool, pool: Any) -> Minio:
            assert settings.secret_key is not None
            secret = settings.secret_key.get_secret_value()
            # With a region nothing needs to be asked before a link is signed.
            return Minio(endpoint, settings.access_key, secret, secure=secure, region=settings.region, http_client=pool)

        self._client = client(settings.endpoint, settings.tls, self._pool)
        self._checker = client(settings.endpoint, settings.tls, self._check_pool)
        self._signer: Minio | None = None
        if settings.public_endpoint is not None:
            public = urlsplit(settings.public_endpoint)
            self._signer = client(public.netloc, public.scheme == "https", self._pool)

    def put(self, scope: str, chunks: Chunks, media_type: str, *, expected_sha256: str | None = None) -> ObjectInfo:
        """See ``ObjectStore.put``."""
        check_scope(scope)
        check_media_type(media_type)
        if expected_sha256 is not None:
            check_digest(expected_sha256)
        part = self._settings.part_bytes
        with receive(chunks, part, expected_sha256) as upload:
            key = f"{scope}/{upload.sha256}"
            if upload.size is None or upload.size > part:
                return self._put_parts(key, upload, media_type)
            with self._named(f"write {key}"):
                written = self._client.put_object(
                    self._bucket, key, cast(BinaryIO, upload.reader), upload.size, media_type, part_size=part
                )
            return ObjectInfo(key, upload.size, upload.sha256, media_type, _seconds(written.http_headers["Date"]))

    def open(self, key: str, start: int = 0, stop: int | None = None) -> ObjectStream:
        """See ``ObjectStore.open``."""
        split_key(key)
        response = self.get(key, start, stop)
        if response is None:
            info = self.stat(key)
            start, stop = check_range(start, stop, info.size)
            return ObjectStream(info, start, stop, _Download(self, key, None, start, stop))
        try:
            span = response.headers.get("Content-Range")  # bytes 0-99/1234
            size = int(span.rpartition("/")[2] if span else response.headers["Content-Length"])
            start, stop = check_range(start, stop, size)
        except BaseException:
            response.close()
            raise
        return ObjectStream(
            _info(key, size, response.headers), start, stop, _Download(self, key, response, start, stop)
        )

    def stat(self, key: str) -> ObjectInfo:
        """See ``ObjectStore.stat``."""
        split_key(key)
        with self._named(f"look up {key}", key=key):
            found = self._client.stat_object(self._bucket, key)
        assert found.size is not None
        assert found.metadata is not None
        return _info(key, found.size, found.metadata)

    def entries(self, scope: str) -> list[Entry]:
        """See ``ObjectStore.entries``."""
        return [_entry(o) for o in self._listed(f"{check_scope(scope)}/")]

    def scopes(self, kind: str) -> Iterator[str]:
        """See ``ObjectStore.scopes``."""
        with self._named("list scopes"):
            for found in self._client.list_objects(self._bucket, f"{check_kind(kind)}/"):
                if found.is_dir:
                    yield found.object_name.rstrip("/")

    def delete(self, key: str) -> None:
        """See ``ObjectStore.delete``."""
        split_key(key)
        self._remove(self._listed(key, versions=self._is_versioned()))

    def delete_scope(self, scope: str) -> list[Entry]:
        """See ``ObjectStore.delete_scope``."""
        uploads = self._listed(f"{_UPLOADS}/{check_scope(scope)}/")
        for upload in uploads:
            self._abort(_key_of(upload))
        objects = self._listed(f"{scope}/", versions=self._is_versioned())
        self._remove(objects + uploads)
        present = [_entry(o) for o in objects if not o.is_delete_marker]
        return present + [_entry(o, unfinished=True) for o in uploads]

    def sweep(self, before: float) -> list[Entry]:
        """See ``ObjectStore.sweep``."""
        uploads = [o for o in self._listed(f"{_UPLOADS}/") if o.last_modified.timestamp() < before]
        for upload in uploads:
            self._abort(_key_of(upload), before)
        self._remove(uploads)
        return [_entry(o, unfinished=True) for o in uploads]

    def presign(self, key: str, seconds: int, file_name: str, media_type: str) -> str | None:
        """See ``ObjectStore.presign``."""
        split_key(key)
        check_media_type(media_type)
        if not 1 <= seconds <= _LONGEST_LINK:
            raise OptionInvalid(f"expected a link to last 1 to {_LONGEST_LINK} seconds, got {seconds}")
        if self._signer is None:
            return None
        return self._signer.presigned_get_object(
            self._bucket,
            key,
            timedelta(seconds=seconds),
            response_headers={
                "response-content-disposition": _disposition(file_name),
                "response-content-type": media_type,
            },
        )

    def check(self) -> None:
        """Ask for the bucket, and make it where that is set.

        Raises:
            StoreUnavailable: The server does not answer.
            StoreRefused: The keys are wrong, or there is no bucket.
        """
        with self._named("use the bucket"):
            if self._checker.bucket_exists(self._bucket):
                return
            if self._settings.create_bucket:
                try:
                    self._checker.make_bucket(self._bucket)
                except S3Error as error:
                    if error.code != "BucketAlreadyOwnedByYou":  # another process was quicker
                        raise
                return
        raise StoreRefused(
            f"{self._where} has no bucket {self._bucket!r}: create it, or set MAQUETTE_STORE_CREATE_BUCKET=true"
        )

    def close(self) -> None:
        """See ``ObjectStore.close``."""
        self._pool.clear()
        self._check_pool.clear()

    def get(self, key: str, start: int, stop: int | None) -> BaseHTTPResponse | None:
        """Ask for a range; None where a Range header cannot say it or the object is too short for it."""
        if start < 0 or (stop is not None and stop <= start):
            return None
        with self._named(f"read {key}", key=key):
            try:
                return self._client.get_object(self._bucket, key, start, 0 if stop is None else stop - start)
            except S3Error as error:
                if error.code == "InvalidRange":
                    return None
                raise

    def _put_parts(self, key: str, upload: Upload, media_type: str) -> ObjectInfo:
        """Send a large object."""
        marker = f"{_UPLOADS}/{key}/{secrets.token_hex(8)}"
        with self._named(f"write {key}"):
            self._client.put_object(self._bucket, marker, io.BytesIO(), 0)
            try:
                self._client.put_object(
                    self._bucket,
                    key,
                    cast(BinaryIO, upload.reader),
                    -1 if upload.size is None else upload.size,
                    media_type,
                    part_size=self._settings.part_bytes,
                    num_parallel_uploads=1,  # the client's worker threads outlive an upload that fails
                )
            except BaseException as error:
                # When someone else has ended this upload (the server itself, whose first answer to us was lost, a put
                # of the same bytes that was quicker, or the deletion of the scope), the object being there decides.
                if not isinstance(error, S3Error) or error.code != "NoSuchUpload":
                    self._forget(key, marker)
                    raise
        try:
            info = self.stat(key)
        except ObjectMissing:
            raise ObjectMissing(f"the scope of {key} was deleted while it was written", key=key) from None
        # A request that was repeated may have begun a second upload, which nobody will end.
        self._abort(key)
        with self._named(f"write {key}"):
            self._client.remove_object(self._bucket, marker)
        return info

    def _forget(self, key: str, marker: str) -> None:
        """After a failed upload, which the client has aborted if it could: if so, there is nothing to remember."""
        with suppress(StoreError), self._named("tidy"):
            listed = self._checker._list_multipart_uploads(self._bucket, prefix=key)
            if not any(u.object_name == key for u in listed.uploads):
                self._checker.remove_object(self._bucket, marker)

    def _abort(self, key: str, before: float | None = None) -> None:
        """Remove the parts of a key's unfinished uploads, of those that began before a time if one is given.

        The client has public methods for neither request, only those that its own uploads use.
        """
        with self._named(f"remove unfinished uploads of {key}"):
            while True:
                listed = self._client._list_multipart_uploads(self._bucket, prefix=key)
                chosen = [
                    u for u in listed.uploads if u.object_name == key and (before is None or _initiated(u) < before)
                ]
                for upload in chosen:
                    with suppress(S3Error):
                        self._client._abort_multipart_upload(self._bucket, key, upload.upload_id or "")
                if not listed.is_truncated or not chosen:
                    return

    def _is_versioned(self) -> bool:
        """Whether the bucket keeps, or has kept, older versions."""
        with self._named("read the bucket's versioning"):
            try:
                return self._client.get_bucket_versioning(self._bucket).status != "Off"
            except S3Error as error:
                if error.code in ("NotImplemented", "MethodNotAllowed"):
                    return False
                raise

    def _listed(self, prefix: str, versions: bool = False) -> list[Any]:
        with self._named(f"list {prefix}"):
            return list(self._client.list_objects(self._bucket, prefix, recursive=True, include_version=versions))

    def _remove(self, objects: list[Any]) -> None:
        with self._named("delete objects"):
            doomed = [DeleteObject(o.object_name, o.version_id) for o in objects]
            failed = list(self._client.remove_objects(self._bucket, doomed))
        if failed:
            first = failed[0]
            raise StoreRefused(
                f"{self._where} deleted {len(doomed) - len(failed)} of {len(doomed)} objects; {first.name}: "
                f"{first.message} ({first.code})"
            )

    def _named(self, doing: str, **detail: object) -> AbstractContextManager[None]:
        return named_errors(doing, self._where, **detail)


class _Download:
    """A range of an object, gone on with where it broke off when the server does so."""

    def __init__(self, store: S3Store, key: str, response: BaseHTTPResponse | None, start: int, stop: int) -> None:
        self._store = store
        self._key = key
        self._response = response
        self._start = start
        self._stop = stop

    def __iter__(self) -> Iterator[bytes]:
        position = self._start
        failures = 0
        while position < self._stop and self._response is not None:
            try:
                piece = self._response.read(min(PIECE, self._stop - position))
            except HTTPError as error:
                failures += 1
                if failures > self._store.retries:
                    raise StoreUnavailable(
                        f"{self._key} broke off after {position - self._start} of {self._stop - self._start} bytes, "
                        f"{failures} times: {error}",
                        key=self._key,
                    ) from error
                self._response.close()
                self._response = self._store.get(self._key, position, self._stop)
                continue
            if not piece:
                return
            failures = 0
            position += len(piece)
            yield piece

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response.release_conn()
            self._response = None


def _info(key: str, size: int, headers: Mapping[str, str]) -> ObjectInfo:
    _, sha256 = split_key(key)
    return ObjectInfo(key, size, sha256, headers["Content-Type"], _seconds(headers["Last-Modified"]))


def _entry(listed: Any, *, unfinished: bool = False) -> Entry:
    return Entry(listed.object_name, listed.size or 0, listed.last_modified.timestamp(), unfinished)


def _key_of(upload: Any) -> str:
    """The key whose upload an empty object is there for."""
    return str(upload.object_name).removeprefix(f"{_UPLOADS}/").rpartition("/")[0]


def _initiated(upload: Any) -> float:
    return float(upload.initiated_time.timestamp())


def _seconds(date: str) -> float:
    """Seconds since the epoch of a date in a header."""
    return parsedate_to_datetime(date).timestamp()


def _disposition(file_name: str) -> str:
    """Content-Disposition with a file name (RFC 6266): in ASCII, and as it is where it is more than that."""
    shown = "".join("_" if c in '/\\"' or not c.isprintable() else c for c in file_name)
    plain = shown.encode("ascii", "replace").decode().replace("?", "_")
    extended = "" if plain == shown else f"; filename*=UTF-8''{quote(shown, safe='')}"
    return f'attachment; filename="{plain}"{extended}'
