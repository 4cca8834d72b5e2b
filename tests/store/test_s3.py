"""What only the store at an S3 server does, against a real MinIO."""

import http.server
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from maquette.errors import (
    ObjectCorrupt,
    ObjectMissing,
    OptionInvalid,
    StoreError,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
)
from maquette.store import ObjectStore, open_store
from tests.servers.minio import MinioServer, free_port, running
from tests.servers.relay import slow_relay
from tests.store.conftest import S3Place, raw_client, small_disk
from tests.store.test_store import GLB, LARGE, MIB, SCOPE, SMALL, digest, noise, pieces


@pytest.fixture
def place(minio: MinioServer) -> Iterator[S3Place]:
    place = S3Place(minio)
    yield place
    place.store.close()


@pytest.fixture
def server(minio_binary: Path, tmp_path: Path) -> Iterator[MinioServer]:
    """A server of the test's own, to be killed."""
    with running(MinioServer(minio_binary, tmp_path)) as server:
        yield server
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def stores() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def opened(stores: ExitStack, server: MinioServer, bucket: str = "tests", **changes: object) -> ObjectStore:
    store = open_store(server.settings(bucket, **changes))
    stores.callback(store.close)
    return store


def fetch(link: str) -> tuple[bytes, str, str]:
    """Body, media type and disposition of a link, with no key."""
    with urllib.request.urlopen(link, timeout=10) as answer:
        return answer.read(), answer.headers["Content-Type"], answer.headers["Content-Disposition"]


def status(link: str) -> int:
    try:
        with urllib.request.urlopen(link, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.parametrize(
    "wrong", [{"secret_key": "another secret"}, {"access_key": "nobody"}], ids=["secret", "access key"]
)
def test_wrong_keys_are_refused_by_every_method(
    place: S3Place, minio: MinioServer, stores: ExitStack, wrong: dict[str, str]
) -> None:
    key = place.store.put(SCOPE, SMALL, GLB).key
    stranger = opened(stores, minio, place.settings.bucket, **wrong)
    started = time.monotonic()
    for ask in (
        stranger.check,
        lambda: stranger.put(SCOPE, b"mine", GLB),
        lambda: stranger.put(SCOPE, LARGE, GLB),
        lambda: stranger.open(key),
        lambda: stranger.stat(key),
        lambda: stranger.delete(key),
        lambda: stranger.entries(SCOPE),
        lambda: list(stranger.scopes("heads")),
        lambda: stranger.delete_scope(SCOPE),
        lambda: stranger.sweep(time.time()),
    ):
        with pytest.raises(StoreRefused, match=r"AccessDenied|SignatureDoesNotMatch|InvalidAccessKeyId"):
            ask()
    assert time.monotonic() - started < 5  # what is refused is not tried again
    assert [e.key for e in place.store.entries(SCOPE)] == [key]


def test_a_bucket_that_is_not_there_is_named_or_made(minio: MinioServer, stores: ExitStack) -> None:
    with pytest.raises(StoreRefused, match=r"no bucket 'absent'.*MAQUETTE_STORE_CREATE_BUCKET"):
        opened(stores, minio, "absent", create_bucket=False).check()
    with pytest.raises(StoreRefused, match="NoSuchBucket"):
        opened(stores, minio, "absent", create_bucket=False).put(SCOPE, SMALL, GLB)
    for _ in range(2):
        opened(stores, minio, "made").put(SCOPE, SMALL, GLB)
    opened(stores, minio, "made").check()
    opened(stores, minio, "made", create_bucket=False).check()


def test_a_server_that_is_not_there_is_named_within_seconds(minio: MinioServer, stores: ExitStack) -> None:
    url = f"s3://127.0.0.1:{free_port()}/tests"
    dead, hasty = opened(stores, minio, url=url), opened(stores, minio, url=url, retries=1)
    for ask, limit in (
        (dead.check, 6),
        (lambda: dead.put(SCOPE, SMALL, GLB), 15),
        (lambda: hasty.put(SCOPE, pieces(LARGE), GLB), 6),
        (lambda: hasty.open(f"{SCOPE}/{digest(SMALL)}"), 6),
        (lambda: hasty.delete_scope(SCOPE), 6),
    ):
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"s3://127\.0\.0\.1:\d+/tests: .*Connection refused"):
            ask()
        assert time.monotonic() - started < limit


