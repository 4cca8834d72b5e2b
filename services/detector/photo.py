"""Reading photos: from a file of any sort to upright 8-bit sRGB pixels."""

import hashlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import cv2
import numpy as np
import pi_heif
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from maquette.errors import PhotoTooLarge, PhotoUnreadable
from maquette.settings import Settings
from maquette.types import Photo, UInt8
from services.detector.colour import to_srgb
from services.detector.exif import read_exif
from services.detector.silence import silenced

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

MAX_SIDE = 65_535
"""Pixels along a side; no camera makes more, and decoders crawl through pictures one pixel wide."""

_TILE_WIDTH, _TILE_LENGTH = 322, 323
_BITS, _PLANES, _SEPARATE = 258, 284, 2
"""TIFF tags: size of a tile, BitsPerSample and PlanarConfiguration, and the latter's value for one plane a channel."""

_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
"""OpenCV's flip per EXIF orientation (1 left to right, 0 top to bottom, -1 both), after transposing for 5 to 8."""

_UNHEARD = logging.NullHandler()

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
        image = _open_heif(data, called, settings) if kind == "HEIF" else _open(data, kind, called, settings)
        if kind == "JPEG":
            _check_passes(data, image.size, called)
        _load(image)
        # After loading: Pillow turns TIFFs upright itself while it loads them, and then says so.
        exif = read_exif(image)
        pixels = _upright(to_srgb(image), 1 if kind == "HEIF" else exif.orientation)
    return Photo(pixels, exif.focal_px, called, hashlib.sha256(data).hexdigest())


def _read(source: Path | bytes, called: str, limit: int) -> bytes:
    """Contents of a file, or the bytes themselves, within the limit."""
    if isinstance(source, bytes):
        size, data = len(source), source
    else:
        try:
            if not source.is_file():
                found = "a folder" if source.is_dir() else "something that is no file" if source.exists() else "nothing"
                raise PhotoUnreadable(f"expected a photo at {source}, found {found}", photo=called)
            size = source.stat().st_size
            data = b""
            if size <= limit:
                with source.open("rb") as file:
                    # A file that grows meanwhile is not read for ever.
                    data = file.read(limit + 1)
        except OSError as error:
            raise PhotoUnreadable(f"cannot read {source}: {error.strerror or error}", photo=called) from error
    if max(size, len(data)) > limit:
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
    # Without a handler of anybody's, Python itself would print what Pillow logs.
    logging.getLogger("PIL").addHandler(_UNHEARD)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (PhotoTooLarge, PhotoUnreadable):
        raise
    except (MemoryError, Image.DecompressionBombError) as error:
        raise PhotoTooLarge(f"{called} is too large to decode", photo=called, kind=kind) from error
    except Exception as error:
        raise PhotoUnreadable(
            f"{called} looks like {kind} but is damaged or of a sort that cannot be read{_reason(error)}",
            photo=called,
            kind=kind,
        ) from error


def _reason(error: Exception) -> str:
    """What the decoder said, in brackets, where it said something that helps."""
    lines = str(error).strip().splitlines()
    if isinstance(error, UnidentifiedImageError) or not lines:
        return ""
    return f" ({lines[0].rstrip('.')[:200]})"


def _open(data: bytes, kind: str, called: str, settings: Settings) -> Image.Image:
    """Open a picture without decoding it."""
    image = Image.open(io.BytesIO(data), formats=[kind])
    _check_pixels(image.size, called, settings)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        # A tile is decoded whole, however little of it the picture covers.
        _check_pixels((int(tags.get(_TILE_WIDTH, 1)), int(tags.get(_TILE_LENGTH, 1))), called, settings)
        if tags.get(_PLANES, 1) == _SEPARATE and max(tags.get(_BITS, (8,))) > 8:
            # Pillow takes the low bytes for pixels of their own here.
            raise ValueError("more than 8 bits a channel in separate planes")
    return image


def _load(image: Image.Image) -> None:
    """Decode a picture; libtiff prints each damaged line."""
    with silenced() if any(t[0] == "libtiff" for t in getattr(image, "tile", ())) else nullcontext():
        image.load()


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
    if width * height > settings.max_pixels or max(width, height) > MAX_SIDE:
        raise PhotoTooLarge(
            f"{called} has {width:,} × {height:,} pixels, at most {settings.max_pixels:,} are read, and {MAX_SIDE:,} "
            "a side",
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
        pixels = np.asarray(cv2.transpose(pixels), np.uint8)
    flip = _FLIPS.get(orientation)
    return pixels if flip is None else np.asarray(cv2.flip(pixels, flip), np.uint8)
