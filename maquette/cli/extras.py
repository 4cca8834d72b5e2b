"""Commands whose packages or settings not everybody has."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from maquette.errors import DependencyMissing, OptionInvalid

_OWN = ("maquette", "services", "gateway")


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Turn a package that is not there into an error that says how to get it.

    Args:
        extra: Name of the extra that brings it.

    Raises:
        DependencyMissing: What is imported inside needs a package that is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in _OWN:
            raise
        raise DependencyMissing(f"this needs the package {missing}: pip install 'maquette[{extra}]'") from error


@contextmanager
def settings_named() -> Iterator[None]:
    """Turn a wrong setting into an error that names it, without its value: that may be a secret.

    Raises:
        OptionInvalid: A setting that is read inside is wrong.
    """
    try:
        yield
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        named = (f"{'_'.join(map(str, e['loc'])) or 'all'} of {error.title}: {e['msg']}" for e in found)
        raise OptionInvalid("expected valid settings in the environment, found " + "; ".join(named)) from None
