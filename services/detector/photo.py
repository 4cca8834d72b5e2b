"""Reading photos: from a file of any sort to upright 8-bit sRGB pixels."""

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pi_heif
from PIL import Image

from maquette.errors import PhotoTooLarge, PhotoUnreadable
from maquette.settings import Settings
from maquette.types import Photo, UInt8
from services.detector.colour import to_srgb
from services.detector.exif import read_exif

KINDS = "JPEG, PNG, WebP, TIFF, HEIC, AVIF, BMP or GIF"

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
)
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}

_MAX_SCAN_PIXELS = 4_000_000_000
"""Pixels times passes of a progressive JPEG: a small file with thousands of passes takes minutes to decode."""


def load_photo(source: Path | bytes, *, name: str | None = None, settings: Settings) -> Photo:
    """Read a photo.

    What the file is, its content says, never its name. Of an animation or a file of several pages the first picture is
    taken. Limits hold before anything is decoded.

    Args:
        source: A file, or its bytes.
        name: What messages call it; the file's name when None.
        settings: Limits.

    Returns:
        The photo: orientation applied, sRGB, metadata dropped but for the focal length.

    Raises:
        PhotoTooLarge: Beyond ``max_bytes`` or ``max_pixels``.
        PhotoUnreadable: No picture, damaged, or of a kind that is not read.
    """
    called = name or (source.name if isinstance(source, Path) else "photo")
    data = _read(source, called, settings.max_bytes)
    kind = _kind(data, called)
    with _contained(called, kind):
        image = _open_heif(data, called, settings) if kind == "HEIF" else _open(data, kind)
        _check_pixels(image.size, called, settings)
        if kind == "JPEG":
            _check_passes(data, image.size, called)
        image.load()
        # After loading: Pillow turns TIFFs upright itself while it loads them, and then says so.
        exif = read_exif(image)
        pixels = _upright(to_srgb(image), 1 if kind == "HEIF" else exif.orientation)
    return Photo(pixels, exif.focal_px, called, hashlib.sha256(data).hexdigest())


def _read(source: Path | bytes, called: str, limit: int) -> bytes:
    if isinstance(source, Path):
        if not source.is_file():
            found = "a folder" if source.is_dir() else "something that is no file" if source.exists() else "nothing"
            raise PhotoUnreadable(f"expected a photo at {source}, found {found}", photo=called)
        try:
            with source.open("rb") as file:
                data = file.read(limit + 1)
                size = max(len(data), source.stat().st_size)
        except OSError as error:
            raise PhotoUnreadable(f"cannot read {source}: {error.strerror or error}", photo=called) from error
    else:
        data, size = source, len(source)
    if size > limit:
        raise PhotoTooLarge(f"{called} has {size:,} bytes, at most {limit:,} are read", photo=called, bytes=size)
    if not data:
        raise PhotoUnreadable(f"{called} is empty, expected {KINDS}", photo=called)
    return data


def _kind(data: bytes, called: str) -> str:
    """Pillow's name of the format, or HEIF."""
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        length = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[8:12], *(data[k : k + 4] for k in range(16, length, 4))}
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIF_BRANDS:
            return "HEIF"
    raise PhotoUnreadable(f"{called} is no picture of a known kind, expected {KINDS}", photo=called)


@contextmanager
def _contained(called: str, kind: str) -> Iterator[None]:
    """Turn whatever a decoder raises into named errors, and keep its warnings to ourselves.

    Decoders meet hostile data with nearly every exception there is, so all are caught here.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (PhotoTooLarge, PhotoUnreadable):
        raise
    except (MemoryError, Image.DecompressionBombError) as error:
        raise PhotoTooLarge(f"{called} is too large to decode", photo=called, kind=kind) from error
    except Exception as error:
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise PhotoUnreadable(
            f"{called} looks like {kind} but is damaged or of a sort that cannot be read ({reason})",
            photo=called,
            kind=kind,
        ) from error


def _open(data: bytes, kind: str) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=[kind])


def _open_heif(data: bytes, called: str, settings: Settings) -> Image.Image:
    """Open the primary picture of a HEIF file; libheif turns it upright itself."""
    heif = pi_heif.open_heif(data, convert_hdr_to_8bit=True)
    _check_pixels(heif.size, called, settings)
    picture = heif[heif.primary_index].to_pillow()
    assert isinstance(picture, Image.Image)
    return picture


def _check_pixels(size: tuple[int, int], called: str, settings: Settings) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise PhotoUnreadable(f"{called} has no pixels ({width} × {height})", photo=called)
    if width * height > settings.max_pixels:
        raise PhotoTooLarge(
            f"{called} has {width:,} × {height:,} pixels, at most {settings.max_pixels:,} are read",
            photo=called,
            width=width,
            height=height,
        )


def _check_passes(data: bytes, size: tuple[int, int], called: str) -> None:
    """Refuse a JPEG whose passes over the picture would take minutes (start-of-scan markers count them)."""
    passes = data.count(b"\xff\xda")
    if passes * size[0] * size[1] > _MAX_SCAN_PIXELS:
        raise PhotoTooLarge(
            f"{called} has {passes:,} passes over {size[0]:,} × {size[1]:,} pixels", photo=called, passes=passes
        )


def _upright(pixels: UInt8, orientation: int) -> UInt8:
    """Apply an EXIF orientation to (H, W, 3) pixels."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