def test_a_server_that_never_answers_is_named_when_its_time_is_up(minio: MinioServer, stores: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = opened(
            stores, minio, url=f"s3://127.0.0.1:{silent.getsockname()[1]}/tests", transfer_timeout_s=0.3, retries=1
        )
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="timed out"):
            mute.put(SCOPE, SMALL, GLB)
        with pytest.raises(StoreUnavailable, match="timed out"):
            mute.check()
        assert time.monotonic() - started < 4


def test_what_is_no_s3_server_is_named(minio: MinioServer, stores: ExitStack) -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<html>welcome"
            self.send_response(404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        store = opened(stores, minio, url=f"s3://127.0.0.1:{other.server_address[1]}/tests")
        with pytest.raises(StoreUnavailable, match="no S3 server"):
            store.open(f"{SCOPE}/{digest(SMALL)}")
        other.shutdown()


def test_a_link_lets_anyone_download_under_the_public_address(
    place: S3Place, minio: MinioServer, stores: ExitStack
) -> None:
    public = opened(stores, minio, place.settings.bucket, public_endpoint=f"http://localhost:{minio.port}")
    key = public.put(SCOPE, LARGE, "application/octet-stream").key
    link = public.presign(key, 60, "head.glb", GLB)
    assert link is not None
    assert link.startswith(f"http://localhost:{minio.port}/{place.settings.bucket}/{key}?")
    assert fetch(link) == (LARGE, GLB, 'attachment; filename="head.glb"')
    ranged = urllib.request.Request(link, headers={"Range": "bytes=5-9"})
    with urllib.request.urlopen(ranged, timeout=10) as answer:
        assert (answer.status, answer.read()) == (206, LARGE[5:10])
    assert status(link.replace("localhost", "127.0.0.1")) == 403  # the host is part of what is signed
    assert status(link.replace(key, key.replace("head_x7", "head_x8"))) == 403
    assert status(link.replace("head.glb", "other.glb")) == 403
    assert status(link.partition("?")[0]) == 403


def test_a_link_ends_after_its_time(place: S3Place, minio: MinioServer, stores: ExitStack) -> None:
    public = opened(stores, minio, place.settings.bucket, public_endpoint=f"http://{minio.address}")
    link = public.presign(public.put(SCOPE, SMALL, GLB).key, 1, "head.glb", GLB)
    assert link is not None
    assert status(link) == 200
    time.sleep(2.1)
    assert status(link) == 403


@pytest.mark.parametrize(
    ("name", "disposition"),
    [
        ("head 1.glb", 'attachment; filename="head 1.glb"'),
        ("Zoë.glb", "attachment; filename=\"Zo_.glb\"; filename*=UTF-8''Zo%C3%AB.glb"),
        ('../a"; b\r\nX: y', 'attachment; filename=".._a_; b__X: y"'),
    ],
)
def test_a_download_has_the_name_of_the_link(
    place: S3Place, minio: MinioServer, stores: ExitStack, name: str, disposition: str
) -> None:
    public = opened(stores, minio, place.settings.bucket, public_endpoint=f"http://{minio.address}")
    link = public.presign(public.put(SCOPE, SMALL, GLB).key, 60, name, GLB)
    assert link is not None
    assert fetch(link) == (SMALL, GLB, disposition)


def test_links_are_signed_without_asking_anyone(minio: MinioServer, stores: ExitStack) -> None:
    alone = opened(
        stores, minio, url=f"s3://127.0.0.1:{free_port()}/tests", public_endpoint="https://files.example.org"
    )
    started = time.monotonic()
    link = alone.presign(f"{SCOPE}/{digest(SMALL)}", 60, "head.glb", GLB)
    assert time.monotonic() - started < 1
    assert link is not None
    assert link.startswith("https://files.example.org/tests/heads/head_x7/")


def test_without_a_public_address_there_are_no_links(place: S3Place) -> None:
    assert place.store.presign(place.store.put(SCOPE, SMALL, GLB).key, 60, "head.glb", GLB) is None


@pytest.mark.parametrize("seconds", [0, -1, 604_801])
def test_a_link_lasts_at_most_a_week(place: S3Place, seconds: int) -> None:
    with pytest.raises(OptionInvalid, match="604800"):
        place.store.presign(f"{SCOPE}/{digest(SMALL)}", seconds, "head.glb", GLB)


@pytest.mark.parametrize("announced", [False, True])
def test_an_upload_survives_a_restart_of_the_server(server: MinioServer, stores: ExitStack, announced: bool) -> None:
    store = opened(stores, server)
    store.check()
    data = noise(24 * MIB)
    sent = 0

    def interrupted() -> Iterator[bytes]:
        nonlocal sent
        for piece in pieces(data):
            sent += len(piece)
            if sent - len(piece) < 13 * MIB <= sent:
                server.kill()
                threading.Timer(0.7, server.start).start()
            yield piece

    # Announced bytes are sent as they come, so that two parts are there when the server dies.
    info = store.put(SCOPE, interrupted(), GLB, expected_sha256=digest(data) if announced else None)
    assert store.open(info.key).read() == data
    assert raw_client(server)._list_multipart_uploads("tests", prefix=info.key).uploads == []
    assert store.sweep(time.time() + 60) == []


def test_an_upload_survives_the_end_of_the_server_in_the_middle_of_a_part(
    server: MinioServer, stores: ExitStack
) -> None:
    store = opened(stores, server)
    store.check()
    data = noise(96 * MIB)
    interrupted = threading.Event()

    def interrupt() -> None:
        parts = server.data / ".minio.sys" / "multipart"
        while not list(parts.rglob("part.4")):
            time.sleep(0.001)
        server.kill()
        interrupted.set()
        server.start()

    thread = threading.Thread(target=interrupt)
    thread.start()
    info = store.put(SCOPE, data, GLB)
    thread.join()
    assert interrupted.is_set()
    assert store.open(info.key).read() == data
    assert store.delete_scope(SCOPE)
    assert raw_client(server)._list_multipart_uploads("tests", prefix=info.key).uploads == []


def test_an_upload_whose_server_stays_away_fails_and_can_be_done_again(server: MinioServer, stores: ExitStack) -> None:
    store = opened(stores, server, retries=2)
    store.check()
    data = noise(24 * MIB)
    key = f"{SCOPE}/{digest(data)}"

    def interrupted() -> Iterator[bytes]:
        for number, piece in enumerate(pieces(data, MIB)):
            if number == 14:
                server.kill()
            yield piece

    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="Connection refused"):
        store.put(SCOPE, interrupted(), GLB, expected_sha256=digest(data))
    assert time.monotonic() - started < 10
    server.start()
    assert store.entries(SCOPE) == []
    with pytest.raises(ObjectMissing):
        store.open(key)
    assert store.put(SCOPE, pieces(data), GLB).key == key
    assert store.open(key).read() == data
    assert raw_client(server)._list_multipart_uploads("tests", prefix=key).uploads == []
    assert [e.unfinished for e in store.delete_scope(SCOPE)] == [False, True]
    assert store.sweep(time.time() + 60) == []


