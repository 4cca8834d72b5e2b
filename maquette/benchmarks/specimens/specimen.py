"""What a hostile file is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One way to make a file hostile.

    Attributes:
        name: What is wrong with it.
        suffix: What its name ends with, which need not be what it is.
        make: Its bytes, always the same.
    """

    name: str
    suffix: str
    make: Callable[[], bytes]


@dataclass(frozen=True)
class Specimen:
    """One hostile file.

    Attributes:
        number: Place in the series.
        kind: The family it belongs to.
        name: What is wrong with it.
        place: Puts it into an empty folder and returns the path to read.
    """

    number: int
    kind: str
    name: str
    place: Callable[[Path], Path]
