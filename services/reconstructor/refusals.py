"""Named errors as the one line of text that a Triton model can answer with, and back."""

import json
import traceback

from maquette.errors import MaquetteError, error_of

_MARK = "maquette_error"
_LONGEST = 4000
"""Characters of a line: it travels in an HTTP/2 header, and gRPC refuses those above 16 KiB."""

_LONGEST_MESSAGE = 1000
UNKNOWN_MESSAGE = "the engine failed in a way that it does not know; Triton's log says more"


def to_line(error: Exception) -> str:
    """An error as one line of ASCII; the text of one that is none of ours stays here, for it may hold anything.

    Args:
        error: What was raised.
    """
    if not isinstance(error, MaquetteError):
        return _line(MaquetteError.code, UNKNOWN_MESSAGE, {})
    message = " ".join(str(error).split())[:_LONGEST_MESSAGE]
    line = _line(error.code, message, json.loads(json.dumps(error.detail, default=str)))
    return line if len(line) <= _LONGEST else _line(error.code, message, {})


def from_line(line: str) -> MaquetteError | None:
    """The error of such a line; None when it is another text, as Triton's own are."""
    try:
        found = json.loads(line)[_MARK]
        code, message, detail = str(found["code"]), str(found["message"]), dict(found["detail"])
    except (ValueError, LookupError, TypeError):
        return None
    return error_of(code, message, detail)


def trace_of(error: Exception) -> str:
    """Where an error arose, for the log of the machine that it arose on: places, not values."""
    places = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
    return f"{type(error).__name__} at {' < '.join(reversed(places))}"


def _line(code: str, message: str, detail: dict[str, object]) -> str:
    return json.dumps({_MARK: {"code": code, "message": message, "detail": detail}})
