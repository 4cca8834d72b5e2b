"""Do several photos show one person?

Two kinds of evidence. The identities that the prior's ridges guess from each photo's landmarks: what of them a person's
shape explains, and what expression, pose, skin and the networks' errors add, is learned from pictures of heads whose
shape is known (``training.people``): directions in which that addition has variance 1, and the variance between people
along each. It is probabilistic linear discriminant analysis (Ioffe, *Probabilistic Linear Discriminant Analysis*, ECCV
2006), applied to differences only, so that what all photos have in common and the training pictures lack does not
matter. And the tones of brows, eyes, hair and skin, with a wide tolerance, since light and make-up change them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maquette.errors import ModelFileInvalid, PeopleMixed
from maquette.headmodel.model import unpack
from maquette.types import Caution, Float64
from services.reconstructor.engines.open.prior import LandmarkPrior

FORMAT = "maquette-people/2"
DEFAULT_FILE = Path(__file__).parent / "data" / "people.npz"

MIXED = 4.0
"""Logarithm of the odds at which a photo counts as another person's; to refuse the right photos is worse than to miss a
wrong one."""

MAYBE = 0.7
"""Logarithm of the odds from which the user is told: twice as likely another person's as not."""

TONE_WITHIN = np.array([0.5, 0.5, 0.8, 0.2])
TONE_BETWEEN = np.array([0.6, 0.5, 1.3, 0.25])
"""Standard deviations of a person's tones, and of people's."""

TONE_LIMIT = 0.8
"""Most that a single tone adds to the logarithm of the odds, or takes from it: hair may be dyed, brows painted."""

_VERY_LIKELY, _LIKELY = 3.0, 2.0


@dataclass(frozen=True, eq=False)
class Person:
    """What one photo says of whom it shows.

    Attributes:
        photo: Digest of the photo; the same photo again says nothing new.
        name: Its file name.
        codes: (2K,) float64, identities by the plain and by the refined landmarks, see ``codes_of``.
        tones: (4,) float64, see ``tones``; NaN where unknown.
    """

    photo: str
    name: str
    codes: Float64
    tones: Float64


def codes_of(prior: LandmarkPrior, refined: Float64, plain: Float64) -> Float64:
    """(2K,) identities that the ridges guess from (478, 3) landmarks, in pixels and as a camera faces them."""
    return np.concatenate([prior.plain.predict(plain), prior.refined.predict(refined)])


@dataclass(frozen=True, eq=False)
class PeopleCheck:
    """Directions that tell people apart.

    Attributes:
        directions: (D, 2K) float64, variance within a person is 1 along each.
        between: (D,) float64, variance between people along each.
    """

    directions: Float64
    between: Float64

    @classmethod
    def load(cls, path: Path = DEFAULT_FILE) -> "PeopleCheck":
        """Read what ``training.people`` wrote.

        Raises:
            ModelFileInvalid: The file is missing, damaged or of another format.
        """
        _, arrays, _ = unpack(path, FORMAT)
        try:
            directions, between = (np.asarray(arrays[k], np.float64) for k in ("directions", "between"))
        except (KeyError, ValueError) as error:
            raise ModelFileInvalid(f"{path}: {error}") from error
        if directions.ndim != 2 or between.shape != (len(directions),):
            raise ModelFileInvalid(
                f"{path}: has arrays of shape {directions.shape} and {between.shape}, expected (D, 2K) and (D,)"
            )
        return cls(directions, between)

    def odds(self, codes: Float64, tones: Float64) -> Float64:
        """(N,) logarithm of the odds that each of N photos shows someone else than the others.

        Args:
            codes: (N, 2K), at least two.
            tones: (N, 4).
        """
        n = len(codes) - 1
        seen = codes @ self.directions.T
        apart = seen - (seen.sum(0) - seen) / n
        one = 1 + 1 / n
        two = one + 2 * self.between
        shape = 0.5 * (apart**2 @ (1 / one - 1 / two) - np.log(two / one).sum())
        return np.asarray(shape + _tone_odds(tones), np.float64)

    def require_one_person(self, people: Sequence[Person]) -> Caution | None:
        """Check that photos show one person.

        Args:
            people: One per photo; the first is the main one, which is right when there are but two.

        Returns:
            The caution ``people_maybe_mixed`` where they hardly do, naming the photo that fits the others least.

        Raises:
            PeopleMixed: They do not; names that photo.
        """
        distinct = list({p.photo: p for p in reversed(people)}.values())[::-1]
        if len(distinct) < 2:
            return None
        odds = self.odds(np.array([p.codes for p in distinct]), np.array([p.tones for p in distinct]))
        odd = int(odds[1:].argmax()) + 1 if len(odds) == 2 else int(odds.argmax())
        name, found = distinct[odd].name, float(odds[odd])
        others = ", ".join(p.name for k, p in enumerate(distinct) if k != odd)
        if found > MIXED:
            raise PeopleMixed(
                f"{name}: expected one person in all photos, found a face unlike that of {others}",
                photo=name,
                log_odds=round(found, 2),
            )
        if found > MAYBE:
            return Caution("people_maybe_mixed", f"{name}: {_words(found)} than {others}; if so, leave it out")
        return None


def _words(odds: float) -> str:
    if odds > _VERY_LIKELY:
        return "this is very likely someone else"
    return "this is more likely someone else" if odds > _LIKELY else "this may be someone else"


def _tone_odds(tones: Float64) -> Float64:
    """(N,) part of the logarithm of the odds that comes from (N, 4) tones."""
    known = np.isfinite(tones)
    value = np.where(known, tones, 0)
    n = known.sum(0) - known
    usable = known & (n > 0)
    count = np.maximum(n, 1)
    apart = value - (value.sum(0) - value) / count
    one = TONE_WITHIN**2 * (1 + 1 / count)
    two = one + 2 * TONE_BETWEEN**2
    each = 0.5 * (apart**2 * (1 / one - 1 / two) - np.log(two / one))
    return np.asarray(np.where(usable, np.clip(each, -TONE_LIMIT, TONE_LIMIT), 0).sum(1), np.float64)
