"""Writing and taking apart picture files byte by byte, right or wrong as asked."""

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

PNG_START = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8"
JPEG_END = b"\xff\xd9"

SHORT, LONG, RATIONAL, ASCII, BYTE, UNDEFINED, SRATIONAL, DOUBLE = 3, 4, 5, 2, 1, 7, 10, 12
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def png_chunk(name: bytes, data: bytes, *, crc: int | None = None) -> bytes:
    """A PNG chunk, its checksum right unless given."""
    checksum = zlib.crc32(name + data) if crc is None else crc
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def png(
    width: int,
    height: int,
    pixels: bytes,
    *,
    depth: int = 8,
    colour: int = 2,
    interlace: int = 0,
    extra: Iterable[bytes] = (),
    compressed: bool = False,
) -> bytes:
    """A PNG file.

    Args:
        width: As declared.
        height: As declared.
        pixels: Filtered rows, however many.
        depth: Bits a sample.
        colour: Colour type.
        interlace: Interlace method.
        extra: Chunks before the pixels.
        compressed: The pixels are a zlib stream already.
    """
    header = struct.pack(">IIBBBBB", width & 0xFFFFFFFF, height & 0xFFFFFFFF, depth, colour, 0, 0, interlace)
    body = pixels if compressed else zlib.compress(pixels, 1)
    chunks = [png_chunk(b"IHDR", header), *extra, png_chunk(b"IDAT", body), png_chunk(b"IEND", b"")]
    return PNG_START + b"".join(chunks)


def png_chunks(data: bytes) -> list[bytes]:
    """The chunks of a good PNG, each with its length and checksum."""
    at, out = len(PNG_START), []
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        out.append(data[at:end])
        at = end
    return out


def png_with_checksums(data: bytes) -> bytes:
    """The same PNG with every checksum made right, as far as its chunk lengths still lead somewhere."""
    at, out = len(PNG_START), bytearray(data)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            break
        out[at + 8 + length : at + 12 + length] = struct.pack(">I", zlib.crc32(out[at + 4 : at + 8 + length]))
        at += 12 + length
    return bytes(out)


