"""What to do about an error: wait and try again, try again later, do without what was kept, or give up."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import TypeVar

from maquette import errors

T = TypeVar("T")

AWAY: tuple[type[Exception], ...] = (
    errors.ServiceUnavailable,
    errors.Overloaded,
    errors.StoreUnavailable,
    errors.StoreFull,
    errors.JobsUnavailable,
)
"""Somebody else does not answer or has no room; the job is as good as it was."""

_PASSING: tuple[type[Exception], ...] = (*AWAY, errors.DeadlineExceeded, errors.Cancelled, errors.WorkerLost)
_FOR_GOOD: tuple[type[Exception], ...] = (
    errors.InputError,
    errors.SetupError,
    errors.MessageTooLarge,
    errors.ServiceRefused,
    errors.StoreRefused,
    errors.PhotosExpired,
)
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0


class Verdict(Enum):
    """What an error means for a job.

    Attributes:
        PASSING: Another try may succeed.
        DOUBTFUL: Perhaps what earlier tries have kept is gone, damaged or of another release: a few more tries, without
            it. Errors that nobody has foreseen are of this kind.
        FOR_GOOD: Another try would end in the same way.
    """

    PASSING = auto()
    DOUBTFUL = auto()
    FOR_GOOD = auto()


def verdict(error: BaseException) -> Verdict:
    """What an error means for the job that it ended."""
    return _verdict(type(error))


def verdict_of(code: str) -> Verdict:
    """What an error with this code meant."""
    kinds: list[type[errors.MaquetteError]] = [errors.MaquetteError]
    for kind in kinds:
        if kind.code == code:
            return _verdict(kind)
        kinds += kind.__subclasses__()
    return Verdict.DOUBTFUL


def _verdict(kind: type[BaseException]) -> Verdict:
    if issubclass(kind, _FOR_GOOD):
        return Verdict.FOR_GOOD
    return Verdict.PASSING if issubclass(kind, _PASSING) else Verdict.DOUBTFUL


async def insist(what: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Do something, again and again while somebody is away, for a while.

    Args:
        what: Makes one try; tries that succeeded unnoticed must do no harm when repeated.
        seconds: How long to go on; then the last error is raised.
    """
    loop = asyncio.get_running_loop()
    give_up = loop.time() + seconds
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return await what()
        except AWAY as error:
            wait = max(pause, _advice(error)) * random.uniform(0.75, 1.25)
            if loop.time() + wait > give_up:
                raise
        await asyncio.sleep(wait)
        pause = min(pause * 2, _LONGEST_PAUSE_S)


def _advice(error: Exception) -> float:
    seconds = error.detail.get("retry_after_seconds") if isinstance(error, errors.MaquetteError) else None
    return float(seconds) if isinstance(seconds, int | float) else 0.0
