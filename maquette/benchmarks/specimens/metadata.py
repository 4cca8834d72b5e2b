"""Pictures that are good, with metadata that is not: EXIF and colour profiles."""

import struct
from functools import partial

import numpy as np
from PIL import ImageCms

from maquette.benchmarks.specimens.containers import (
    ASCII,
    DOUBLE,
    LONG,
    RATIONAL,
    SHORT,
    SRATIONAL,
    UNDEFINED,
    Tag,
    jpeg_with,
    picture_tags,
    png_chunk,
    png_chunks,
    riff,
    riff_chunk,
    segment,
    tiff,
)
from maquette.benchmarks.specimens.portraits import encode, portrait, portrait_bytes, srgb_profile
from maquette.benchmarks.specimens.specimen import Case

_EXIF_POINTER = 34665
_ORIENTATION, _FOCAL, _FOCAL_35MM = 0x0112, 0x920A, 0xA405
_RESOLUTION, _UNIT, _TAKEN_WIDTH, _TAKEN_HEIGHT = 0xA20E, 0xA210, 0xA002, 0xA003


def cases() -> list[Case]:
    """All of them."""
    return [*_exif(), *_profiles()]


def _exif() -> list[Case]:
    out = []
    for name, block in exif_blocks().items():
        out.append(Case(f"JPEG, EXIF: {name}", ".jpg", partial(_jpeg, block)))
        if len(block) < 5_000:
            out.append(Case(f"PNG, EXIF: {name}", ".png", partial(_png, b"eXIf", block)))
    for name in ("orientation 0", "orientation 6", "focal length NaN", "sub-directory is the directory"):
        out.append(Case(f"WebP, EXIF: {name}", ".webp", partial(_webp, exif_blocks()[name])))
        out.append(Case(f"AVIF, EXIF: {name}", ".avif", partial(_avif, exif_blocks()[name])))
    for value in (0, 5, 8, 9, 255, 65_535):
        out.append(Case(f"TIFF, orientation {value}", ".tif", partial(_tiff, Tag(_ORIENTATION, SHORT, value))))
    return out


def exif_blocks() -> dict[str, bytes]:
    """EXIF blocks by what is wrong with them."""
    numbers = {
        "NaN": (0, 0),
        "infinite": (50, 0),
        "zero": (0, 1),
        "largest": (2**32 - 1, 1),
        "tiny": (1, 2**32 - 1),
    }
    out = {
        f"orientation {value}": tiff([Tag(_ORIENTATION, SHORT, value)])
        for value in (0, 2, 3, 4, 5, 6, 7, 8, 9, 255, 65_535)
    }
    out |= {f"focal length {n}": _details(Tag(_FOCAL, RATIONAL, struct.pack("<II", *v))) for n, v in numbers.items()}
    out |= {
        f"focal plane {name}": _details(
            Tag(_FOCAL, RATIONAL, struct.pack("<II", 50, 1)), Tag(_RESOLUTION, RATIONAL, struct.pack("<II", *value))
        )
        for name, value in numbers.items()
    }
    out |= {
        "focal length negative": _details(Tag(_FOCAL, SRATIONAL, struct.pack("<ii", -50, 1))),
        "focal length of no bytes": _details(Tag(_FOCAL, RATIONAL, b"", count=0)),
        "focal length in words": _details(Tag(_FOCAL, ASCII, b"fifty\0")),
        "focal length not a number": _details(Tag(_FOCAL, DOUBLE, struct.pack("<d", float("nan")))),
        "focal lengths, many": _details(Tag(_FOCAL_35MM, SHORT, struct.pack("<99H", *range(99)))),
        "equivalent 0": _details(Tag(_FOCAL_35MM, SHORT, 0)),
        "equivalent 65,535": _details(Tag(_FOCAL_35MM, SHORT, 65_535)),
        "focal plane unit 99": _details(
            Tag(_FOCAL, RATIONAL, struct.pack("<II", 50, 1)),
            Tag(_RESOLUTION, RATIONAL, struct.pack("<II", 5_000, 1)),
            Tag(_UNIT, SHORT, 99),
        ),
        "taken 0 × 0": _details(Tag(_TAKEN_WIDTH, LONG, 0), Tag(_TAKEN_HEIGHT, LONG, 0), Tag(_FOCAL_35MM, SHORT, 50)),
        "taken 2³²−1 × 1": _details(
            Tag(_TAKEN_WIDTH, LONG, 2**32 - 1), Tag(_TAKEN_HEIGHT, LONG, 1), Tag(_FOCAL_35MM, SHORT, 50)
        ),
        "orientation in words": tiff([Tag(_ORIENTATION, ASCII, b"upright\0")]),
        "orientation as a fraction": tiff([Tag(_ORIENTATION, RATIONAL, struct.pack("<II", 6, 0))]),
        "orientation, many": tiff([Tag(_ORIENTATION, SHORT, b"\6\0" * 60_000)]),
        "sub-directory is the directory": tiff([Tag(_EXIF_POINTER, LONG, 8)]),
        "sub-directory outside": tiff([Tag(_EXIF_POINTER, LONG, 2**31)]),
        "sub-directory is a word": tiff([Tag(_EXIF_POINTER, ASCII, b"what\0")]),
        "directory follows itself": tiff([Tag(_ORIENTATION, SHORT, 6)], next_ifd=8),
        "65,535 fields": tiff([Tag(_ORIENTATION, SHORT, 6)], entries=65_535),
        "field outside": tiff([Tag(_ORIENTATION, SHORT, b"", count=60_000, offset=2**32 - 8)]),
        "field of four gigabytes": tiff([Tag(0x927C, UNDEFINED, b"", count=2**32 - 1, offset=8)]),
        "field of unknown type": tiff([Tag(_ORIENTATION, 99, b"\6\0\0\0", count=1)]),
        "field of type 0": tiff([Tag(_ORIENTATION, 0, b"\6\0\0\0", count=1)]),
        "one tag again and again": tiff([Tag(_ORIENTATION, SHORT, k % 9) for k in range(4_000)]),
        "places on earth that are none": tiff([Tag(34853, LONG, 8), Tag(2, RATIONAL, bytes(24))]),
        "big-endian": tiff([Tag(_ORIENTATION, SHORT, 6)], order=">"),
        "byte order of nobody": b"XX" + tiff([Tag(_ORIENTATION, SHORT, 6)])[2:],
        "header only": b"II*\0\x08\0\0\0",
        "half a header": b"II*",
        "empty": b"",
        "zeros": bytes(200),
        "random bytes": b"II*\0\x08\0\0\0" + np.random.default_rng(0).bytes(3_000),
    }
    return out


