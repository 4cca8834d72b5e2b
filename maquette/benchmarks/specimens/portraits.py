"""The sample photo's face in every encoding that is read: what hostile files are made from."""

import io
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from maquette.benchmarks.specimens.containers import LONG, RATIONAL, SHORT, Tag, tiff
from maquette.demo import sample_photo
from maquette.types import UInt8

SIDE = 160
_FACE = (110, 0, 334, 224)
"""Square around the sample's face, pixels."""

HEIC_FILE = Path(__file__).with_name("portrait.heic")
"""Picture 1 of seed 7 of ``training.pictures``, 128 pixels. No encoder of this kind is under terms that this project
could carry."""


@cache
def portrait(side: int = SIDE) -> Image.Image:
    """The sample's face, (side, side) RGB."""
    with Image.open(sample_photo()) as whole:
        return whole.convert("RGB").crop(_FACE).resize((side, side), Image.Resampling.LANCZOS)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """A picture in one of Pillow's formats."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return _undated(out.getvalue()) if kind == "AVIF" else out.getvalue()


def _undated(data: bytes) -> bytes:
    """An AVIF sequence without the times at which it was made (ISO/IEC 14496-12: mvhd, tkhd, mdhd)."""
    out = bytearray(data)
    for name in (b"mvhd", b"tkhd", b"mdhd"):
        at = data.find(name)
        if at >= 0:
            # Two times of four bytes, or of eight in version 1, behind version and flags.
            length = 16 if data[at + 4] else 8
            out[at + 8 : at + 8 + length] = bytes(length)
    return bytes(out)


@cache
def srgb_profile() -> bytes:
    """A good colour profile, without its date."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    # The digest covers the date, and zero says that there is none.
    data[84:100] = bytes(16)
    return bytes(data)


@cache
def good_exif() -> bytes:
    """An EXIF block that says nothing wrong: upright, with a focal length."""
    focal = struct.pack("<II", 50, 1)
    tags = [Tag(274, SHORT, 1), Tag(282, RATIONAL, struct.pack("<II", 72, 1)), Tag(34665, LONG, 8 + 2 + 36 + 4 + 8)]
    return b"Exif\0\0" + tiff(tags, more=_directory([Tag(0x920A, RATIONAL, focal), Tag(0xA405, SHORT, 50)], 8 + 50))


def _directory(tags: list[Tag], at: int) -> bytes:
    """A directory for the end of a TIFF block, at an offset."""
    alone = tiff(tags)
    out = bytearray(alone[8:])
    for k, tag in enumerate(tags):
        if isinstance(tag.value, bytes) and len(tag.value) > 4:
            field = 2 + 12 * k + 8
            out[field : field + 4] = struct.pack("<I", int.from_bytes(out[field : field + 4], "little") - 8 + at)
    return bytes(out)


def wide(values: UInt8) -> Image.Image:
    """16-bit greyscale of 8-bit values."""
    return Image.fromarray(values.astype(np.uint16) * 257)


def frames(count: int = 4) -> list[Image.Image]:
    """Pictures of an animation, each a little darker."""
    return [portrait().point(lambda v, k=k: v * (count + 1 - k) // (count + 1)) for k in range(count)]


def _animated(kind: str, **options: object) -> bytes:
    first, *rest = frames()
    return encode(first, kind, save_all=True, append_images=rest, duration=100, loop=0, **options)


def _with_alpha() -> Image.Image:
    picture = portrait().convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return picture


def _grey() -> Image.Image:
    return portrait().convert("L")


PORTRAITS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "JPEG": (".jpg", lambda: encode(portrait(), "JPEG", exif=good_exif(), icc_profile=srgb_profile())),
    "progressive JPEG": (".jpg", lambda: encode(portrait(), "JPEG", progressive=True, subsampling=0)),
    "JPEG with restarts": (".jpg", lambda: encode(portrait(), "JPEG", restart_marker_rows=1)),
    "grey JPEG": (".jpeg", lambda: encode(_grey(), "JPEG")),
    "CMYK JPEG": (".jpg", lambda: encode(portrait().convert("CMYK"), "JPEG")),
    "MPO": (".jpg", lambda: encode(portrait(), "MPO", save_all=True, append_images=frames(2)[1:])),
    "PNG": (".png", lambda: encode(portrait(), "PNG", exif=good_exif(), icc_profile=srgb_profile())),
    "16-bit PNG": (".png", lambda: encode(wide(np.asarray(_grey())), "PNG")),
    "palette PNG": (".png", lambda: encode(portrait().quantize(64), "PNG", transparency=3)),
    "PNG with alpha": (".png", lambda: encode(_with_alpha(), "PNG")),
    "APNG": (".png", lambda: _animated("PNG")),
    "WebP": (".webp", lambda: encode(portrait(), "WEBP", exif=good_exif(), icc_profile=srgb_profile())),
    "lossless WebP": (".webp", lambda: encode(_with_alpha(), "WEBP", lossless=True, quality=0)),
    "animated WebP": (".webp", lambda: _animated("WEBP", quality=60, method=0)),
    "TIFF": (".tif", lambda: encode(portrait(), "TIFF", icc_profile=srgb_profile())),
    "deflated TIFF": (".tiff", lambda: encode(portrait(), "TIFF", compression="tiff_adobe_deflate")),
    "LZW TIFF": (".tif", lambda: encode(portrait(), "TIFF", compression="tiff_lzw")),
    "PackBits TIFF": (".tif", lambda: encode(portrait(), "TIFF", compression="packbits")),
    "JPEG TIFF": (".tif", lambda: encode(portrait(), "TIFF", compression="jpeg")),
    "fax TIFF": (".tif", lambda: encode(portrait().convert("1"), "TIFF", compression="group4")),
    "big TIFF": (".tif", lambda: encode(portrait(), "TIFF", big_tiff=True)),
    "paged TIFF": (".tif", lambda: encode(portrait(), "TIFF", save_all=True, append_images=frames(3)[1:])),
    "GIF": (".gif", lambda: encode(portrait(), "GIF")),
    "animated GIF": (".gif", lambda: _animated("GIF")),
    "BMP": (".bmp", lambda: encode(portrait(), "BMP")),
    "palette BMP": (".bmp", lambda: encode(_grey(), "BMP")),
    "AVIF": (".avif", lambda: encode(portrait(), "AVIF", quality=60, speed=9, max_threads=1, exif=good_exif())),
    "AVIF sequence": (".avif", lambda: _animated("AVIF", quality=40, speed=9, max_threads=1)),
    "HEIC": (".heic", HEIC_FILE.read_bytes),
}
"""Suffix and bytes of each, all with the same face; a viewer shows every one."""


@cache
def portrait_bytes(name: str) -> bytes:
    """Bytes of one of ``PORTRAITS``, made once."""
    return PORTRAITS[name][1]()
