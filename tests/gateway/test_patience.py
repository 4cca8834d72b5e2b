"""What errors mean for a worker, and how long it insists."""

import pytest

from gateway.patience import Verdict, insist, verdict, verdict_of
from maquette import errors
from maquette.errors import LeaseLost, ServiceUnavailable

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (errors.NoFaceFound("none"), Verdict.FOR_GOOD),
        (errors.OptionInvalid("wrong"), Verdict.FOR_GOOD),
        (errors.NetworkFilesMissing("none"), Verdict.FOR_GOOD),
        (errors.StoreRefused("no"), Verdict.FOR_GOOD),
        (errors.ServiceUnavailable("away"), Verdict.PASSING),
        (errors.StoreUnavailable("away"), Verdict.PASSING),
        (errors.StoreFull("full"), Verdict.PASSING),
        (errors.Overloaded("busy"), Verdict.PASSING),
        (errors.DeadlineExceeded("late"), Verdict.PASSING),
        (errors.WorkerLost("dead"), Verdict.PASSING),
        (errors.ObjectCorrupt("damaged"), Verdict.DOUBTFUL),
        (errors.MessageInvalid("odd"), Verdict.DOUBTFUL),
        (errors.ServiceError("odd"), Verdict.DOUBTFUL),
        (ZeroDivisionError(), Verdict.DOUBTFUL),
    ],
)
def test_errors_mean_what_they_are(error: Exception, meaning: Verdict) -> None:
    assert verdict(error) is meaning
    if isinstance(error, errors.MaquetteError):
        assert verdict_of(error.code) is meaning


async def test_patience_ends(anyio_backend: str) -> None:
    tries = 0

    async def away() -> None:
        nonlocal tries
        tries += 1
        raise ServiceUnavailable("nobody answers")

    with pytest.raises(ServiceUnavailable):
        await insist(away, 0.7)
    assert tries in (2, 3)

    async def lost() -> None:
        nonlocal tries
        tries += 1
        raise LeaseLost("another has it")

    tries = 0
    with pytest.raises(LeaseLost):
        await insist(lost, 10)
    assert tries == 1
