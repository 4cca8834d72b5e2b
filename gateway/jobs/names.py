"""Identifiers, scopes of the object store and cursors, and what is refused as one."""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Iterable

from gateway.jobs.types import Json, PhotoRecord
from maquette.errors import HeadNotFound, OptionInvalid

_ALPHABET = "[a-z2-7]"
_HEAD = re.compile(f"head_{_ALPHABET}{{26}}")
_JOB = re.compile(f"job_{_ALPHABET}{{26}}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")
_LONGEST_FILE = 100

PHOTO_SCOPES = "photos"
"""Kind of the scopes that hold photos and everything else that shows the face as the camera saw it."""

HEAD_SCOPES = "heads"
"""Kind of the scopes that hold heads and products."""


def random_text(size: int) -> str:
    """Unguessable lower-case letters and digits of ``size`` random bytes (base 32, RFC 4648, without padding)."""
    return base64.b32encode(secrets.token_bytes(size)).decode().rstrip("=").lower()


def new_head_id() -> str:
    """An identifier of 128 random bits."""
    return f"head_{random_text(16)}"


def new_job_id() -> str:
    """An identifier of 128 random bits."""
    return f"job_{random_text(16)}"


def check_head_id(head_id: str) -> str:
    """Return a head's identifier as it is.

    Raises:
        HeadNotFound: No head can have it.
    """
    if not _HEAD.fullmatch(head_id):
        raise HeadNotFound("expected the identifier of a head, head_ and 26 letters and digits, found something else")
    return head_id


def is_job_id(text: str) -> bool:
    """Whether a job could have this identifier."""
    return _JOB.fullmatch(text) is not None


def photo_scope(head_id: str) -> str:
    """Scope of a head's photos, and of what is derived from them and shows the person: removed after a day."""
    return f"{PHOTO_SCOPES}/{head_id}"


def head_scope(head_id: str) -> str:
    """Scope of a head itself and its products: removed after a month."""
    return f"{HEAD_SCOPES}/{head_id}"


def is_file_name(name: str) -> bool:
    """Whether a product could have this name."""
    return len(name) <= _LONGEST_FILE and _FILE.fullmatch(name) is not None


def check_file_name(name: str) -> str:
    """Return a product's name as it is.

    Raises:
        OptionInvalid: It is no plain file name.
    """
    if not is_file_name(name):
        raise OptionInvalid(f"expected a file name of letters, digits, _, - and single dots, found {name[:100]!r}")
    return name


def check_text(what: str, text: str, longest: int, shortest: int = 0) -> str:
    """Return a text that every database can hold as it is.

    Raises:
        OptionInvalid: It is too long or too short, or has control characters or half characters in it.
    """
    if not shortest <= len(text) <= longest:
        raise OptionInvalid(f"expected a {what} of {shortest} to {longest} characters, found {len(text)}")
    if any(c < " " or "\x7f" <= c < "\xa0" or "\ud800" <= c < "\ue000" for c in text):
        raise OptionInvalid(f"expected a {what} without control characters, found {text!r}")
    return text


def request_digest(name: str, options: Json, photos: Iterable[PhotoRecord]) -> str:
    """Digest of what a request asks for: equal for the same photos, in the same order, with the same options.

    Args:
        name: The customer's name for the head.
        options: What to make; members in any order.
        photos: Where they lie does not matter.
    """
    asked = {"name": name, "options": options, "photos": [[p.name, p.sha256] for p in photos]}
    return hashlib.sha256(json.dumps(asked, sort_keys=True, allow_nan=False).encode()).hexdigest()


def to_cursor(created: float, identifier: str) -> str:
    """A place in a list that is ordered by time and identifier, as a text to hand back."""
    return base64.urlsafe_b64encode(json.dumps([created, identifier]).encode()).decode().rstrip("=")


def from_cursor(cursor: str) -> tuple[float, str]:
    """The place that a cursor stands for.

    Raises:
        OptionInvalid: It is none.
    """
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        created, identifier = json.loads(raw)
        if isinstance(created, float) and isinstance(identifier, str) and abs(created) < 1e12:
            return created, check_text("identifier", identifier, 64)
    except (ValueError, TypeError, RecursionError):
        pass
    raise OptionInvalid("expected a cursor that an earlier page gave, found something else")
