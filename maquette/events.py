"""What a reconstruction tells its caller while it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from maquette.rooms import Product
from maquette.types import Head


class Stage(StrEnum):
    """The steps of a reconstruction, in their order."""

    READ = "read"
    DETECT = "detect"
    FIT = "fit"
    TEXTURE = "texture"
    EXPORT = "export"


@dataclass(frozen=True)
class StageStarted:
    """A step begins."""

    stage: Stage


@dataclass(frozen=True)
class StageFinished:
    """A step is over.

    Attributes:
        stage: The step.
        seconds: Wall time it took.
    """

    stage: Stage
    seconds: float


@dataclass(frozen=True)
class HeadReady:
    """A head can be shown.

    Attributes:
        head: The head.
        complete: False for the first one, which is shape only; True once textures, detail and hair are there.
    """

    head: Head
    complete: bool


@dataclass(frozen=True)
class ProductReady:
    """An output file is ready."""

    product: Product


Event = StageStarted | StageFinished | HeadReady | ProductReady
Listener = Callable[[Event], None]
"""Called from the working thread for each event; what it raises ends the reconstruction."""


def ignore(_event: Event) -> None:
    """Listener for callers that do not want to know."""
