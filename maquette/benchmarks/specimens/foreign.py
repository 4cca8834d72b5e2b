"""Files that are something else than their names say."""

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial

import numpy as np

from maquette.benchmarks.specimens.containers import box, file_type, riff, riff_chunk
from maquette.benchmarks.specimens.portraits import PORTRAITS, encode, portrait, portrait_bytes
from maquette.benchmarks.specimens.specimen import Case

_SVG = (
    b"<svg xmlns='http://www.w3.org/2000/svg' width='99' height='99'><image href='file:///etc/passwd'/>"
    b"<script>alert(1)</script></svg>"
)
_POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n(%pipe%touch here) (w) file\nshowpage\n%%EOF\n"
_PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
_PROGRAMS = {
    "an ELF program": b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, 62, 1) + bytes(300),
    "a Windows program": b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(300),
    "a Mach-O program": b"\xcf\xfa\xed\xfe" + bytes(300),
    "a Java class": b"\xca\xfe\xba\xbe" + bytes(300),
    "a shell script": b"#!/bin/sh\ntouch here\n",
    "WebAssembly": b"\0asm\1\0\0\0",
}
_TEXTS = {
    "text": b"Dear reader,\n\nthis is no picture.\n" * 20,
    "one letter": b"B",
    "the letters BM": b"BM",
    "a line end": b"\n",
    "HTML": b"<!DOCTYPE html><html><body><h1>404 Not Found</h1></body></html>",
    "JSON": b'{"picture": null}',
    "SVG": _SVG,
    "SVGZ": b"\x1f\x8b",
    "PostScript": _POSTSCRIPT,
    "a PDF": _PDF,
    "UTF-16": "﻿no picture".encode("utf-16"),
    "an XBM": b"#define a_width 8\n#define a_height 8\nstatic char a_bits[] = {0,0,0,0,0,0,0,0};\n",
    "an XPM": b'/* XPM */\nstatic char *a[] = {"1 1 1 1", "a c #000000", "a"};\n',
    "base64": b"data:image/png;base64,iVBORw0KGgo=",
}
_STARTS = {
    "a gzip": zlib.compress(b"no picture", wbits=31),
    "an MP4": file_type(b"isom", b"mp42") + box(b"moov", bytes(400)),
    "an MOV": file_type(b"qt  ") + box(b"mdat", bytes(400)),
    "a RAW photo (CR3)": file_type(b"crx ", b"isom") + bytes(400),
    "a RAW photo (RAF)": b"FUJIFILMCCD-RAW " + bytes(400),
    "a sound": riff(b"WAVE", riff_chunk(b"fmt ", bytes(16)), riff_chunk(b"data", bytes(400))),
    "a film": riff(b"AVI ", riff_chunk(b"LIST", bytes(400))),
    "an MP3": b"ID3\4\0\0\0\0\0\0" + bytes(400),
    "Matroska": b"\x1a\x45\xdf\xa3" + bytes(400),
    "Photoshop": b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 9, 9, 8, 3) + bytes(400),
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(400),
    "a bare JPEG XL": b"\xff\x0a" + bytes(400),
    "OpenEXR": b"\x76\x2f\x31\x01" + bytes(400),
    "Radiance HDR": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 9 +X 9\n" + bytes(400),
    "a FITS": b"SIMPLE  =                    T" + b" " * 2_850,
    "a DICOM": bytes(128) + b"DICM" + bytes(400),
    "a Windows metafile": b"\xd7\xcd\xc6\x9a" + bytes(400),
    "a pickle that would run": b"cos\nsystem\n(S'touch here'\ntR.",
    "SQLite": b"SQLite format 3\0" + bytes(400),
    "a font": b"\0\1\0\0\0\x0c" + bytes(400),
    "an OLE file": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(400),
}
_OTHERS = ("JPEG2000", "ICO", "TGA", "PPM", "PCX", "SGI", "QOI", "DDS", "ICNS", "SPIDER", "MSP")
_SUFFIXES = (".jpg", ".png", ".webp", ".tif", ".heic", ".avif", ".gif", ".bmp")


def cases() -> list[Case]:
    """All of them."""
    bodies = _PROGRAMS | _TEXTS | _STARTS
    made: list[tuple[str, Callable[[], bytes]]] = [(name, partial(bytes, data)) for name, data in bodies.items()]
    made += [(f"a {kind} picture", partial(_encoded, kind)) for kind in _OTHERS]
    made += [
        ("a zip", _zip),
        ("a zip with a picture", partial(_zip, portrait_bytes("JPEG"))),
        ("an array", _array),
        ("arrays", _arrays),
        ("a tar", _tar),
        ("random bytes", partial(np.random.default_rng(2).bytes, 20_000)),
        ("a megabyte of zeros", partial(bytes, 1_000_000)),
        ("a megabyte of ones", partial(_ones, 1_000_000)),
    ]
    out = [Case(f"{name} as {s}", s, make) for k, (name, make) in enumerate(made) for s in _two(k)]
    names = list(PORTRAITS)
    for k, name in enumerate(names):
        suffix = PORTRAITS[names[(k + 7) % len(names)]][0]
        out.append(Case(f"{name} as {suffix}", suffix, partial(portrait_bytes, name)))
    for name in ("JPEG", "PNG", "AVIF"):
        out.append(Case(f"{name} as .txt", ".txt", partial(portrait_bytes, name)))
        out.append(Case(f"{name} behind a byte order mark", ".jpg", partial(_behind, b"\xef\xbb\xbf", name)))
        out.append(Case(f"{name} behind an HTTP header", ".jpg", partial(_behind, b"HTTP/1.1 200 OK\r\n\r\n", name)))
        out.append(Case(f"{name} sent as text", ".jpg", partial(_as_text, name)))
    return out


def _two(k: int) -> tuple[str, str]:
    return _SUFFIXES[k % len(_SUFFIXES)], _SUFFIXES[(k + 3) % len(_SUFFIXES)]


def _encoded(kind: str) -> bytes:
    picture = portrait(64)
    modes = {"MSP": "1", "SPIDER": "F"}
    return encode(picture.convert(modes.get(kind, "RGB")), kind)


def _zip(inside: bytes = bytes(1_000_000)) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("inside"), inside)
    return out.getvalue()


def _array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.asarray(portrait(64)))
    return out.getvalue()


def _arrays() -> bytes:
    array = io.BytesIO()
    np.save(array, np.arange(9))
    return _zip(array.getvalue())


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../outside"), io.BytesIO())
    return out.getvalue()


def _ones(count: int) -> bytes:
    return b"\xff" * count


def _behind(start: bytes, name: str) -> bytes:
    return start + portrait_bytes(name)


def _as_text(name: str) -> bytes:
    """What is left of a picture that was read as text and written with other line ends."""
    return portrait_bytes(name).decode("utf-8", errors="replace").replace("\n", "\r\n").encode()
