"""Small files that claim, or unpack to, more than anybody wants."""

import struct
import zlib
from functools import partial
from itertools import pairwise

from maquette.benchmarks.specimens.containers import (
    BYTE,
    LONG,
    SHORT,
    Tag,
    bmp,
    gif,
    gif_frame,
    jpeg,
    jpeg_segments,
    jpeg_with,
    picture_tags,
    png,
    png_chunk,
    png_chunks,
    riff,
    riff_chunk,
    segment,
    tiff,
    zeros,
)
from maquette.benchmarks.specimens.portraits import encode, portrait, portrait_bytes
from maquette.benchmarks.specimens.specimen import Case

SIZES = (
    (100_000_000, 1),
    (1, 100_000_000),
    (65_535, 65_535),
    (20_000, 20_000),
    (2**31 - 1, 2**31 - 1),
    (2**32 - 1, 1),
)
"""Widths and heights beyond the limits, or within them and absurd."""

_UNPACKED = 1_000_000_000


def cases() -> list[Case]:
    """All bombs but those in boxes (see ``boxes``)."""
    return [*_declared(), *_png(), *_frames(), *_jpeg(), *_tiff()]


def _declared() -> list[Case]:
    """Files that only say that they are large."""
    out = []
    for width, height in SIZES:
        of = f"of {width:,} × {height:,}"
        out += [
            Case(f"PNG {of}", ".png", partial(png, width, height, bytes(99))),
            Case(f"interlaced PNG {of}", ".png", partial(png, width, height, bytes(99), interlace=1)),
            Case(f"TIFF {of}", ".tif", partial(_declared_tiff, width, height, None)),
            Case(f"TIFF {of} in rows of one", ".tif", partial(_declared_tiff, width, height, 1)),
        ]
    for width, height in (*SIZES[:4], (1, -(2**31)), (-5, 5), (9, -(2**20))):
        for bits, compression in ((24, 0), (8, 1)):
            name = f"{bits}-bit BMP of {width:,} × {height:,}"
            out.append(Case(name, ".bmp", partial(bmp, width, height, bytes(99), bits=bits, compression=compression)))
    for width, height in ((65_535, 65_535), (65_535, 1), (1, 65_535), (9_999, 9_999)):
        of = f"of {width:,} × {height:,}"
        out += [
            Case(f"GIF {of}", ".gif", partial(gif, width, height, gif_frame(width, height))),
            Case(f"JPEG {of}", ".jpg", partial(_declared_jpeg, width, height)),
        ]
    for width, height in ((16_384, 16_384), (2**24, 2**24), (2**24, 1), (9_999, 9_999)):
        out.append(Case(f"WebP of {width:,} × {height:,}", ".webp", partial(_declared_webp, width, height)))
    return out


def _png() -> list[Case]:
    return [
        Case("PNG that unpacks to 100 megapixels of black", ".png", _black_png),
        Case("PNG with much more pixels than declared", ".png", _overfull_png),
        Case("PNG with text that unpacks to much", ".png", partial(_packed_chunk, b"zTXt", b"Comment\0\0")),
        Case("PNG with foreign text that unpacks to much", ".png", partial(_packed_chunk, b"iTXt", b"Text\0\1\0\0\0")),
        Case("PNG with a profile that unpacks to much", ".png", partial(_packed_chunk, b"iCCP", b"ICC\0\0")),
        Case("PNG with a hundred texts of a megabyte", ".png", _many_texts),
        Case("PNG with a hundred thousand empty chunks", ".png", partial(_many_chunks, b"teSt")),
        Case("PNG with a hundred thousand empty pixel chunks", ".png", partial(_many_chunks, b"IDAT")),
        Case("PNG with a thousand palettes", ".png", partial(_many_chunks, b"PLTE", bytes(768), 1_000)),
        Case("PNG with much XMP", ".png", partial(_xmp_png, b"<a>" * 900_000)),
        Case("PNG with XMP that multiplies itself", ".png", lambda: _xmp_png(_multiplying_xml())),
        Case("APNG of four thousand million frames", ".png", partial(_apng, 2**32 - 1)),
        Case("APNG of no frames", ".png", partial(_apng, 0)),
    ]


def _frames() -> list[Case]:
    return [
        Case("GIF of fifty thousand frames", ".gif", lambda: gif(9, 9, gif_frame(1, 1) * 50_000)),
        Case("GIF of frames beyond its edge", ".gif", lambda: gif(9, 9, gif_frame(9, 9, left=65_000) * 1_000)),
        Case("GIF with a frame larger than itself", ".gif", lambda: gif(1, 1, gif_frame(65_535, 65_535))),
        Case("GIF with codes that never end", ".gif", lambda: gif(999, 999, gif_frame(999, 999, _endless_lzw()))),
        Case("GIF with a megabyte of comments", ".gif", lambda: gif(9, 9, b"!\xfe" + (b"\xff" + bytes(255)) * 4_000)),
        Case("WebP of ten thousand frames", ".webp", lambda: _animated_webp(16, 16, 10_000)),
        Case("WebP canvas of 9,999 × 9,999 round a small frame", ".webp", lambda: _animated_webp(9_999, 9_999, 2)),
        Case("WebP canvas of 16,384 × 16,384 round a small frame", ".webp", lambda: _animated_webp(16_384, 16_384, 1)),
    ]  # fmt: skip