def _details(*tags: Tag) -> bytes:
    """An EXIF block with one sub-directory that directly follows the directory."""
    at = 8 + 2 + 12 + 4
    pointer = tiff([Tag(_EXIF_POINTER, LONG, at)])
    inner = tiff(tags)
    block = bytearray(inner[8:])
    for k, tag in enumerate(tags):
        if isinstance(tag.value, bytes) and len(tag.value) > 4 and tag.offset is None:
            field = 2 + 12 * k + 8
            offset = int.from_bytes(block[field : field + 4], "little") - 8 + at
            block[field : field + 4] = struct.pack("<I", offset)
    return pointer + bytes(block)


def _profiles() -> list[Case]:
    good = srgb_profile()
    bad = {
        "cut in half": good[: len(good) // 2],
        "header only": good[:128],
        "zeros": bytes(3_000),
        "random bytes": np.random.default_rng(1).bytes(3_000),
        "text": b"this is no profile " * 100,
        "of four gigabytes": struct.pack(">I", 2**32 - 1) + good[4:],
        "for CMYK": _with(good, 16, b"CMYK"),
        "for grey": _with(good, 16, b"GRAY"),
        "for Lab": _with(good, 16, b"Lab "),
        "for fifteen inks": _with(good, 16, b"FCLR"),
        "for nothing known": _with(good, 16, b"\0\0\0\0"),
        "of a link": _with(good, 12, b"link"),
        "of a named colour": _with(good, 12, b"nmcl"),
        "without its signature": _with(good, 36, b"xxxx"),
        "of version 99": _with(good, 8, b"\x63\0\0\0"),
        "of 2³²−1 tags": _with(good, 128, b"\xff\xff\xff\xff"),
        "of no tags": _with(good, 128, b"\0\0\0\0"),
        "whose tags lie outside": _scattered(good),
        "with curves of zeros": good[:400] + bytes(len(good) - 400),
        "with curves of ones": good[:400] + b"\xff" * (len(good) - 400),
        "to Lab": _lab_profile(),
        "of nine megabytes": good + bytes(9_000_000),
    }  # fmt: skip
    out = []
    for name, profile in bad.items():
        out.append(Case(f"JPEG, profile {name}", ".jpg", partial(_profiled, "JPEG", profile)))
        out.append(Case(f"PNG, profile {name}", ".png", partial(_profiled, "PNG", profile)))
    for name in ("for CMYK", "random bytes", "header only"):
        out.append(Case(f"CMYK JPEG, profile {name}", ".jpg", partial(_cmyk_profiled, bad[name])))
        out.append(Case(f"TIFF, profile {name}", ".tif", partial(_profiled, "TIFF", bad[name])))
        out.append(Case(f"WebP, profile {name}", ".webp", partial(_profiled, "WEBP", bad[name])))
    out.append(Case("PNG, profile without compression", ".png", partial(_png, b"iCCP", b"ICC\0\0" + good)))
    out.append(Case("PNG, profile without a name", ".png", partial(_png, b"iCCP", b"")))
    return out


def _with(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _scattered(profile: bytes) -> bytes:
    """The first ten tags moved to where there is nothing."""
    out = bytearray(profile)
    for at in range(132, 252, 12):
        out[at + 4 : at + 8] = b"\xff\xff\xff\0"
    return bytes(out)


def _lab_profile() -> bytes:
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    return _with(data, 24, struct.pack(">6H", 2000, 1, 1, 0, 0, 0))


def _profiled(kind: str, profile: bytes) -> bytes:
    return encode(portrait(96), kind, icc_profile=profile)


def _cmyk_profiled(profile: bytes) -> bytes:
    return encode(portrait(96).convert("CMYK"), "JPEG", icc_profile=profile)


def _jpeg(block: bytes) -> bytes:
    data = portrait_bytes("progressive JPEG")
    return jpeg_with(data, segment(0xE1, b"Exif\0\0" + block[:65_000]))


def _png(name: bytes, data: bytes) -> bytes:
    good = portrait_bytes("palette PNG")
    first, *others = png_chunks(good)
    return good[:8] + b"".join([first, png_chunk(name, data), *others])


def _webp(block: bytes) -> bytes:
    picture = encode(portrait(), "WEBP")[12:]
    canvas = b"\x08\0\0\0" + (portrait().width - 1).to_bytes(3, "little") * 2
    return riff(b"WEBP", riff_chunk(b"VP8X", canvas), picture, riff_chunk(b"EXIF", block))


def _avif(block: bytes) -> bytes:
    return encode(portrait(), "AVIF", speed=9, max_threads=1, exif=b"Exif\0\0" + block)


def _tiff(tag: Tag) -> bytes:
    pixels = portrait().tobytes()
    tags = picture_tags(portrait().width, portrait().height, length=len(pixels), extra=[tag])
    return tiff(tags, data=pixels)
