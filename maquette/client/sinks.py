"""Where a download goes: into memory, or into a file that a broken download is gone on with."""

import hashlib
from pathlib import Path
from typing import Protocol

from maquette.client.records import RemoteFile
from maquette.errors import OutputError

PARTIAL = ".partial-"
_PIECE = 1 << 20


class Sink(Protocol):
    """Takes the bytes of one file, in their order."""

    def have(self) -> int:
        """How many there are."""
        ...

    def write(self, piece: bytes) -> None:
        """Add some."""
        ...

    def restart(self) -> None:
        """Throw away what there is."""
        ...

    def digest(self) -> str:
        """The sha256 of what there is, hex."""
        ...


class MemorySink:
    """Keeps a file in memory.

    Attributes:
        data: What has come.
    """

    def __init__(self) -> None:
        self.data = bytearray()

    def have(self) -> int:
        """How many bytes there are."""
        return len(self.data)

    def write(self, piece: bytes) -> None:
        """Add some."""
        self.data += piece

    def restart(self) -> None:
        """Throw away what there is."""
        self.data.clear()

    def digest(self) -> str:
        """The sha256 of what there is, hex."""
        return hashlib.sha256(self.data).hexdigest()


class FileSink:
    """Writes a file beside its place; what an earlier download of the same bytes has left is gone on with."""

    def __init__(self, path: Path, file: RemoteFile) -> None:
        """Prepare; nothing is written yet.

        Args:
            path: Where the file is to be in the end.
            file: What is to come.

        Raises:
            OutputError: The folder cannot be made.
        """
        self._path, self._file = path, file
        self._partial = path.with_name(f"{PARTIAL}{path.name}-{file.sha256[:16]}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._failed(error) from error
        if self.have() > file.size:
            self.restart()

    def is_there(self) -> bool:
        """Whether the file is in its place already, byte for byte."""
        try:
            return self._path.stat().st_size == self._file.size and _digest(self._path) == self._file.sha256
        except OSError:
            return False

    def have(self) -> int:
        """How many bytes there are."""
        try:
            return self._partial.stat().st_size
        except OSError:
            return 0

    def write(self, piece: bytes) -> None:
        """Add some.

        Raises:
            OutputError: They cannot be written.
        """
        try:
            with self._partial.open("ab") as file:
                file.write(piece)
        except OSError as error:
            raise self._failed(error) from error

    def restart(self) -> None:
        """Throw away what there is."""
        self._partial.unlink(missing_ok=True)

    def digest(self) -> str:
        """The sha256 of what there is, hex."""
        return _digest(self._partial) if self._partial.exists() else hashlib.sha256().hexdigest()

    def place(self) -> Path:
        """Move the file to its place.

        Raises:
            OutputError: That cannot be done.
        """
        try:
            if not self._partial.exists():
                self._partial.touch()
            self._partial.replace(self._path)
        except OSError as error:
            raise self._failed(error) from error
        return self._path

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write {self._path}: {error.strerror or error}", path=str(self._path))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
