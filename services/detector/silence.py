"""Holding back what libraries write to standard error and offer no switch for."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

_STANDARD_ERROR = threading.Lock()


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Send the process's standard error nowhere meanwhile; one thread at a time, the others wait."""
    with _STANDARD_ERROR, _redirected():
        yield


@contextlib.contextmanager
def _redirected() -> Iterator[None]:
    try:
        stderr = sys.__stderr__.fileno() if sys.__stderr__ is not None else -1
        kept = os.dup(stderr)
    except (OSError, ValueError):
        yield
        return
    try:
        with Path(os.devnull).open("wb") as sink:
            os.dup2(sink.fileno(), stderr)
            try:
                yield
            finally:
                os.dup2(kept, stderr)
    finally:
        os.close(kept)
