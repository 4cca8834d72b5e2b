"""What only the store in a folder does."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from maquette.errors import ObjectCorrupt, ObjectMissing, StoreFull, StoreRefused, StoreUnavailable
from maquette.store import FileStore
from tests.store.conftest import small_disk
from tests.store.test_store import GLB, LARGE, MIB, SCOPE, SMALL, noise, pieces


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_an_object_is_a_file_that_only_its_owner_reads(root: Path) -> None:
    info = FileStore(root).put(SCOPE, SMALL, GLB)
    path = root / f"{info.key}.model%2Fgltf-binary"
    assert path.read_bytes() == SMALL
    assert [stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent, path.parent.parent)] == [0o600, 0o700, 0o700]
    assert list((root / ".uploads").iterdir()) == []


def test_everything_is_on_the_disk_before_put_returns(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        genuine(descriptor)

    def files_and_folders() -> list[Path]:
        done = [p.parent if p.parent.name == ".uploads" else p for p in synced]
        synced.clear()
        return done

    genuine = os.fsync
    monkeypatch.setattr(os, "fsync", fsync)
    store = FileStore(root)
    assert files_and_folders() == [root.parent]
    store.put(SCOPE, pieces(LARGE), GLB)
    file, scope, kind = root / ".uploads", root / SCOPE, root / "heads"
    assert files_and_folders() == [file, scope, kind, root]
    store.put(SCOPE, SMALL, GLB)
    assert files_and_folders() == [file, scope]
    store.put("heads/other", SMALL, GLB)
    assert files_and_folders() == [file, root / "heads/other", kind]
    store.delete_scope(SCOPE)
    assert files_and_folders() == [kind]
    store.put(SCOPE, SMALL, GLB)
    assert files_and_folders() == [file, scope, kind]


def test_readers_keep_what_they_read_when_it_is_deleted(root: Path) -> None:
    store = FileStore(root)
    key = store.put(SCOPE, LARGE, GLB).key
    with store.open(key) as stream:
        first = next(stream)
        store.delete_scope(SCOPE)
        assert first + b"".join(stream) == LARGE
    with pytest.raises(ObjectMissing):
        store.open(key)


def test_an_upload_whose_scope_is_deleted_meanwhile_says_so(root: Path) -> None:
    store = FileStore(root)

    def chunks() -> Iterator[bytes]:
        yield b"1"
        assert [e.unfinished for e in store.delete_scope(SCOPE)] == [True]
        yield b"2"

    with pytest.raises(ObjectMissing, match="was deleted while"):
        store.put(SCOPE, chunks(), GLB)
    assert store.entries(SCOPE) == []


def test_a_file_in_the_place_of_the_folder_is_refused(root: Path) -> None:
    root.write_text("a file")
    with pytest.raises(StoreRefused, match=str(root)):
        FileStore(root)


def test_a_folder_that_is_gone_is_named(root: Path) -> None:
    store = FileStore(root)
    (root / ".uploads").rmdir()
    root.rmdir()
    with pytest.raises(StoreUnavailable, match=str(root)):
        store.check()
    with pytest.raises(StoreUnavailable, match=str(root)):
        store.put(SCOPE, SMALL, GLB)


def test_there_are_no_links_into_a_folder(root: Path) -> None:
    store = FileStore(root)
    assert store.presign(store.put(SCOPE, SMALL, GLB).key, 60, "head.glb", GLB) is None


def test_a_full_disk_is_named_and_what_was_there_stays(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        store = FileStore(disk / "store")
        kept = store.put(SCOPE, noise(3 * MIB), GLB)
        for large in (noise(12 * MIB), pieces(noise(12 * MIB))):
            with pytest.raises(StoreFull, match="No space left"):
                store.put("heads/large", large, GLB)
            assert store.entries("heads/large") == []
            assert store.delete_scope("heads/large") == []
        assert store.open(kept.key).read() == noise(3 * MIB)
        again = store.put("heads/large", noise(3 * MIB, 1), GLB)
        assert store.open(again.key).read() == noise(3 * MIB, 1)
        (disk / "filler").write_bytes(b"")
        with pytest.raises(OSError, match="No space left"):
            (disk / "filler").write_bytes(bytes(8 * MIB))
        with pytest.raises(StoreFull):
            store.check()


def test_a_disk_that_is_read_only_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        store = FileStore(disk / "store")
        key = store.put(SCOPE, SMALL, GLB).key
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(StoreRefused, match="Read-only"):
            store.put(SCOPE, b"more", GLB)
        with pytest.raises(StoreRefused, match="Read-only"):
            store.check()
        assert store.open(key).read() == SMALL


def test_a_file_cut_while_it_is_read_is_not_taken_for_whole(root: Path) -> None:
    store = FileStore(root)
    key = store.put(SCOPE, LARGE, GLB).key
    (path,) = root.glob(f"{key}.*")
    with pytest.raises(ObjectCorrupt, match="early"), store.open(key, 0, len(LARGE) - 1) as stream:
        next(stream)
        os.truncate(path, 2 * MIB)
        list(stream)
