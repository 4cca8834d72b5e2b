"""Which options there are, and which values they may have; said once for every door."""

from collections.abc import Sequence

from maquette.errors import OptionInvalid
from maquette.rooms import FORMATS, ReconstructOptions

ENGINES = ("open",)
TEXTURE_SIZES = (1024, 2048)
SIZE_LIMITS_MM = (10.0, 2000.0)


def check_options(options: ReconstructOptions) -> None:
    """Check options before any work is done (the hair library checks the name of a hair style).

    Raises:
        OptionInvalid: An option is out of its range.
    """
    _one_of("engine", options.engine, ENGINES)
    _one_of("texture", options.texture, ("albedo", "photo"))
    _one_of("texture size", options.texture_size, TEXTURE_SIZES)
    _one_of("expression", options.expression, ("photo", "neutral"))
    if not options.formats:
        raise OptionInvalid(f"expected at least one format of {', '.join(FORMATS)}, found none")
    for name in options.formats:
        _one_of("format", name, FORMATS)
    if len(set(options.formats)) != len(options.formats):
        raise OptionInvalid(f"expected each format once, found {', '.join(options.formats)}")
    low, high = SIZE_LIMITS_MM
    if options.size_mm is not None and not low <= options.size_mm <= high:
        raise OptionInvalid(f"expected a size of {low:g} to {high:g} mm, found {options.size_mm:g}")


def check_engine(engine: str) -> None:
    """Raise OptionInvalid for an engine that there is not."""
    _one_of("engine", engine, ENGINES)


def _one_of(what: str, value: object, known: Sequence[object]) -> None:
    if value not in known:
        raise OptionInvalid(f"expected {what} to be one of {', '.join(map(str, known))}, found {value}")
