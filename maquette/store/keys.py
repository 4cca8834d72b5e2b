"""Names in the object store, and what is refused as one.

A *scope* is ``<kind>/<id>``, for example ``heads/head_x7``: what is deleted together. A *key* is ``<scope>/<sha256>``,
the digest in lower-case hex: one scope holds the same bytes once, and another scope's copy is another object. The
alphabet has no dot, so that no name can climb out of its folder, be hidden or meet the store's own names.
"""

import re

from maquette.errors import OptionInvalid

_SEGMENT = "[A-Za-z0-9][A-Za-z0-9_-]{0,99}"
_KIND = re.compile(_SEGMENT)
_SCOPE = re.compile(f"{_SEGMENT}/{_SEGMENT}")
_DIGEST = re.compile("[0-9a-f]{64}")
_TOKEN = "[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,99}"
_MEDIA_TYPE = re.compile(f"{_TOKEN}/{_TOKEN}(?:; ?{_TOKEN}={_TOKEN})?")
_LONGEST_MEDIA_TYPE = 120


def check_kind(kind: str) -> str:
    """Return the first half of a scope as it is.

    Raises:
        OptionInvalid: It is none.
    """
    return _check(_KIND, kind, "the kind of a scope (letters, digits, _ and -, at most 100)")


def check_scope(scope: str) -> str:
    """Return a scope as it is.

    Raises:
        OptionInvalid: It is none.
    """
    return _check(_SCOPE, scope, "a scope KIND/ID (each of letters, digits, _ and -, at most 100)")


def check_digest(sha256: str) -> str:
    """Return a hex digest as it is.

    Raises:
        OptionInvalid: It is none.
    """
    return _check(_DIGEST, sha256, "a sha256 in 64 lower-case hex digits")


def check_media_type(media_type: str) -> str:
    """Return a media type (RFC 6838, 4.2, with at most one plain parameter) as it is.

    Raises:
        OptionInvalid: It is none, or longer than 120 characters.
    """
    checked = _check(_MEDIA_TYPE, media_type, "a media type such as model/gltf-binary")
    if len(checked) > _LONGEST_MEDIA_TYPE:
        raise OptionInvalid(f"expected a media type of at most {_LONGEST_MEDIA_TYPE} characters, got {len(checked)}")
    return checked


def join_key(scope: str, sha256: str) -> str:
    """The key of an object.

    Raises:
        OptionInvalid: ``scope`` or ``sha256`` is none.
    """
    return f"{check_scope(scope)}/{check_digest(sha256)}"


def split_key(key: str) -> tuple[str, str]:
    """Scope and sha256 of a key.

    Raises:
        OptionInvalid: It is no key.
    """
    scope, _, sha256 = key.rpartition("/")
    if not _SCOPE.fullmatch(scope) or not _DIGEST.fullmatch(sha256):
        raise OptionInvalid(f"expected a key KIND/ID/SHA256, got {_shown(key)}")
    return scope, sha256


def check_key(key: str) -> str:
    """Return a key as it is.

    Raises:
        OptionInvalid: It is none.
    """
    split_key(key)
    return key


def check_range(start: int, stop: int | None, size: int) -> tuple[int, int]:
    """The range ``[start, stop)`` of an object, ``None`` being its end.

    Args:
        start: First byte.
        stop: One past the last byte.
        size: Bytes of the object.

    Raises:
        OptionInvalid: It reaches out of the object.
    """
    end = size if stop is None else stop
    if not 0 <= start <= end <= size:
        raise OptionInvalid(f"expected a range within 0 and {size} bytes, got {start} to {end}", size=size)
    return start, end


def _check(pattern: re.Pattern[str], text: str, expected: str) -> str:
    if not pattern.fullmatch(text):
        raise OptionInvalid(f"expected {expected}, got {_shown(text)}")
    return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= 160 else f"{text[:160]}…")
