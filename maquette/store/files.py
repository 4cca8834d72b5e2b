"""The embedded object store: files in a folder.

    ROOT/heads/head_x7/<sha256>.model%2Fgltf-binary     an object; its media type is part of the name, so that one
                                                        rename shows all of it or nothing
    ROOT/.uploads/heads~head_x7~<random>                an upload under way, or what a killed process left of one

Bytes are hashed while they are written, to a file without a name in its scope. Only when they are on the disk is it
renamed, and only when the folders are on the disk too does ``put`` return.
"""

import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from urllib.parse import quote, unquote

from maquette.errors import ObjectCorrupt, ObjectMissing, StoreFull, StoreRefused, StoreUnavailable
from maquette.store.keys import check_digest, check_kind, check_media_type, check_range, check_scope, split_key
from maquette.store.store import PIECE, Chunks, Entry, ObjectInfo, ObjectStream

_UPLOADS = ".uploads"
_MOST_REMEMBERED = 10_000
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


class FileStore:
    """Objects as files below a folder, which is for this store alone.

    Several processes of one machine may use one folder. Files can be read by their owner only.

    Attributes:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        """Use a folder, making it where it is not there.

        Raises:
            StoreRefused: It is no folder, or may not be written.
            StoreUnavailable: It cannot be made.
        """
        self.root = root.absolute()
        self._uploads = self.root / _UPLOADS
        self._on_disk: dict[Path, int] = {}
        with self._named("use"):
            absent = [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in absent:
                _sync_folder(folder.parent)
            _make_folder(self._uploads)

    def put(self, scope: str, chunks: Chunks, media_type: str, *, expected_sha256: str | None = None) -> ObjectInfo:
        """See ``ObjectStore.put``."""
        check_scope(scope)
        check_media_type(media_type)
        if expected_sha256 is not None:
            check_digest(expected_sha256)
        upload = self._uploads / f"{scope.replace('/', '~')}~{secrets.token_hex(8)}"
        try:
            sha256, status = self._write(upload, chunks)
            if expected_sha256 not in (None, sha256):
                raise ObjectCorrupt(f"expected bytes with the sha256 {expected_sha256}, got {sha256}")
            with self._named("write to"):
                path = self._publish(upload, scope, sha256, media_type)
            return _info(f"{scope}/{sha256}", path, status)
        except BaseException:
            with suppress(OSError):
                upload.unlink(missing_ok=True)
            raise

    def open(self, key: str, start: int = 0, stop: int | None = None) -> ObjectStream:
        """See ``ObjectStore.open``."""
        with self._named("read"):
            path = self._find(key)
            try:
                file = FileIO(path, "rb")
            except FileNotFoundError:
                raise _missing(key) from None
        try:
            info = _info(key, path, os.fstat(file.fileno()))
            start, stop = check_range(start, stop, info.size)
        except BaseException:
            file.close()
            raise
        return ObjectStream(info, start, stop, _FileSource(file, start, stop))

    def stat(self, key: str) -> ObjectInfo:
        """See ``ObjectStore.stat``."""
        with self._named("read"):
            path = self._find(key)
            try:
                return _info(key, path, path.stat())
            except FileNotFoundError:
                raise _missing(key) from None

    def entries(self, scope: str) -> list[Entry]:
        """See ``ObjectStore.entries``."""
        with self._named("read"):
            # Two puts at once that differ in the media type leave the bytes there twice, under one key.
            found = {name.partition(".")[0]: status for name, status in _files(self.root / check_scope(scope))}
        return [Entry(f"{scope}/{sha256}", s.st_size, s.st_mtime) for sha256, s in sorted(found.items())]

    def scopes(self, kind: str) -> Iterator[str]:
        """See ``ObjectStore.scopes``."""
        folder = self.root / check_kind(kind)
        with self._named("read"):
            found = [f"{kind}/{name}" for name in _names(folder) if _names(folder / name)]
        yield from found

    def delete(self, key: str) -> None:
        """See ``ObjectStore.delete``."""
        scope, sha256 = split_key(key)
        folder = self.root / scope
        with self._named("delete from"):
            for name in _names(folder):
                if name.startswith(f"{sha256}."):
                    (folder / name).unlink(missing_ok=True)
            _sync_folder(folder)

    def delete_scope(self, scope: str) -> list[Entry]:
        """See ``ObjectStore.delete_scope``."""
        folder = self.root / check_scope(scope)
        removed = self.entries(scope)
        with self._named("delete from"):
            prefix = f"{scope.replace('/', '~')}~"
            removed += self._remove_uploads(lambda name, _modified: name.startswith(prefix))
            for name in _names(folder):
                (folder / name).unlink(missing_ok=True)
            try:
                folder.rmdir()
            except FileNotFoundError:
                return removed
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
                # An upload that ended meanwhile; its put has returned, so that it is not of what was to be deleted.
                _sync_folder(folder)
            _sync_folder(folder.parent)
        return removed

    def sweep(self, before: float) -> list[Entry]:
        """See ``ObjectStore.sweep``."""
        with self._named("delete from"):
            return self._remove_uploads(lambda _name, modified: modified < before)

    def presign(self, key: str, seconds: int, file_name: str, media_type: str) -> str | None:
        """None: files of a folder are served by the gateway."""
        split_key(key)
        return None

    def check(self) -> None:
        """Write a byte and remove it.

        Raises:
            StoreUnavailable: The folder is gone or the disk fails.
            StoreRefused: It may not be written.
            StoreFull: There is no room for the byte.
        """
        probe = self._uploads / f"check~{secrets.token_hex(8)}"
        with self._named("write to"):
            try:
                probe.write_bytes(b"0")
            finally:
                probe.unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing is held open."""

    def _write(self, upload: Path, chunks: Chunks) -> tuple[str, os.stat_result]:
        """Write an upload and have it on the disk; returns its sha256 and status."""
        digest = hashlib.sha256()
        with self._named("write to"):
            descriptor = os.open(upload, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Errors of the caller's iterator are the caller's; only those of the file are named here.
            for chunk in (chunks,) if isinstance(chunks, bytes) else chunks:
                digest.update(chunk)
                with self._named("write to"):
                    _write_all(descriptor, chunk)
            with self._named("write to"):
                os.fsync(descriptor)
                return digest.hexdigest(), os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def _publish(self, upload: Path, scope: str, sha256: str, media_type: str) -> Path:
        """Move an upload to its name, durably."""
        folder = self.root / scope
        name = f"{sha256}.{quote(media_type, safe='')}"
        while True:
            for made in (folder.parent, folder):
                if _make_folder(made):
                    self._on_disk.pop(made, None)
            # Names that are read now stay: the bytes are the same, whatever they are said to be this time.
            path = folder / next((n for n in _names(folder) if n.startswith(f"{sha256}.")), name)
            try:
                upload.replace(path)
            except FileNotFoundError:
                if upload.exists():
                    continue  # the scope's folder was deleted between the two lines
                raise ObjectMissing(f"the scope {scope} was deleted while {sha256} was written to it") from None
            break
        _sync_folder(folder)
        self._have_on_disk(folder)
        self._have_on_disk(folder.parent)
        return path

    def _have_on_disk(self, folder: Path) -> None:
        """Have a folder's own name on the disk, once: one that was there may be of a process that died before that."""
        with suppress(FileNotFoundError):
            inode = folder.stat().st_ino
            if self._on_disk.get(folder) != inode:
                _sync_folder(folder.parent)
                if len(self._on_disk) >= _MOST_REMEMBERED:
                    self._on_disk.clear()
                self._on_disk[folder] = inode

    def _find(self, key: str) -> Path:
        scope, sha256 = split_key(key)
        folder = self.root / scope
        for name in _names(folder):
            if name.startswith(f"{sha256}."):
                return folder / name
        raise _missing(key)

    def _remove_uploads(self, choose: Callable[[str, float], bool]) -> list[Entry]:
        removed = []
        for name, status in _files(self._uploads):
            if choose(name, status.st_mtime):
                (self._uploads / name).unlink(missing_ok=True)
                removed.append(Entry(f"{_UPLOADS}/{name}", status.st_size, status.st_mtime, unfinished=True))
        if removed:
            _sync_folder(self._uploads)
        return removed

    @contextmanager
    def _named(self, doing: str) -> Iterator[None]:
        """Turn errors of the operating system into those of the store."""
        try:
            yield
        except OSError as error:
            kind = StoreFull if error.errno in _FULL else StoreRefused if error.errno in _REFUSED else StoreUnavailable
            reason = error.strerror or str(error)
            raise kind(f"cannot {doing} the object store in {self.root}: {reason}", root=str(self.root)) from error


class _FileSource:
    """A range of a file that is open."""

    def __init__(self, file: FileIO, start: int, stop: int) -> None:
        self._file = file
        self._start = start
        self._stop = stop

    def __iter__(self) -> Iterator[bytes]:
        try:
            self._file.seek(self._start)
            left = self._stop - self._start
            while left and (piece := self._file.read(min(left, PIECE))):
                left -= len(piece)
                yield piece
        except OSError as error:
            raise StoreUnavailable(f"cannot read {self._file.name!r}: {error.strerror or error}") from error

    def close(self) -> None:
        self._file.close()


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _make_folder(folder: Path) -> bool:
    """Make a folder if it is not there; pathlib's way trips over one that another process deletes at that moment."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Have a folder's names on the disk; one that has been deleted meanwhile has none."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _names(folder: Path) -> list[str]:
    """Sorted names in a folder; none where there is no folder."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Name and status of each file of a folder that does not vanish meanwhile."""
    for name in _names(folder):
        with suppress(FileNotFoundError):
            yield name, (folder / name).lstat()


def _info(key: str, path: Path, status: os.stat_result) -> ObjectInfo:
    sha256, _, media_type = path.name.partition(".")
    return ObjectInfo(key, status.st_size, sha256, unquote(media_type), status.st_mtime)


def _missing(key: str) -> ObjectMissing:
    return ObjectMissing(f"the object store holds no {key}", key=key)
