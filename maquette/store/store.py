"""The Protocol of object stores, and what their methods give."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from maquette.errors import ObjectCorrupt

Chunks = bytes | Iterable[bytes]
"""An object's bytes, at once or in pieces of any length."""

PIECE = 1 << 20
"""Bytes read at a time."""


@dataclass(frozen=True)
class ObjectInfo:
    """An object.

    Attributes:
        key: ``<kind>/<id>/<sha256>``.
        size: Bytes.
        sha256: Hex digest of the bytes.
        media_type: With which these bytes were put in this scope; of several, one of them.
        modified: When it was last put, seconds since the epoch, by the store's clock.
    """

    key: str
    size: int
    sha256: str
    media_type: str
    modified: float

    @property
    def etag(self) -> str:
        """Strong entity tag (RFC 9110, 8.8.3), quotes included; the same bytes have the same one in every store."""
        return f'"{self.sha256}"'


@dataclass(frozen=True)
class Entry:
    """An object in a listing, or what is left of an upload that never ended.

    Attributes:
        key: The object's key; of an unfinished upload a name that is no key.
        size: Bytes; of an unfinished upload those known to have arrived.
        modified: When it was last put, or the upload began or went on, seconds since the epoch, by the store's clock.
        unfinished: Whether it is what an upload left behind when its process died.
    """

    key: str
    size: int
    modified: float
    unfinished: bool = False


class ByteSource(Protocol):
    """Where a stream takes its pieces from."""

    def __iter__(self) -> Iterator[bytes]:
        """The pieces of the range, in order."""
        ...

    def close(self) -> None:
        """Let go of the file or connection; again does nothing."""
        ...


class ObjectStream(Iterator[bytes]):
    """The bytes of a range of an object.

    The last piece is held back until everything before and in it is known to be right: of a damaged object no reader
    gets all the bytes, so that not even one that ignores the error takes it for complete. The digest is compared when
    the range is the whole object; of a part the length is.

    Attributes:
        info: The object.
        start: First byte of the range.
        stop: One past its last byte.
    """

    def __init__(self, info: ObjectInfo, start: int, stop: int, source: ByteSource) -> None:
        self.info = info
        self.start = start
        self.stop = stop
        self._source = source
        self._pieces = iter(source)
        self._left = stop - start
        self._digest = hashlib.sha256() if (start, stop) == (0, info.size) else None

    def __next__(self) -> bytes:
        """The next piece.

        Raises:
            ObjectCorrupt: The bytes are not those that were put.
            StoreUnavailable: The store stopped answering.
        """
        if self._left == 0:
            self._compare()
            self.close()
            raise StopIteration
        try:
            piece = next(self._pieces)
        except StopIteration:
            self.close()
            raise self._corrupt(f"it ends {self._left} bytes early") from None
        except BaseException:
            self.close()
            raise
        self._left -= len(piece)
        if self._left < 0:
            self.close()
            raise self._corrupt(f"it goes on after {self.stop - self.start} bytes")
        if self._digest is not None:
            self._digest.update(piece)
        if self._left == 0:
            self._compare()
        return piece

    def read(self) -> bytes:
        """All that is left; the stream is closed.

        Raises:
            ObjectCorrupt: The bytes are not those that were put.
            StoreUnavailable: The store stopped answering.
        """
        with self:
            return b"".join(self)

    def close(self) -> None:
        """Let go of the file or connection; a closed stream has ended."""
        self._left = 0
        self._digest = None
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _compare(self) -> None:
        digest, self._digest = self._digest, None
        if digest is not None and digest.hexdigest() != self.info.sha256:
            actual = digest.hexdigest()
            self.close()
            raise self._corrupt(f"its {self.info.size} bytes have the sha256 {actual}")

    def _corrupt(self, what: str) -> ObjectCorrupt:
        return ObjectCorrupt(f"the object {self.info.key} is damaged: {what}", key=self.info.key)


class ObjectStore(Protocol):
    """Objects, named after their bytes, in scopes.

    Methods block and may be called from several threads at once. Each may raise, besides the errors it names,
    ``StoreUnavailable``, ``StoreRefused`` and, when writing, ``StoreFull``; a name that is none raises
    ``OptionInvalid``.
    """

    def put(self, scope: str, chunks: Chunks, media_type: str, *, expected_sha256: str | None = None) -> ObjectInfo:
        """Store bytes; durable when it returns, and invisible until all of them are.

        The same bytes again give the same object, and mend a damaged one. An error that ``chunks`` raises passes
        through, and nothing is stored.

        Args:
            scope: ``<kind>/<id>``.
            chunks: The bytes.
            media_type: Kept with the object.
            expected_sha256: What they have to be.

        Raises:
            ObjectCorrupt: They are not what ``expected_sha256`` says; nothing is stored.
            ObjectMissing: The scope was deleted meanwhile, and this object with it.
        """
        ...

    def open(self, key: str, start: int = 0, stop: int | None = None) -> ObjectStream:
        """Read the range ``[start, stop)`` of an object; close the stream, or read it to its end.

        Raises:
            ObjectMissing: There is no such object.
            OptionInvalid: The range reaches out of the object.
        """
        ...

    def stat(self, key: str) -> ObjectInfo:
        """Look an object up.

        Raises:
            ObjectMissing: There is no such object.
        """
        ...

    def entries(self, scope: str) -> list[Entry]:
        """The objects of a scope, by key; none where there is no such scope."""
        ...

    def scopes(self, kind: str) -> Iterator[str]:
        """The scopes ``<kind>/…`` that hold objects."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object, every version of it; one that is not there is removed already."""
        ...

    def delete_scope(self, scope: str) -> list[Entry]:
        """Remove every byte of a scope, unfinished uploads and older versions included.

        Returns:
            What was there; nothing the second time.
        """
        ...

    def sweep(self, before: float) -> list[Entry]:
        """Remove what uploads left behind that began before a time and never ended (their process was killed).

        Args:
            before: Seconds since the epoch; choose it longer ago than any upload takes.

        Returns:
            What was removed.
        """
        ...

    def presign(self, key: str, seconds: int, file_name: str, media_type: str) -> str | None:
        """A link under which whoever has it may download the object for a while; nothing is asked of the store.

        Args:
            key: The object's.
            seconds: How long the link lasts, 1 to 604 800.
            file_name: Under which a browser saves it.
            media_type: With which it is served.

        Returns:
            The link, or None where objects can be had through the gateway only.
        """
        ...

    def check(self) -> None:
        """Find out within seconds whether the store can be used; raises what keeps it from being so."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
