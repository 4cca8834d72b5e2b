"""How much time is left for the call that is being answered, for the calls that it makes itself."""

import contextvars
import time
from collections.abc import Iterator
from contextlib import contextmanager

from maquette.errors import DeadlineExceeded

_until: contextvars.ContextVar[float | None] = contextvars.ContextVar("maquette_deadline", default=None)


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Allow so many seconds for what is done inside, or what is left already if that is less; None allows any."""
    until = _until.get()
    if seconds is not None:
        mine = time.monotonic() + seconds
        until = mine if until is None else min(mine, until)
    mark = _until.set(until)
    try:
        yield
    finally:
        _until.reset(mark)


def remaining(limit: float | None = None) -> float | None:
    """Seconds that are left, but at most ``limit``; None when there is neither a deadline nor a limit.

    Raises:
        DeadlineExceeded: None are left.
    """
    until = _until.get()
    if until is None:
        return limit
    left = until - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded(f"expected time left for the next step, found the deadline passed {-left:.3f} s ago")
    return left if limit is None else min(left, limit)