def test_a_download_survives_a_restart_of_the_server(server: MinioServer, stores: ExitStack) -> None:
    store = opened(stores, server)
    store.check()
    data = noise(48 * MIB)
    key = store.put(SCOPE, data, GLB).key
    with store.open(key) as stream:
        read = next(stream)
        server.kill()
        threading.Timer(0.7, server.start).start()
        assert read + b"".join(stream) == data


def test_a_download_whose_server_stays_away_is_named(server: MinioServer, stores: ExitStack) -> None:
    store = opened(stores, server, retries=1)
    store.check()
    key = store.put(SCOPE, noise(48 * MIB), GLB).key
    with pytest.raises(StoreUnavailable, match="Connection refused"), store.open(key) as stream:
        next(stream)
        server.kill()
        list(stream)


def test_a_full_disk_is_named_and_what_was_there_stays(minio_binary: Path, tmp_path: Path, stores: ExitStack) -> None:
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(tmp_path / "disk", "96m"))
        server = stack.enter_context(running(MinioServer(minio_binary, tmp_path, data=disk / "data")))
        store = opened(stores, server)
        store.check()
        kept = store.put(SCOPE, SMALL, GLB)
        large = noise(160 * MIB)
        key = f"heads/large/{digest(large)}"
        with pytest.raises(StoreFull, match="XMinioStorageFull"):
            store.put("heads/large", pieces(large, MIB), GLB, expected_sha256=digest(large))
        assert store.entries("heads/large") == []
        assert raw_client(server)._list_multipart_uploads("tests", prefix=key).uploads == []
        assert store.delete_scope("heads/large") == []
        assert store.open(kept.key).read() == SMALL