def _jpeg() -> list[Case]:
    return [
        Case("JPEG of twenty thousand passes", ".jpg", partial(_many_passes, 20_000, None)),
        Case("JPEG of thousands of passes over 64 megapixels", ".jpg", partial(_many_passes, 5_000, 8_000)),
        Case("JPEG with ten thousand segments", ".jpg", lambda: _stuffed(segment(0xE5, b"x" * 40) * 10_000)),
        Case("JPEG with a thousand tables", ".jpg", lambda: _stuffed(segment(0xDB, b"\0" + b"\1" * 64) * 1_000)),
        Case("JPEG with a profile of 255 parts, all of them the last", ".jpg", lambda: _stuffed(_profile_parts())),
        Case("JPEG with megabytes of EXIF", ".jpg", lambda: _stuffed(segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 100)),
        Case("JPEG with restarts at each block", ".jpg", lambda: encode(portrait(), "JPEG", restart_marker_blocks=1)),
        Case("JPEG with a megabyte of fill bytes", ".jpg", lambda: _stuffed(b"\xff" * 1_000_000 + segment(0xFE, b""))),
        Case("JPEG that says it is many pictures", ".jpg", lambda: _stuffed(segment(0xE2, _picture_index(60_000)))),
        Case("JPEG whose second picture is itself", ".jpg", lambda: _stuffed(segment(0xE2, _picture_index(2)))),
    ]


def _tiff() -> list[Case]:
    return [
        Case("TIFF whose directory follows itself", ".tif", partial(_small_tiff, next_ifd=8)),
        Case("TIFF whose sub-directory is itself", ".tif", partial(_small_tiff, Tag(330, LONG, 8))),
        Case("TIFF whose EXIF is itself", ".tif", partial(_small_tiff, Tag(34665, LONG, 8))),
        Case("TIFF of ten thousand directories", ".tif", partial(_chained_tiff, 10_000, 0)),
        Case("TIFF whose directories go round", ".tif", partial(_chained_tiff, 20, 8)),
        Case("TIFF of 65,535 fields", ".tif", partial(_small_tiff, entries=65_535, more=bytes(800_000))),
        Case("TIFF of four thousand million strips", ".tif", partial(_small_tiff, Tag(273, LONG, 8, count=2**32 - 1))),
        Case("TIFF with a field of four gigabytes", ".tif", partial(_small_tiff, Tag(700, BYTE, 8, count=2**32 - 1))),
        Case("TIFF with fields that are its whole", ".tif", _overlapping_fields),
        Case("TIFF with 65,535 samples a pixel", ".tif", partial(_small_tiff, Tag(277, SHORT, 65_535))),
        Case("TIFF with tiles of a gigapixel", ".tif", partial(_tiled_tiff, 32_768)),
        Case("TIFF with tiles of one pixel", ".tif", partial(_tiled_tiff, 1)),
        Case("TIFF of 100 megapixels deflated", ".tif", lambda: _packed_tiff(8, zeros(300_000_000))),
        Case("TIFF of 100 megapixels in PackBits", ".tif", lambda: _packed_tiff(32773, b"\x81\0" * 2_360_000)),
        Case("TIFF with a strip that unpacks to more", ".tif", lambda: _packed_tiff(8, zeros(_UNPACKED), side=20)),
    ]


def _declared_tiff(width: int, height: int, rows: int | None) -> bytes:
    return tiff(picture_tags(width, height, length=99, rows=rows), data=bytes(99))


def _declared_jpeg(width: int, height: int) -> bytes:
    parts = jpeg_segments(portrait_bytes("grey JPEG"))
    size = struct.pack(">HH", height, width)
    return jpeg(p[:5] + size + p[9:] if p[1] in (0xC0, 0xC1, 0xC2) else p for p in parts)


def _declared_webp(width: int, height: int) -> bytes:
    canvas = b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    # Dimensions of 14 bits, after the signature and before the version.
    head = ((width - 1) & 0x3FFF) | ((height - 1) & 0x3FFF) << 14
    return riff(
        b"WEBP", riff_chunk(b"VP8X", canvas), riff_chunk(b"VP8L", b"\x2f" + struct.pack("<I", head) + bytes(99))
    )


def _black_png() -> bytes:
    return png(10_000, 10_000, zeros(10_000 * (1 + 30_000)), compressed=True)


def _overfull_png() -> bytes:
    return png(20, 20, zeros(_UNPACKED), compressed=True)


