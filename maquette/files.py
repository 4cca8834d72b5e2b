"""Writing results so that no reader ever meets half a file."""

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from maquette.errors import OutputError

_PARTIAL = ".partial-"


def check_writable(folder: Path) -> None:
    """Find out early, without leaving a trace, that results could not be written.

    Args:
        folder: Where they are to go; it need not be there yet.

    Raises:
        OutputError: A file is in the way, or the folder (or the one that it would be made in) is not writable.
    """
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise OutputError(f"cannot write to {folder}: {nearest} is not a folder", path=str(folder))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write to {folder}: no permission to write in {nearest}", path=str(folder))


def write_atomically(path: Path, data: bytes) -> None:
    """Write one file; its name shows the old content or the new one, never half of it.

    Args:
        path: File to write; its folder is made if need be.
        data: Its bytes.

    Raises:
        OutputError: The file or its folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{_PARTIAL}{path.name}-", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            temporary.chmod(_mode())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}", path=str(path)) from error


def write_folder(folder: Path, files: Mapping[str, bytes], *, seal: str, stale: Iterable[str] = ()) -> list[Path]:
    """Write a set of files that belong together into a folder that may hold an older set.

    All bytes go to a hidden folder inside ``folder`` first. Then the old seal is removed, each file is moved to its
    name, and the new seal last: a folder with a seal holds one complete set. One writer a folder. An interrupt that
    comes meanwhile takes effect when all is written.

    Args:
        folder: Where to; made if need be.
        files: Bytes by file name.
        seal: The name in ``files`` that is moved last.
        stale: Names of the older set; those that are not in ``files`` are removed.

    Returns:
        The paths written, in the order of ``files``.

    Raises:
        OutputError: The folder or a file cannot be written.
    """
    assert seal in files
    with _interrupts_held():
        return _write_folder(folder, files, seal, stale)


def _write_folder(folder: Path, files: Mapping[str, bytes], seal: str, stale: Iterable[str]) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in folder.glob(f"{_PARTIAL}*"):
            # Only a process that was killed outright leaves these behind.
            shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()
        partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=folder))
        try:
            for name, data in files.items():
                (partial / name).write_bytes(data)
            (folder / seal).unlink(missing_ok=True)
            for name in set(stale) - set(files):
                (folder / name).unlink(missing_ok=True)
            for name in [*(n for n in files if n != seal), seal]:
                (partial / name).replace(folder / name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}", path=str(folder)) from error
    return [folder / name for name in files]


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait, as far as this thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda n, _frame: came.append(n))
        yield
    finally:
        for number, handler in before.items():
            # None is a handler that was not set from Python, and cannot be set from there either.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    for first in came[:1]:
        signal.raise_signal(first)


def _mode() -> int:
    """Permissions of a newly made file; ``mkstemp`` would leave it to its owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
