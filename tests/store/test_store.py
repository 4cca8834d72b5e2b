"""What both implementations of the object store do; each test runs over each of them."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from maquette.errors import ObjectCorrupt, ObjectMissing, OptionInvalid, PhotoTooLarge
from maquette.store import ObjectStore, join_key, open_store
from tests.store.conftest import Place

SCOPE = "heads/head_x7"
GLB = "model/gltf-binary"
MIB = 1 << 20
NAMES_THAT_ARE_NO_SCOPE = [
    "", "heads", "heads/", "/heads/a", "heads//a", "heads/..", "../heads", "heads/.", "heads/a/b", "heads/.uploads",
    ".uploads/a", "heads/a\0", "heads/a\n", "heads\\a", "heads/%2e%2e", "heads/ä", f"heads/{'a' * 101}", "C:/a",
]  # fmt: skip


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def pieces(data: bytes, size: int = 300_001) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


SMALL = noise(200_000)
LARGE = noise(12 * MIB + 17)  # three parts of an upload to S3


@pytest.mark.parametrize("data", [b"", b"x", SMALL, LARGE], ids=["empty", "byte", "small", "large"])
@pytest.mark.parametrize("form", [lambda d: d, pieces], ids=["at once", "in pieces"])
@pytest.mark.parametrize("announced", [False, True])
def test_what_is_put_is_read_by_whoever_opens_the_store(
    place: Place, data: bytes, form: Callable[[bytes], bytes | Iterator[bytes]], announced: bool
) -> None:
    info = place.store.put(SCOPE, form(data), GLB, expected_sha256=digest(data) if announced else None)
    assert (info.key, info.sha256) == (f"{SCOPE}/{digest(data)}", digest(data))
    assert (info.size, info.media_type) == (len(data), GLB)
    assert abs(info.modified - time.time()) < 60
    assert place.unfinished(info.key) == 0
    other = open_store(place.settings)
    with other.open(info.key) as stream:
        assert stream.info == other.stat(info.key)
        assert stream.read() == data
    assert (stream.info.size, stream.info.media_type, stream.info.etag) == (len(data), GLB, info.etag)
    other.close()


def test_entity_tags_are_strong_and_the_same_in_every_store(store: ObjectStore) -> None:
    assert store.put(SCOPE, b"abc", GLB).etag == f'"{digest(b"abc")}"'


def test_putting_the_same_again_gives_the_same_object(store: ObjectStore) -> None:
    first = store.put(SCOPE, SMALL, "application/octet-stream")
    second = store.put(SCOPE, pieces(SMALL), GLB)
    assert second.key == first.key
    assert [e.key for e in store.entries(SCOPE)] == [first.key]
    assert store.stat(first.key).media_type in (GLB, "application/octet-stream")
    assert store.open(first.key).read() == SMALL


def test_the_same_bytes_of_two_scopes_are_two_objects(store: ObjectStore) -> None:
    one, two = (store.put(scope, SMALL, GLB) for scope in ("heads/one", "heads/two"))
    store.delete(one.key)
    with pytest.raises(ObjectMissing, match=digest(SMALL)):
        store.stat(one.key)
    assert store.open(two.key).read() == SMALL


@pytest.mark.parametrize(
    ("start", "stop"), [(0, None), (0, 1), (7, 11), (199_990, None), (200_000, None), (0, 0), (5, 5), (0, 200_000)]
)
def test_a_range_gives_its_bytes(store: ObjectStore, start: int, stop: int | None) -> None:
    key = store.put(SCOPE, SMALL, GLB).key
    stream = store.open(key, start, stop)
    assert (stream.start, stream.stop, stream.info.size) == (start, 200_000 if stop is None else stop, 200_000)
    assert stream.read() == SMALL[start:stop]


@pytest.mark.parametrize(
    ("start", "stop"), [(-1, None), (-5, -1), (3, 2), (0, 200_001), (200_001, None), (200_001, 9**9)]
)
def test_a_range_that_reaches_out_of_the_object_is_refused(store: ObjectStore, start: int, stop: int | None) -> None:
    key = store.put(SCOPE, SMALL, GLB).key
    with pytest.raises(OptionInvalid, match="expected a range within 0 and 200000 bytes"):
        store.open(key, start, stop)


def test_an_object_that_is_not_there_is_named(store: ObjectStore) -> None:
    key = join_key(SCOPE, digest(b"never put"))
    for ask in (store.open, store.stat, lambda k: store.open(k, 3, 5), lambda k: store.open(k, 5, 5)):
        with pytest.raises(ObjectMissing, match=key):
            ask(key)
    store.delete(key)
    assert store.entries(SCOPE) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d[:-1] + bytes([d[-1] ^ 1]),
        lambda d: bytes([d[0] ^ 128]) + d[1:],
        lambda d: d[:-1],
        lambda d: d + b"0",
    ],
    ids=["last bit", "first bit", "shorter", "longer"],
)
@pytest.mark.parametrize("data", [b"x", SMALL, LARGE], ids=["byte", "small", "large"])
def test_a_damaged_object_is_never_given_whole(place: Place, damage: Callable[[bytes], bytes], data: bytes) -> None:
    key = place.store.put(SCOPE, data, GLB).key
    place.damage(key, damage(data))
    received = 0
    with pytest.raises(ObjectCorrupt, match=key), place.store.open(key) as stream:
        for piece in stream:
            received += len(piece)
    assert received <= max(0, len(data) - 1)
    with pytest.raises(ObjectCorrupt, match=key):
        place.store.open(key).read()


def test_putting_a_damaged_object_again_mends_it(place: Place) -> None:
    key = place.store.put(SCOPE, SMALL, GLB).key
    place.damage(key, b"something else")
    place.store.put(SCOPE, SMALL, GLB)
    assert place.store.open(key).read() == SMALL


@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("form", [lambda d: d, pieces], ids=["at once", "in pieces"])
def test_bytes_that_are_not_those_announced_are_not_stored(
    place: Place, data: bytes, form: Callable[[bytes], bytes | Iterator[bytes]]
) -> None:
    announced = digest(data + b"!")
    with pytest.raises(ObjectCorrupt, match=f"{announced}.*{digest(data)}"):
        place.store.put(SCOPE, form(data), GLB, expected_sha256=announced)
    assert place.store.entries(SCOPE) == []
    assert place.unfinished(join_key(SCOPE, announced)) == 0
    assert place.store.delete_scope(SCOPE) == []


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("announced", [False, True])
@pytest.mark.parametrize("error", [PhotoTooLarge("too large"), ConnectionResetError("the sender is gone")])
def test_an_upload_that_its_sender_breaks_off_leaves_nothing(
    place: Place, data: bytes, announced: bool, error: Exception
) -> None:
    def broken() -> Iterator[bytes]:
        yield from pieces(data)
        raise error

    expected = digest(data + b"the rest")
    with pytest.raises(type(error)) as caught:
        place.store.put(SCOPE, broken(), GLB, expected_sha256=expected if announced else None)
    assert caught.value is error
    assert place.store.entries(SCOPE) == []
    assert place.unfinished(join_key(SCOPE, expected)) == 0
    assert place.store.delete_scope(SCOPE) == []


@pytest.mark.parametrize("scope", NAMES_THAT_ARE_NO_SCOPE)
def test_names_that_are_no_scope_or_key_are_refused_everywhere(store: ObjectStore, scope: str) -> None:
    name = scope + "/" + digest(b"")
    of_scopes: list[Callable[[], object]] = [
        lambda: store.put(scope, b"", GLB),
        lambda: store.entries(scope),
        lambda: store.delete_scope(scope),
    ]
    of_keys: list[Callable[[], object]] = [
        lambda: store.open(name),
        lambda: store.stat(name),
        lambda: store.delete(name),
        lambda: store.presign(name, 60, "a.glb", GLB),
    ]
    for asks, expected in ((of_scopes, "expected a scope"), (of_keys, "expected a key")):
        for ask in asks:
            with pytest.raises(OptionInvalid, match=expected):
                ask()


@pytest.mark.parametrize("sha256", ["", "..", "A" * 64, "a" * 63, "a" * 65, "a" * 63 + "\n", "a" * 62 + "/b"])
def test_a_key_ends_in_a_digest(store: ObjectStore, sha256: str) -> None:
    with pytest.raises(OptionInvalid, match="expected a key"):
        store.open(f"{SCOPE}/{sha256}")
    if sha256:
        with pytest.raises(OptionInvalid, match="expected a sha256"):
            store.put(SCOPE, b"", GLB, expected_sha256=sha256)


@pytest.mark.parametrize("kind", ["", "..", ".uploads", "heads/a", "/"])
def test_scopes_are_listed_of_a_kind(store: ObjectStore, kind: str) -> None:
    with pytest.raises(OptionInvalid, match="expected the kind of a scope"):
        list(store.scopes(kind))


@pytest.mark.parametrize("media_type", ["", "glb", "a/b\r\nX: y", "../x", "a/b/c", f"a/{'b' * 101}", "image/*\0"])
def test_a_media_type_that_is_none_is_refused(store: ObjectStore, media_type: str) -> None:
    with pytest.raises(OptionInvalid, match="expected a media type"):
        store.put(SCOPE, b"", media_type)


@pytest.mark.parametrize(
    "media_type",
    ["model/gltf-binary", "application/vnd.ms-package.3dmanufacturing-3dmodel+xml", "text/plain; charset=utf-8"],
)
def test_a_media_type_comes_back_as_it_was(store: ObjectStore, media_type: str) -> None:
    assert store.stat(store.put(SCOPE, b"abc", media_type).key).media_type == media_type


def test_deleting_a_scope_takes_all_of_it_and_nothing_else(store: ObjectStore) -> None:
    mine = [store.put("heads/a", noise(100 + i), GLB) for i in range(5)]
    mine.append(store.put("heads/a", LARGE, GLB))
    others = [store.put(s, b"other", GLB) for s in ("heads/ab", "heads/A", "heads/a-", "photos/a")]
    removed = store.delete_scope("heads/a")
    assert sorted((e.key, e.size, e.unfinished) for e in removed) == sorted((i.key, i.size, False) for i in mine)
    assert store.entries("heads/a") == []
    assert store.delete_scope("heads/a") == []
    for info in mine:
        with pytest.raises(ObjectMissing):
            store.open(info.key)
    assert [store.open(i.key).read() for i in others] == [b"other"] * 4
    store.put("heads/a", b"again", GLB)
    assert len(store.entries("heads/a")) == 1


def test_scopes_of_a_kind_are_those_that_hold_objects(store: ObjectStore) -> None:
    for scope in ("heads/b", "heads/a", "photos/c"):
        store.put(scope, b"1", GLB)
        store.put(scope, b"2", GLB)
    store.put("heads/gone", b"1", GLB)
    store.delete_scope("heads/gone")
    assert sorted(store.scopes("heads")) == ["heads/a", "heads/b"]
    assert list(store.scopes("nothing")) == []


def test_entries_tell_key_size_and_age(store: ObjectStore) -> None:
    before = time.time() - 5
    infos = [store.put(SCOPE, noise(n, n), GLB) for n in (10, 20)]
    entries = store.entries(SCOPE)
    assert [(e.key, e.size) for e in entries] == sorted((i.key, i.size) for i in infos)
    assert all(before < e.modified < time.time() + 5 for e in entries)


def test_many_may_put_and_read_the_same_at_once(store: ObjectStore) -> None:
    data = noise(2 * MIB)
    key = store.put(SCOPE, data, GLB).key

    def work(number: int) -> bool:
        if number % 2:
            return store.put(SCOPE, pieces(data), GLB if number % 4 == 1 else "image/png").key == key
        return store.open(key).read() == data

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(40)))
    assert len(store.entries(SCOPE)) == 1


def test_puts_and_deletions_of_a_scope_at_once_end_in_all_or_nothing(store: ObjectStore) -> None:
    def work(number: int) -> None:
        if number % 5 == 4:
            store.delete_scope(SCOPE)
            return
        data = noise(1000, number)
        try:
            info = store.put(SCOPE, data, GLB)
            assert store.open(info.key).read() == data
        except ObjectMissing as error:
            assert digest(data) in str(error)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(60)))
    for entry in store.entries(SCOPE):
        assert digest(store.open(entry.key).read()) == entry.key.rpartition("/")[2]
    store.delete_scope(SCOPE)
    assert store.entries(SCOPE) == []


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_a_stream_may_be_left_unread(store: ObjectStore, size: bytes) -> None:
    key = store.put(SCOPE, size, GLB).key
    for _ in range(40):
        store.open(key)
        with store.open(key) as stream:
            next(stream)
        assert list(stream) == []
    assert store.open(key).read() == size


UPLOADER = """
import json, sys, time
from maquette.store import StoreSettings, open_store

