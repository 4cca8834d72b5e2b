"""What belongs to one server and outlives it when it is killed: shared memory under names, and a temporary folder."""

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_PREFIX = "maquette_triton_"
_LOCK = "lock"


class Belongings:
    """The shared memory and the folder of one server.

    A locked file stands for their living owner; the lock goes with the owner, however it ends, and holds across
    containers that share the memory.

    Attributes:
        prefix: What the names of the owner's shared memory begin with.
        folder: A folder of the owner's.
    """

    def __init__(self) -> None:
        """Choose names, and remove what owners that were killed left behind."""
        self._remove_what_the_dead_left()
        self.prefix = f"{_PREFIX}{secrets.token_hex(4)}_"
        self._lock = os.open(_MEMORY / f"{self.prefix}{_LOCK}", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.folder = _folder(self.prefix)
        self.folder.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove it all."""
        _remove(self.prefix)
        os.close(self._lock)

    def _remove_what_the_dead_left(self) -> None:
        for path in _MEMORY.glob(f"{_PREFIX}*_{_LOCK}"):
            with contextlib.suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path.name.removesuffix(_LOCK))


def _folder(prefix: str) -> Path:
    return Path(tempfile.gettempdir(), prefix.rstrip("_"))


def _remove(prefix: str) -> None:
    shutil.rmtree(_folder(prefix), ignore_errors=True)
    # The lock last: without it nobody would find what is left.
    for region in sorted(_MEMORY.glob(f"{prefix}*"), key=lambda p: p.name.endswith(_LOCK)):
        region.unlink(missing_ok=True)
