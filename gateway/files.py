"""Files out of the object store: ranges, conditions and caching (RFC 9110, 13 and 14; RFC 9111; RFC 8246)."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.context import Gateway
from gateway.jobs import ProductRecord
from maquette.errors import RangeInvalid
from maquette.store import ObjectStream

IMMUTABLE = "private, max-age=31536000, immutable"
REVALIDATE = "private, no-cache"

_RANGE = re.compile(r"bytes\s*=\s*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))\s*", re.IGNORECASE | re.ASCII)
_TAGS = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_INLINE = ("image/", "model/", "application/json")


@dataclass(frozen=True)
class Span:
    """A range of a file, ``[start, stop)``."""

    start: int
    stop: int


def asked_range(headers: Headers, product: ProductRecord) -> Span | None:
    """The part of a file that a request asks for; None for all of it.

    A unit that is not known, several ranges at once and a condition that no longer holds mean all of it (RFC 9110,
    14.2 and 13.1.5).

    Raises:
        RangeInvalid: It lies outside of the file, or is none.
    """
    text = headers.get("range")
    if text is None or not text.lower().lstrip().startswith("bytes") or "," in text:
        return None
    condition = headers.get("if-range")
    if condition is not None and condition.strip() != etag_of(product):
        return None
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise _invalid("a range bytes=FIRST-LAST", product)
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), product.size)
        if length == 0:
            raise _invalid("a range of some bytes", product)
        return Span(product.size - length, product.size)
    start, stop = int(first), min(int(last) + 1 if last else product.size, product.size)
    if last and int(last) < start:
        raise _invalid("a range that does not end before it begins", product)
    if start >= product.size:
        raise _invalid("a range that begins within the file", product)
    return Span(start, stop)


def known_already(headers: Headers, product: ProductRecord) -> bool:
    """Whether the request says that its sender has the file as it is (If-None-Match, weak comparison)."""
    text = headers.get("if-none-match")
    if text is None:
        return False
    return text.strip() == "*" or product.sha256 in _TAGS.findall(text)


def etag_of(product: ProductRecord) -> str:
    """Strong entity tag of a file."""
    return f'"{product.sha256}"'


def file_headers(product: ProductRecord, *, immutable: bool) -> dict[str, str]:
    """Headers that every answer about a file has.

    Args:
        product: The file.
        immutable: Whether its address names its content.
    """
    kind = "inline" if product.media_type.startswith(_INLINE) else "attachment"
    return {
        "etag": etag_of(product),
        "accept-ranges": "bytes",
        "cache-control": IMMUTABLE if immutable else REVALIDATE,
        "content-disposition": f'{kind}; filename="{product.name}"',
        # Files are for pages of other origins too, if they may read them: that is for CORS to decide.
        "cross-origin-resource-policy": "cross-origin",
    }


async def open_file(gateway: Gateway, product: ProductRecord, span: Span | None, headers: dict[str, str]) -> Response:
    """The answer with a file or a range of it; whatever keeps it from being read is known before the answer begins.

    Raises:
        ObjectMissing: It is not in the store.
        StoreError: The store failed.
    """
    start, stop = (0, product.size) if span is None else (span.start, span.stop)
    stream = await gateway.in_thread(gateway.store.open, product.key, start, stop)
    try:
        first = await gateway.in_thread(next, stream, b"")
    except BaseException:
        stream.close()
        raise
    headers = {**headers, "last-modified": formatdate(stream.info.modified, usegmt=True)}
    if span is not None:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{product.size}"
    return _FileResponse(
        gateway, stream, first, stop - start, 200 if span is None else 206, headers, product.media_type
    )


class _FileResponse(Response):
    """Sends a stream of the store; the reader of a damaged object never gets its last piece."""

    def __init__(
        self,
        gateway: Gateway,
        stream: ObjectStream,
        first: bytes,
        length: int,
        status: int,
        headers: dict[str, str],
        media_type: str,
    ) -> None:
        super().__init__(None, status, {**headers, "content-length": str(length)}, media_type)
        self._gateway, self._stream, self._first = gateway, stream, first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for piece in self._pieces():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._stream.close()

    async def _pieces(self) -> AsyncIterator[bytes]:
        piece = self._first
        while piece:
            yield piece
            piece = await self._gateway.in_thread(next, self._stream, b"")


def _invalid(expected: str, product: ProductRecord) -> RangeInvalid:
    return RangeInvalid(f"expected {expected} of {product.size} bytes, found another", size=product.size)
