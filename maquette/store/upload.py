"""Getting to know the digest of a stream, which names the object, before its bytes are sent."""

import hashlib
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from maquette.errors import ObjectCorrupt, StoreFull
from maquette.store.store import Chunks


class Reader(Protocol):
    """The part of a binary file that an upload needs."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end."""
        ...


@dataclass(frozen=True)
class Upload:
    """Bytes to be sent.

    Attributes:
        sha256: Their hex digest.
        size: Their number; None while it is not known.
        reader: Where they come from, once.
    """

    sha256: str
    size: int | None
    reader: Reader


@contextmanager
def receive(chunks: Chunks, most: int, expected_sha256: str | None) -> Iterator[Upload]:
    """Take in as much of a stream as must be known before it is sent.

    A short stream is held in memory. A long one whose digest is given is passed on as it comes, and its reader raises
    at the end if the digest is another; a long one without goes through a temporary file that has no name, so that
    nothing of it remains when the process is killed.

    Args:
        chunks: The bytes.
        most: How many of them may be held in memory.
        expected_sha256: What they have to be.

    Raises:
        ObjectCorrupt: They are not what ``expected_sha256`` says.
        StoreFull: The temporary folder has no room for them.
    """
    if isinstance(chunks, bytes):
        sha256 = _compare(hashlib.sha256(chunks).hexdigest(), expected_sha256)
        yield Upload(sha256, len(chunks), io.BytesIO(chunks))
        return
    pieces = iter(chunks)
    digest = hashlib.sha256()
    head = bytearray()
    for piece in pieces:
        digest.update(piece)
        head += piece
        if len(head) > most:
            break
    else:
        yield Upload(_compare(digest.hexdigest(), expected_sha256), len(head), io.BytesIO(head))
        return
    if expected_sha256 is not None:
        yield Upload(expected_sha256, None, _ComparingReader(head, pieces, digest, expected_sha256))
        return
    with tempfile.TemporaryFile(prefix="maquette-", buffering=0) as file:
        _append(file, head)
        size = len(head)
        del head
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
            _append(file, piece)
        file.seek(0)
        yield Upload(digest.hexdigest(), size, file)


class _ComparingReader:
    """Passes a stream on, and raises in place of its end when its digest is wrong."""

    def __init__(self, head: bytearray, pieces: Iterator[bytes], digest: "hashlib._Hash", expected: str) -> None:
        self._waiting = head
        self._pieces = pieces
        self._digest = digest
        self._expected = expected

    def read(self, size: int, /) -> bytes:
        while len(self._waiting) < size:
            piece = next(self._pieces, None)
            if piece is None:
                _compare(self._digest.hexdigest(), self._expected)
                break
            self._digest.update(piece)
            self._waiting += piece
        given = bytes(self._waiting[:size])
        del self._waiting[:size]
        return given


def _append(file: BinaryIO, piece: bytes | bytearray) -> None:
    view = memoryview(piece)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        reason = f"{error.strerror or error}"
        raise StoreFull(f"cannot hold an upload in the folder {tempfile.gettempdir()}: {reason}") from error


def _compare(actual: str, expected: str | None) -> str:
    if expected not in (None, actual):
        raise ObjectCorrupt(f"expected bytes with the sha256 {expected}, got {actual}")
    return actual