def _packed_chunk(name: bytes, start: bytes) -> bytes:
    return png(9, 9, bytes(252), extra=[png_chunk(name, start + zeros(_UNPACKED))])


def _many_texts() -> bytes:
    text = png_chunk(b"zTXt", b"Comment\0\0" + zeros(1_000_000))
    return png(9, 9, bytes(252), extra=[text] * 100)


def _many_chunks(name: bytes, data: bytes = b"", count: int = 100_000) -> bytes:
    return png(9, 9, bytes(252), extra=[png_chunk(name, data) * count])


def _xmp_png(xmp: bytes) -> bytes:
    chunk = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp))
    return png(9, 9, bytes(252), extra=[chunk])


def _multiplying_xml() -> bytes:
    """The billion laughs."""
    names = [b"l%d" % k for k in range(12)]
    entities = [b'<!ENTITY l0 "ha">']
    entities += [b'<!ENTITY %s "%s">' % (now, b"&%s;" % before * 10) for before, now in pairwise(names)]
    return b"<?xml version='1.0'?><!DOCTYPE x [" + b"".join(entities) + b"]><x>&l11;</x>"


def _apng(frames: int) -> bytes:
    parts = png_chunks(portrait_bytes("APNG"))
    control = png_chunk(b"acTL", struct.pack(">II", frames, 0))
    return portrait_bytes("APNG")[:8] + b"".join(control if p[4:8] == b"acTL" else p for p in parts)


def _endless_lzw() -> bytes:
    """GIF codes that clear the table and say nothing, over and over."""
    return b"\x08" + (b"\xff" + b"\x00\x01" * 127 + b"\x00") * 4_000 + b"\0"


def _animated_webp(width: int, height: int, frames: int) -> bytes:
    still = encode(portrait(16), "WEBP", lossless=True)[12:]
    canvas = b"\x02\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    frame = riff_chunk(b"ANMF", bytes(6) + (15).to_bytes(3, "little") * 2 + bytes(4) + still)
    return riff(b"WEBP", riff_chunk(b"VP8X", canvas), riff_chunk(b"ANIM", bytes(6)), frame * frames)


def _many_passes(count: int, side: int | None) -> bytes:
    """A progressive JPEG whose last pass is repeated."""
    parts = jpeg_segments(portrait_bytes("progressive JPEG"))
    if side is not None:
        size = struct.pack(">HH", side, side)
        parts = [p[:5] + size + p[9:] if p[1] == 0xC2 else p for p in parts]
    passes = [p for p in parts if p[1] == 0xDA]
    smallest = min(passes, key=len)
    return jpeg([*parts, smallest[:14] * count])


def _stuffed(added: bytes) -> bytes:
    return jpeg_with(portrait_bytes("grey JPEG"), added)


def _profile_parts() -> bytes:
    return b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes([255, 255]) + bytes(60_000)) for _ in range(255))


def _picture_index(count: int) -> bytes:
    """Index of a multi-picture file (CIPA DC-007) that promises more pictures than there are."""
    entries = struct.pack("<5I", 0x030000, 5_000, 0, 0, 0)
    tags = [
        Tag(0xB000, 7, b"0100"),
        Tag(0xB001, LONG, count),
        Tag(0xB002, 7, entries * min(count, 3_000), count=16 * count),
    ]
    return b"MPF\0" + tiff(tags)


def _small_tiff(*extra: Tag, next_ifd: int = 0, entries: int | None = None, more: bytes = b"") -> bytes:
    return tiff(
        picture_tags(20, 20, length=1_200, extra=extra),
        data=bytes(1_200),
        next_ifd=next_ifd,
        entries=entries,
        more=more,
    )


def _chained_tiff(count: int, back: int) -> bytes:
    """Directories of one field each behind a small picture; the last one leads ``back``."""
    first = _small_tiff()
    out = bytearray(_small_tiff(next_ifd=len(first)))
    for k in range(count):
        at = len(out)
        following = at + 18 if k + 1 < count else back
        out += struct.pack("<HHHII", 1, 254, LONG, 1, 0) + struct.pack("<I", following)
    return bytes(out)


def _overlapping_fields() -> bytes:
    tags = [Tag(700, BYTE, b"", count=60_000, offset=0), Tag(34377, BYTE, b"", count=60_000, offset=0)]
    tags += [Tag(40_000 + k, BYTE, b"", count=60_000, offset=0) for k in range(2_000)]
    return _small_tiff(*tags, more=bytes(60_000))


def _tiled_tiff(side: int) -> bytes:
    extra = [Tag(322, LONG, side), Tag(323, LONG, side), Tag(324, LONG, 8), Tag(325, LONG, 1_200)]
    tags = [t for t in picture_tags(9_999, 9_999, extra=extra) if t.number not in (273, 278, 279)]
    return tiff(tags, data=bytes(1_200))


def _packed_tiff(compression: int, packed: bytes, side: int = 10_000) -> bytes:
    return tiff(picture_tags(side, side, compression=compression, length=len(packed)), data=packed)