def test_a_line_slower_than_the_time_to_connect_carries_large_bodies(
    place: S3Place, minio: MinioServer, stores: ExitStack
) -> None:
    with slow_relay(minio.port, 3 * MIB) as port:
        slow = opened(
            stores,
            minio,
            url=f"s3://127.0.0.1:{port}/{place.settings.bucket}",
            connect_timeout_s=0.3,
            transfer_timeout_s=20,
            retries=0,
        )
        started = time.monotonic()
        key = slow.put(SCOPE, noise(4 * MIB), GLB).key
        assert time.monotonic() - started > 1
    assert place.store.open(key).read() == noise(4 * MIB)


def test_older_versions_are_deleted_too(place: S3Place) -> None:
    client, bucket = place.client, place.settings.bucket
    client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    for _ in range(2):
        one, two = (place.store.put(SCOPE, data, GLB) for data in (SMALL, LARGE))
    client.remove_object(bucket, two.key)  # as another program would: a marker hides the versions
    other = place.store.put("heads/other", SMALL, GLB)
    place.store.delete(one.key)
    with pytest.raises(ObjectMissing):
        place.store.stat(one.key)
    assert {e.key for e in place.store.delete_scope(SCOPE)} == {two.key}
    left = client.list_objects(bucket, recursive=True, include_version=True)
    assert [o.object_name for o in left if not o.object_name.startswith(".uploads/")] == [other.key]


def test_a_disk_that_gives_wrong_bytes_delivers_none_as_right(server: MinioServer, stores: ExitStack) -> None:
    store = opened(stores, server, retries=1)
    store.check()
    key = store.put(SCOPE, LARGE, GLB).key
    parts = sorted((server.data / "tests" / key).rglob("part.*"))
    assert parts
    with parts[-1].open("r+b") as file:
        file.seek(MIB)
        file.write(b"damage")
    received = b""
    with pytest.raises((ObjectCorrupt, StoreUnavailable)), store.open(key) as stream:
        for piece in stream:
            received += piece
    assert LARGE.startswith(received)
    store.put(SCOPE, LARGE, GLB)
    assert store.open(key).read() == LARGE


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("certificates")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", "private.key", "-out", "public.crt", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


def test_over_tls_only_a_server_with_a_trusted_certificate_is_spoken_to(
    minio_binary: Path, tmp_path: Path, certificates: Path, stores: ExitStack
) -> None:
    with running(MinioServer(minio_binary, tmp_path, certificates=certificates)) as server:
        trusting = opened(
            stores, server, ca_file=certificates / "public.crt", public_endpoint=f"https://localhost:{server.port}"
        )
        trusting.check()
        key = trusting.put(SCOPE, pieces(LARGE), GLB).key
        assert trusting.open(key).read() == LARGE
        link = trusting.presign(key, 60, "head.glb", GLB)
        assert link is not None
        context = ssl.create_default_context(cafile=str(certificates / "public.crt"))
        with urllib.request.urlopen(link, timeout=10, context=context) as answer:
            assert answer.read() == LARGE
        wary = opened(stores, server)
        started = time.monotonic()
        for ask in (wary.check, lambda: wary.put(SCOPE, SMALL, GLB)):
            with pytest.raises(StoreRefused, match="certificate verify failed"):
                ask()
        assert time.monotonic() - started < 3
        plain = opened(stores, server, tls=False)
        with pytest.raises(StoreError):
            plain.check()


def test_a_missing_certificate_file_is_named(minio: MinioServer, tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="expected certificates"):
        open_store(minio.settings("tests", ca_file=tmp_path / "absent.pem"))
