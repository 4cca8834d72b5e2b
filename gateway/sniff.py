"""What a file is, by its first bytes, and how large a picture it holds; nothing is decoded at the door.

The detector decides in the end: it reads the whole file, with the same limits. Here plain nonsense and plain excess are
refused before they are stored. Formats: JPEG (ITU-T T.81), PNG (RFC 2083), WebP (RFC 9649), TIFF 6, GIF 89a, BMP and
ISO base media files (ISO/IEC 14496-12, ISO/IEC 23008-12) for HEIC and AVIF.
"""

import struct
from dataclasses import dataclass

KINDS = "JPEG, PNG, WebP, TIFF, HEIC, AVIF, BMP or GIF"

Size = tuple[int, int]
"""Width and height in pixels, before any turning."""

_AVIF = {b"avif", b"avis"}
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_JPEG_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_JPEG_BARE = {0x01, *range(0xD0, 0xD9)}
_TIFF_WIDTH, _TIFF_LENGTH = 256, 257
_TIFF_LENGTHS = {3: "H", 4: "I", 16: "Q"}
_MOST_BOXES = 4096


@dataclass(frozen=True)
class Kind:
    """A kind of picture.

    Attributes:
        name: For people.
        media_type: As the file is stored.
    """

    name: str
    media_type: str


JPEG = Kind("JPEG", "image/jpeg")
PNG = Kind("PNG", "image/png")
WEBP = Kind("WebP", "image/webp")
TIFF = Kind("TIFF", "image/tiff")
GIF = Kind("GIF", "image/gif")
BMP = Kind("BMP", "image/bmp")
HEIC = Kind("HEIC", "image/heic")
AVIF = Kind("AVIF", "image/avif")

_SIGNATURES = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"II+\x00", TIFF),
    (b"MM\x00+", TIFF),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"BM", BMP),
)


def kind_of(head: bytes) -> Kind | None:
    """The kind of a picture that begins with these bytes (256 are enough); None for no picture."""
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head[4:8] == b"ftyp":
        length = min(int.from_bytes(head[:4], "big"), 256)
        brands = {head[8:12], *(head[i : i + 4] for i in range(16, length, 4))}
        if brands & _AVIF:
            return AVIF
        if brands & _HEIF:
            return HEIC
    return None


def size_of(head: bytes, kind: Kind) -> Size | None:
    """Size of a picture whose first bytes these are; None where they do not say it."""
    try:
        return _SIZES[kind](head)
    except (struct.error, IndexError):
        return None


def _png(head: bytes) -> Size | None:
    width, height = struct.unpack_from(">II", head, 16)
    return (width, height) if head[12:16] == b"IHDR" else None


def _jpeg(head: bytes) -> Size | None:
    at = 2
    while True:
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _JPEG_BARE:
            at += 2
        elif marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        else:
            at += 2 + struct.unpack_from(">H", head, at + 2)[0]


def _gif(head: bytes) -> Size:
    width, height = struct.unpack_from("<HH", head, 6)
    return width, height


def _bmp(head: bytes) -> Size:
    (header,) = struct.unpack_from("<I", head, 14)
    if header == 12:
        width, height = struct.unpack_from("<HH", head, 18)
    else:
        width, height = struct.unpack_from("<ii", head, 18)
    return abs(width), abs(height)


def _webp(head: bytes) -> Size | None:
    chunk = head[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if chunk == b"VP8L":
        bits = struct.unpack_from("<I", head, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff(head: bytes) -> Size | None:
    order = "<" if head[:2] == b"II" else ">"
    big = 43 in head[2:4]
    start: int
    if big:
        start = struct.unpack_from(f"{order}Q", head, 8)[0]
        (count,), first, step = struct.unpack_from(f"{order}Q", head, start), start + 8, 20
    else:
        start = struct.unpack_from(f"{order}I", head, 4)[0]
        (count,), first, step = struct.unpack_from(f"{order}H", head, start), start + 2, 12
    found: dict[int, int] = {}
    for at in range(first, first + step * min(count, _MOST_BOXES), step):
        tag, kind = struct.unpack_from(f"{order}HH", head, at)
        if tag in (_TIFF_WIDTH, _TIFF_LENGTH) and kind in _TIFF_LENGTHS:
            found[tag] = struct.unpack_from(order + _TIFF_LENGTHS[kind], head, at + (12 if big else 8))[0]
    return (found[_TIFF_WIDTH], found[_TIFF_LENGTH]) if len(found) == 2 else None


def _iso(head: bytes) -> Size | None:
    """The largest picture that ``meta/iprp/ipco/ispe`` names: tiles of a grid are smaller than the whole."""
    largest: Size | None = None
    spans = [(0, len(head))]
    left = _MOST_BOXES
    while spans:
        at, end = spans.pop()
        while at + 8 <= end and left:
            left -= 1
            length, name = struct.unpack_from(">I4s", head, at)
            body = at + 8
            if length == 1:
                length, body = struct.unpack_from(">Q", head, body)[0], body + 8
            stop = min(at + length, end) if length else end
            if name == b"ispe":
                width, height = struct.unpack_from(">II", head, body + 4)
                if largest is None or width * height > largest[0] * largest[1]:
                    largest = (width, height)
            elif name in (b"meta", b"iprp", b"ipco"):
                spans.append((body + (4 if name == b"meta" else 0), stop))
            if stop <= at + 8:
                break
            at = stop
    return largest


_SIZES = {JPEG: _jpeg, PNG: _png, WEBP: _webp, TIFF: _tiff, GIF: _gif, BMP: _bmp, HEIC: _iso, AVIF: _iso}