def zeros(count: int, *, before: bytes = b"") -> bytes:
    """A zlib stream of some bytes and many zeros, made without packing them all."""
    packer, block = zlib.compressobj(9, wbits=-15), 1 << 20
    start = packer.compress(before) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush nothing refers to what was before, so that what follows can be repeated.
    repeated = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    end = packer.compress(bytes(count % block)) + packer.flush()
    # Adler-32 (RFC 1950) is two sums: a zero leaves the first and adds the first to the second.
    first, second = (sums := zlib.adler32(before)) & 0xFFFF, sums >> 16
    checksum = (second + count * first) % 65_521 << 16 | first
    return b"\x78\xda" + start + repeated * (count // block) + end + struct.pack(">I", checksum)


def segment(marker: int, data: bytes, *, length: int | None = None) -> bytes:
    """A JPEG segment, its length right unless given."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2 if length is None else length) + data


def jpeg_segments(data: bytes) -> list[bytes]:
    """The parts of a good JPEG between its start and end: segments, each scan with its entropy-coded data."""
    at, out = 2, []
    while at + 4 <= len(data) and data[at + 1] != 0xD9:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDA:
            while end + 1 < len(data) and not (
                data[end] == 0xFF and data[end + 1] != 0 and not 0xD0 <= data[end + 1] <= 0xD7
            ):
                end += 1
        out.append(data[at:end])
        at = end
    return out


def jpeg(segments: Iterable[bytes]) -> bytes:
    """A JPEG of segments."""
    return JPEG_START + b"".join(segments) + JPEG_END


def jpeg_with(data: bytes, *added: bytes) -> bytes:
    """A good JPEG with segments put in front of its own."""
    return jpeg([*added, *jpeg_segments(data)])


@dataclass(frozen=True)
class Tag:
    """A TIFF field.

    Attributes:
        number: Its tag.
        type: Its type.
        value: Its bytes in the file's order, or a number of its type.
        count: How many values it says it has; worked out from the bytes when None.
        offset: Where it says its bytes are; they are put there when None.
    """

    number: int
    type: int
    value: bytes | int
    count: int | None = None
    offset: int | None = None


def tiff(
    tags: Sequence[Tag],
    *,
    data: bytes = b"",
    order: str = "<",
    next_ifd: int = 0,
    entries: int | None = None,
    more: bytes = b"",
) -> bytes:
    """A TIFF file, or the EXIF block that is one: header, one directory, long values, pixels.

    Args:
        tags: Fields; of one without value bytes for ``StripOffsets`` (273) the offset of ``data`` is filled in.
        data: Pixels.
        order: ``<`` or ``>``.
        next_ifd: Offset of the following directory, 8 being this one.
        entries: How many fields the directory says it has.
        more: Bytes at the end.
    """
    start = 8 + 2 + 12 * len(tags) + 4
    heap, fields = bytearray(), bytearray()
    long_values = sum(len(_value(t, order)) for t in tags if len(_value(t, order)) > 4)
    for tag in tags:
        value = _value(tag, order)
        if tag.number == 273 and tag.value == b"":
            value = struct.pack(order + "I", start + long_values)
        count = max(1, len(value) // _SIZES.get(tag.type, 1)) if tag.count is None else tag.count
        fields += struct.pack(order + "HHI", tag.number, tag.type, count & 0xFFFFFFFF)
        if tag.offset is not None:
            fields += struct.pack(order + "I", tag.offset)
        elif len(value) <= 4:
            fields += value.ljust(4, b"\0")
        else:
            fields += struct.pack(order + "I", start + len(heap))
            heap += value
    magic = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(order + "H", len(tags) if entries is None else entries) + bytes(fields)
    return (
        magic + struct.pack(order + "I", 8) + directory + struct.pack(order + "I", next_ifd) + bytes(heap) + data + more
    )


def picture_tags(
    width: int,
    height: int,
    *,
    bits: Sequence[int] = (8, 8, 8),
    compression: int = 1,
    photometric: int = 2,
    length: int = 0,
    rows: int | None = None,
    form: int | None = None,
    extra: Iterable[Tag] = (),
) -> list[Tag]:
    """The fields of a one-strip TIFF picture, little-endian, sorted by tag.

    Args:
        width: As declared.
        height: As declared.
        bits: Of each sample.
        compression: TIFF compression.
        photometric: TIFF colour space.
        length: Bytes of the strip.
        rows: Rows a strip; all of them when None.
        form: Sample format (1 unsigned, 2 signed, 3 float) if it is to be said.
        extra: More fields, or others in place of these.
    """
    tags = {
        256: Tag(256, LONG, width),
        257: Tag(257, LONG, height),
        258: Tag(258, SHORT, struct.pack(f"<{len(bits)}H", *bits)),
        259: Tag(259, SHORT, compression),
        262: Tag(262, SHORT, photometric),
        273: Tag(273, LONG, b""),
        277: Tag(277, SHORT, len(bits)),
        278: Tag(278, LONG, height if rows is None else rows),
        279: Tag(279, LONG, length),
    }
    if form is not None:
        tags[339] = Tag(339, SHORT, struct.pack(f"<{len(bits)}H", *[form] * len(bits)))
    tags |= {tag.number: tag for tag in extra}
    return [tags[number] for number in sorted(tags)]


def box(name: bytes, data: bytes = b"", *, size: int | None = None) -> bytes:
    """A box of an ISO base media file, its size right unless given."""
    return struct.pack(">I", (len(data) + 8 if size is None else size) & 0xFFFFFFFF) + name + data


def file_type(brand: bytes, *others: bytes) -> bytes:
    """The box that says what an ISO base media file is."""
    return box(b"ftyp", brand + bytes(4) + b"".join(others))


def riff(form: bytes, *chunks: bytes, size: int | None = None) -> bytes:
    """A RIFF file."""
    body = form + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def riff_chunk(name: bytes, data: bytes, *, size: int | None = None) -> bytes:
    """A chunk of a RIFF file, its length right unless given."""
    return name + struct.pack("<I", len(data) if size is None else size) + data + bytes(len(data) % 2)


def gif(width: int, height: int, *blocks: bytes, flags: int = 0x80, palette: bytes = bytes(6)) -> bytes:
    """A GIF file with a palette of two colours and some blocks."""
    return b"GIF89a" + struct.pack("<HHBBB", width, height, flags, 0, 0) + palette + b"".join(blocks) + b";"


def gif_frame(width: int, height: int, data: bytes = b"\x02\x02\x4c\x01\x00", *, left: int = 0, top: int = 0) -> bytes:
    """A frame of a GIF; its data says one pixel unless given."""
    return b"," + struct.pack("<HHHHB", left, top, width, height, 0) + data


def bmp(width: int, height: int, pixels: bytes, *, bits: int = 24, compression: int = 0, colours: int = 0) -> bytes:
    """A Windows bitmap."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(pixels), 2835, 2835, colours, 0)
    palette = bytes(4 * min(colours, 256))
    return (
        b"BM"
        + struct.pack("<IHHI", 54 + len(palette) + len(pixels), 0, 0, 54 + len(palette))
        + header
        + palette
        + pixels
    )


def seams(data: bytes) -> list[int]:
    """Offsets at which a good picture's parts begin, whatever its kind; the most interesting places to cut."""
    found = {0, len(data), *range(1, min(len(data), 64))}
    if data.startswith(PNG_START):
        at = len(PNG_START)
        for chunk in png_chunks(data):
            found |= {at, at + 4, at + 8, at + len(chunk) - 4}
            at += len(chunk)
    elif data.startswith(JPEG_START):
        at = 2
        for part in jpeg_segments(data):
            found |= {at, at + 2, at + 4}
            at += len(part)
    elif data.startswith(b"RIFF"):
        at = 12
        while at + 8 <= len(data):
            found |= {at, at + 4, at + 8}
            at += (
                8
                + int.from_bytes(data[at + 4 : at + 8], "little")
                + int.from_bytes(data[at + 4 : at + 5], "little") % 2
            )
    elif data[4:8] == b"ftyp":
        found |= set(_boxes(data, 0, len(data)))
    elif data[:2] in (b"II", b"MM"):
        ifd = int.from_bytes(data[4:8], "little" if data[:2] == b"II" else "big")
        found |= {ifd + 2 + 12 * k + j for k in range(24) for j in (0, 4, 8)}
    return sorted(k for k in found if 0 <= k <= len(data))


def _boxes(data: bytes, at: int, end: int) -> Iterator[int]:
    while at + 8 <= end:
        size = int.from_bytes(data[at : at + 4], "big")
        name = data[at + 4 : at + 8]
        yield from (at, at + 4, at + 8)
        if name in (b"meta", b"iprp", b"ipco", b"iinf", b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            skip = {b"meta": 12, b"iinf": 14}.get(name, 8)
            yield from _boxes(data, at + skip, min(end, at + size))
        if size < 8:
            return
        at += size


def _value(tag: Tag, order: str) -> bytes:
    if isinstance(tag.value, bytes):
        return tag.value
    form = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B"}.get(tag.type, "I")
    return struct.pack(order + form, tag.value)
