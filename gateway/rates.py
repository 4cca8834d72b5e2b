"""How often a key may ask, counted by the library ``limits``."""

import math
import time
from dataclasses import dataclass
from functools import lru_cache

import limits
from limits.aio.storage import Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string

from maquette.errors import DependencyMissing, OptionInvalid, RateExceeded, ServiceUnavailable

_SPACE = "maquette"


@dataclass(frozen=True)
class Spent:
    """What came of counting a request.

    Attributes:
        headers: ``ratelimit-policy`` and ``ratelimit`` of the answer (draft-ietf-httpapi-ratelimit-headers), the latter
            for the window with the least left.
        refused: The error to answer with, when it is one too many; ``retry_after_seconds`` says when to come again.
    """

    headers: dict[str, str]
    refused: RateExceeded | None


class Rates:
    """Requests counted in sliding windows, in this process or in a store that several share."""

    def __init__(self, storage: str) -> None:
        """Count in a store.

        Args:
            storage: In the notation of ``limits``, an asynchronous one.

        Raises:
            OptionInvalid: There is no such kind of store.
            DependencyMissing: Its package is not installed.
        """
        try:
            opened = storage_from_string(storage, wrap_exceptions=True)
        except limits.errors.ConfigurationError as error:
            if "prerequisite" in str(error):
                raise DependencyMissing(f"counting requests there needs a package: {error}") from error
            raise OptionInvalid(f"expected a store of the library limits, found {storage.partition(':')[0]}") from error
        if not isinstance(opened, Storage):
            raise OptionInvalid(f"expected an asynchronous store, async+…, found {storage.partition(':')[0]}")
        self._limiter = SlidingWindowCounterRateLimiter(opened)

    async def spend(self, rate: str, owner: str) -> Spent:
        """Count one request; one that is refused does not count.

        Args:
            rate: Most requests, in the notation of ``limits``; several windows are separated by semicolons.
            owner: Whose.

        Raises:
            ServiceUnavailable: The store does not answer.
        """
        windows = _windows(rate)
        try:
            full = [w for w in windows if not await self._limiter.test(w, _SPACE, owner)]
            if not full:
                for window in windows:
                    await self._limiter.hit(window, _SPACE, owner)
            stats = {w: await self._limiter.get_window_stats(w, _SPACE, owner) for w in full or windows}
        except StorageError as error:
            raise ServiceUnavailable("the store that counts requests does not answer") from error
        tightest = min(stats, key=lambda w: stats[w].remaining / w.amount)
        last = max(stats[w].reset_time for w in full or (tightest,))
        seconds = max(1 if full else 0, math.ceil(last - time.time()))
        headers = {
            "ratelimit-policy": ", ".join(f'"{_name(w)}";q={w.amount};w={w.get_expiry()}' for w in windows),
            "ratelimit": f'"{_name(tightest)}";r={0 if full else stats[tightest].remaining};t={seconds}',
        }
        if not full:
            return Spent(headers, None)
        refused = RateExceeded(
            f"expected at most {tightest.amount} requests in {tightest.get_expiry()} s, found one more",
            retry_after_seconds=seconds,
            limit=tightest.amount,
            window_seconds=tightest.get_expiry(),
        )
        return Spent(headers, refused)


@lru_cache(maxsize=256)
def _windows(rate: str) -> tuple[limits.RateLimitItem, ...]:
    return tuple(limits.parse_many(rate))


def _name(window: limits.RateLimitItem) -> str:
    return f"{window.multiples if window.multiples != 1 else ''}{window.GRANULARITY.name}"
