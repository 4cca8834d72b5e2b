"""Do several photos show one person?

What tells people apart in landmarks, and what expression, pose and the networks' errors do to those of one person, is
learned from several pictures each of random heads (``training.people``): directions in which the scatter within a
person is 1, and the variance between people along each. It is probabilistic linear discriminant analysis (Ioffe,
*Probabilistic Linear Discriminant Analysis*, ECCV 2006), applied to differences only, so that what all photos have in
common and the training pictures lack does not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maquette.errors import ModelFileInvalid, PeopleMixed
from maquette.headmodel.model import unpack
from maquette.types import Float64
from services.reconstructor.engines.open.prior import POINTS, align

FORMAT = "maquette-people/1"
DEFAULT_FILE = Path(__file__).parent / "data" / "people.npz"

MIXED = 2.5
"""Logarithm of the odds at which a photo counts as another person's; to refuse the right photos is worse than to miss a
wrong one."""


@dataclass(frozen=True, eq=False)
class PeopleCheck:
    """Directions that tell people apart.

    Attributes:
        reference: (468, 3) float64 mm, landmarks that others are aligned to.
        mean: (1404,) float64 mm, mean aligned landmarks.
        directions: (D, 1404) float64, scatter within a person is 1 along each.
        between: (D,) float64, variance between people along each.
    """

    reference: Float64
    mean: Float64
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
            reference, mean, directions, between = (
                np.asarray(arrays[k], np.float64) for k in ("reference", "mean", "directions_modes", "between")
            )
        except (KeyError, ValueError) as error:
            raise ModelFileInvalid(f"{path}: {error}") from error
        shapes = reference.shape, mean.shape, directions.shape
        expected = (POINTS, 3), (3 * POINTS,), (len(between), 3 * POINTS)
        if shapes != expected:
            raise ModelFileInvalid(f"{path}: has arrays of shape {shapes}, expected {expected}")
        return cls(reference, mean, directions, between)

    def describe(self, landmarks: Float64) -> Float64:
        """(D,) coordinates of (478, 3) landmarks in pixels."""
        shape, _ = align(landmarks, self.reference)
        return np.asarray(self.directions @ (shape - self.mean), np.float64)

    def odds(self, people: Float64) -> Float64:
        """(N,) logarithm of the odds that each of N photos shows someone else than the others.

        Args:
            people: (N, D) coordinates, at least two.
        """
        n = len(people) - 1
        apart = people - (people.sum(0) - people) / n
        one = 1 + 1 / n
        two = one + 2 * self.between
        return np.asarray(0.5 * (apart**2 @ (1 / one - 1 / two) - np.log(two / one).sum()), np.float64)

    def require_one_person(self, landmarks: Sequence[Float64], names: Sequence[str]) -> None:
        """Check that photos show one person.

        Args:
            landmarks: (478, 3) per photo, pixels.
            names: File names of the photos; the first is the main one, which is right when there are but two.

        Raises:
            PeopleMixed: They do not; names the photo that fits the others least.
        """
        if len(landmarks) < 2:
            return
        odds = self.odds(np.array([self.describe(x) for x in landmarks]))
        odd = int(odds[1:].argmax()) + 1 if len(odds) == 2 else int(odds.argmax())
        if odds[odd] > MIXED:
            raise PeopleMixed(
                f"{names[odd]}: expected one person in all photos, found a face unlike that of "
                f"{', '.join(n for k, n in enumerate(names) if k != odd)}",
                photo=names[odd],
                log_odds=round(float(odds[odd]), 2),
            )