settings, scope, expected, size = json.load(sys.stdin)

def chunks():
    for _ in range(size >> 20):
        yield bytes(1 << 20)
    print("under way", flush=True)
    time.sleep(600)

open_store(StoreSettings.model_validate(settings)).put(scope, chunks(), "image/png", expected_sha256=expected)
"""


def abandon(place: Place, scope: str, size: int) -> str:
    """Kill a process in the middle of an upload; returns the key it was for."""
    secret = place.settings.secret_key
    settings = place.settings.model_dump(mode="json") | {"secret_key": secret and secret.get_secret_value()}
    expected = digest(bytes(size) + b"the end")
    with subprocess.Popen(
        [sys.executable, "-c", UPLOADER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        json.dump((settings, scope, expected, size), process.stdin)
        process.stdin.close()
        assert process.stdout.readline() == "under way\n"
        os.kill(process.pid, signal.SIGKILL)
    return join_key(scope, expected)


def test_what_a_killed_process_left_goes_with_its_scope(place: Place) -> None:
    key = abandon(place, SCOPE, 12 * MIB)
    kept = abandon(place, "heads/head_x78", 12 * MIB)
    assert place.unfinished(key) == 1
    assert place.store.entries(SCOPE) == []
    with pytest.raises(ObjectMissing):
        place.store.open(key)
    (removed,) = place.store.delete_scope(SCOPE)
    assert removed.unfinished
    assert (place.unfinished(key), place.unfinished(kept)) == (0, 1)
    assert place.store.delete_scope(SCOPE) == []


def test_what_killed_processes_left_is_swept_once_it_is_old(place: Place) -> None:
    key = abandon(place, SCOPE, 12 * MIB)
    done = place.store.put(SCOPE, LARGE, GLB)
    assert place.store.sweep(time.time() - 3600) == []
    assert place.unfinished(key) == 1
    (removed,) = place.store.sweep(time.time() + 5)
    assert removed.unfinished
    assert place.unfinished(key) == 0
    assert place.store.sweep(time.time() + 5) == []
    assert place.store.open(done.key).read() == LARGE


def test_a_killed_upload_does_not_keep_the_next_one_from_ending(place: Place) -> None:
    key = abandon(place, SCOPE, 12 * MIB)
    info = place.store.put(SCOPE, pieces(bytes(12 * MIB) + b"the end"), GLB)
    assert info.key == key
    assert place.store.open(key).read() == bytes(12 * MIB) + b"the end"


def test_a_usable_store_passes_its_check(store: ObjectStore) -> None:
    store.check()
    assert store.entries(SCOPE) == []
