import base64
import hashlib
import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageCms

from maquette.errors import PhotoError, PhotoTooLarge, PhotoUnreadable
from maquette.settings import Settings
from maquette.types import Photo
from services.detector import colour
from services.detector.photo import load_photo

SETTINGS = Settings()
PICTURE = np.ascontiguousarray(skimage.data.astronaut()[:96, 150:278])
GREY = np.asarray(Image.fromarray(PICTURE).convert("L"))

# 32 × 16 pixels, the left half (200, 40, 40), the right half (40, 40, 200), made with libheif's encoder.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAAAA"
    "AERAAAEAAQAAAAABoAABAAAAAAAAALkAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/GlwcnAAAADc"
    "aXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQApQgEBA3AAAAMAkAAAAwAA"
    "AwAeoCCBBZbqrprm4CGgwIAAAAyAAAADAIRiAAEABkQBwXPBiQAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFw"
    "AAAAIAAAAAEAAAAQAAAAAf///+AAAAAC////0AAAAAIAAAAQcGl4aQAAAAADCAgIAAAAGGlwbWEAAAAAAAAAAQABBYECAwWEAAAAwW1kYXQAAAC1"
    "KAGvCchnsbY5I1d//89rH/8oZ6H7xW4rf/fdS+/gN9//qsT+U6/07tpE493HWHUzNZ13oXEQRVnc7zYsfrKyDuVsBqCFJmn6IoSXmDNfp5q5nYz7"
    "6hj3P0DDPYsrmOM2FfFg7VfnrmnhbHCwsnOXORwhon01C0BH+gDNOOhQzwxuZACL4GPQok/VTzQAG20fzHt8VBFNGpwtnmVjnLnI4Q0T6aWunxvx"
    "fyImVCUiNTHI1oSNeA=="
)


def encode(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, format=kind, **options)
    return buffer.getvalue()


def load(data: bytes, settings: Settings = SETTINGS) -> Photo:
    photo = load_photo(data, settings=settings)
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.flags.c_contiguous
    assert photo.pixels.shape[2:] == (3,)
    return photo


def difference(photo: Photo, expected: np.ndarray) -> float:
    if expected.ndim == 2:
        expected = np.dstack([expected] * 3)
    assert photo.pixels.shape == expected.shape
    return float(np.abs(photo.pixels.astype(int) - expected).mean())


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95}, 3),
        ("JPEG", {"quality": 95, "progressive": True}, 3),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 3),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
        ("AVIF", {"quality": 95}, 3),
        ("BMP", {}, 0),
        ("GIF", {}, 12),
    ],
)
def test_each_kind_is_read(kind: str, options: dict[str, object], tolerance: float) -> None:
    assert difference(load(encode(PICTURE, kind, **options)), PICTURE) <= tolerance


def test_heic_is_read() -> None:
    pixels = load(HEIC).pixels
    assert pixels.shape == (16, 32, 3)
    np.testing.assert_allclose(pixels[:, :12].mean((0, 1)), (200, 40, 40), atol=4)
    np.testing.assert_allclose(pixels[:, 20:].mean((0, 1)), (40, 40, 200), atol=4)


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(PICTURE, "PNG"))
    photo = load_photo(path, settings=SETTINGS)
    assert difference(photo, PICTURE) == 0
    assert photo.name == "photo.jpg"
    assert photo.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_photo(path, name="mine", settings=SETTINGS).name == "mine"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation_is_applied_once(kind: str, orientation: int) -> None:
    sideways = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](PICTURE)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind in ("JPEG", "AVIF") else {"lossless": True} if kind == "WEBP" else {}
    data = encode(np.ascontiguousarray(sideways), kind, exif=exif, **options)
    assert difference(load(data), PICTURE) < 4


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_absurd_orientation_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert difference(load(encode(PICTURE, "PNG", exif=exif)), PICTURE) == 0


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("L", "PNG"), ("L", "JPEG"), ("L", "TIFF"), ("LA", "PNG"), ("I", "TIFF"), ("F", "TIFF"), ("L", "AVIF")],
)
def test_grey_is_spread_over_the_channels(mode: str, kind: str) -> None:
    assert difference(load(encode(Image.fromarray(GREY).convert(mode), kind)), GREY) < 4


@pytest.mark.parametrize("mode", ["P", "1", "YCbCr", "LAB"])
def test_other_modes_become_rgb(mode: str) -> None:
    image = Image.fromarray(PICTURE).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    assert difference(load(encode(image, "TIFF")), expected) < 3


def test_sixteen_bits_are_scaled_to_eight() -> None:
    wide = PICTURE.astype(np.uint16) * 257
    grey = GREY.astype(np.uint16) * 257
    assert difference(load(cv2.imencode(".png", wide[..., ::-1])[1].tobytes()), PICTURE) == 0
    assert difference(load(cv2.imencode(".png", grey)[1].tobytes()), GREY) == 0
    assert difference(load(encode(grey, "TIFF")), GREY) == 0
    assert difference(load(cv2.imencode(".tiff", wide[..., ::-1])[1].tobytes()), PICTURE) == 0


@pytest.mark.parametrize("largest", [1.0, 255.0, 65535.0, 1e6])
def test_floating_point_is_scaled_by_its_range(largest: float) -> None:
    values = np.linspace(0, largest, 96 * 128, dtype=np.float32).reshape(96, 128)
    expected = np.round(values / largest * 255)
    assert difference(load(encode(values, "TIFF")), expected) < 0.51


def test_floating_point_that_is_no_number_is_black() -> None:
    values = np.full((8, 8), 0.5, np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    pixels = load(encode(values, "TIFF")).pixels
    assert pixels[0, :3].max() == 0
    assert pixels[1:].min() == pixels[1:].max() == 128


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted(kind: str) -> None:
    image = Image.fromarray(PICTURE).convert("CMYK")
    assert difference(load(encode(image, kind)), PICTURE) < 4


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_laid_over_grey(kind: str) -> None:
    alpha = np.full(PICTURE.shape[:2], 255, np.uint8)
    alpha[:32], alpha[32:64] = 0, 102
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    expected = PICTURE.astype(float)
    expected[:32] = 128
    expected[32:64] = 0.4 * PICTURE[32:64] + 0.6 * 128
    assert difference(load(encode(np.dstack([PICTURE, alpha]), kind, **options)), np.round(expected)) < 0.51


def test_a_transparent_palette_entry_is_laid_over_grey() -> None:
    image = Image.frombytes("P", (4, 4), bytes([1] * 8 + [0] * 8))
    image.putpalette([255, 0, 0, 0, 0, 255])
    pixels = load(encode(image, "PNG", transparency=0)).pixels
    assert (pixels[2:] == 128).all()
    assert (pixels[:2] == (0, 0, 255)).all()


def linear_profile() -> bytes:
    """An ICC profile with the primaries of sRGB and linear values (ICC.1:2001-04)."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    text = b"linear\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1.0, 0.8249),
        b"rXYZ": b"XYZ \0\0\0\0" + fixed(0.4360, 0.2225, 0.0139),
        b"gXYZ": b"XYZ \0\0\0\0" + fixed(0.3851, 0.7169, 0.0971),
        b"bXYZ": b"XYZ \0\0\0\0" + fixed(0.1431, 0.0606, 0.7139),
        **{t: b"curv\0\0\0\0" + struct.pack(">I", 0) for t in (b"rTRC", b"gTRC", b"bTRC")},
    }
    table, body = b"", b""
    for tag, data in tags.items():
        data += bytes(-len(data) % 4)
        table += tag + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data
    size = 128 + 4 + len(table) + len(body)
    header = struct.pack(
        ">I4sI4s4s4s12s4s", size, b"\0\0\0\0", 0x02400000, b"mntr", b"RGB ", b"XYZ ", bytes(12), b"acsp"
    )
    header = (header + bytes(28) + fixed(0.9642, 1.0, 0.8249)).ljust(128, b"\0")
    return header + struct.pack(">I", len(tags)) + table + body


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_colour_profiles_are_followed(kind: str) -> None:
    flat = np.full((64, 64, 3), 128, np.uint8)
    options = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    pixels = load(encode(flat, kind, icc_profile=linear_profile(), **options)).pixels
    # Linear 128/255 is 0.502, and 188/255 is what sRGB writes for it (IEC 61966-2-1).
    assert abs(float(pixels.mean()) - 188) < 1.5


def test_an_srgb_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert difference(load(encode(PICTURE, "PNG", icc_profile=profile)), PICTURE) < 0.5


@pytest.mark.parametrize(
    "profile",
    [
        b"x" * 400,
        linear_profile()[:200],
        linear_profile().replace(b"RGB ", b"CMYK"),
        linear_profile().replace(b"acsp", b"xxxx"),
    ],
)
def test_a_broken_profile_is_ignored(profile: bytes) -> None:
    assert difference(load(encode(PICTURE, "PNG", icc_profile=profile)), PICTURE) < 1


def test_a_profile_that_does_not_fit_the_picture_is_ignored() -> None:
    assert difference(load(encode(GREY, "PNG", icc_profile=linear_profile())), GREY) == 0


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "I;16", "F"])
def test_strips_join_without_a_seam(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(GREY).convert(mode) if mode in ("L", "F") else Image.fromarray(PICTURE)
    if mode == "I;16":
        image = Image.fromarray(GREY.astype(np.uint16) * 257)
    elif mode in ("RGBA", "P"):
        image = image.convert(mode)
    whole = colour.to_srgb(image)
    monkeypatch.setattr(colour, "_STRIP_PIXELS", 128 * 7)
    np.testing.assert_array_equal(colour.to_srgb(image), whole)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_of_several_frames_the_first_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (40, 30), c) for c in ((220, 30, 30), (30, 220, 30), (30, 30, 220))]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(load(data).pixels.mean((0, 1)), (220, 30, 30), atol=4)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_the_smallest_pictures_are_pictures(kind: str, size: tuple[int, int]) -> None:
    assert load(encode(Image.new("RGB", size, (9, 9, 9)), kind)).pixels.shape == (size[1], size[0], 3)


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"hello, I am a text",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj",
        b"PK\x03\x04" + bytes(60),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(80),
        b"RIFF\x24\0\0\0WAVEfmt " + bytes(40),
        b"\x89PNG\r\n",
        bytes(4096),
    ],
)
def test_what_is_no_picture_is_refused_with_the_kinds_that_are_read(data: bytes) -> None:
    with pytest.raises(PhotoUnreadable, match="expected JPEG, PNG, WebP, TIFF, HEIC, AVIF, BMP or GIF"):
        load(data)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    with pytest.raises(PhotoUnreadable, match=r"empty.jpg is empty"):
        load_photo(path, settings=SETTINGS)


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotoUnreadable, match="found nothing"):
        load_photo(tmp_path / "none.jpg", settings=SETTINGS)
    with pytest.raises(PhotoUnreadable, match="found a folder"):
        load_photo(tmp_path, settings=SETTINGS)
    # A pipe would be waited on for ever.
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(PhotoUnreadable, match="found something that is no file"):
        load_photo(tmp_path / "pipe.jpg", settings=SETTINGS)


KINDS = {
    "jpeg": encode(PICTURE, "JPEG"),
    "progressive": encode(PICTURE, "JPEG", progressive=True),
    "png": encode(PICTURE, "PNG"),
    "webp": encode(PICTURE, "WEBP"),
    "tiff": encode(PICTURE, "TIFF"),
    "lzw": encode(PICTURE, "TIFF", compression="tiff_lzw"),
    "avif": encode(PICTURE, "AVIF"),
    "gif": encode(PICTURE, "GIF"),
    "bmp": encode(PICTURE, "BMP"),
    "heic": HEIC,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_short_is_a_named_error(kind: str) -> None:
    whole = KINDS[kind]
    for length in np.linspace(4, len(whole) * 0.9, 25).astype(int):
        with pytest.raises(PhotoUnreadable) as error:
            load(whole[:length])
        assert "\n" not in str(error.value)
        assert " at 0x" not in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_file_is_a_photo_or_a_named_error(kind: str) -> None:
    rng = np.random.default_rng(7)
    for _ in range(25):
        data = bytearray(KINDS[kind])
        for position in rng.integers(0, len(data), rng.integers(1, 12)):
            data[position] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
        try:
            load(bytes(data))
        except PhotoError as error:
            assert "\n" not in str(error)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *extra: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(min((width + 1) * height, 10_000))))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "size", [(10_001, 10_000), (100_000, 100_000), (2**31 - 1, 2**31 - 1), (1, 70_000), (90_000, 1)]
)
def test_too_many_pixels_are_refused_before_decoding(size: tuple[int, int]) -> None:
    with pytest.raises(PhotoTooLarge):
        load(png(*size))


def test_the_limits_are_those_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encode(PICTURE, "PNG"))
    size = path.stat().st_size
    for source in (path, path.read_bytes()):
        with pytest.raises(PhotoTooLarge, match=rf"{size:,} bytes, at most {size - 1:,}"):
            load_photo(source, settings=Settings(max_bytes=size - 1))
        load_photo(source, settings=Settings(max_bytes=size, max_pixels=96 * 128))
        with pytest.raises(PhotoTooLarge, match=r"128 × 96 pixels, at most 12,287"):
            load_photo(source, settings=Settings(max_pixels=96 * 128 - 1))
    with pytest.raises(PhotoTooLarge, match="32 × 16 pixels"):
        load_photo(HEIC, settings=Settings(max_pixels=511))


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(50_000_000))),
        b"".join(chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(900_000))) for _ in range(100)),
    ],
    ids=["profile", "text"],
)
def test_metadata_that_unpacks_without_end_is_refused(extra: bytes) -> None:
    with pytest.raises(PhotoUnreadable):
        load(png(4, 4, extra))


def test_a_tiff_with_enormous_tiles_is_refused() -> None:
    data = bytearray(cv2.imencode(".tiff", PICTURE, [cv2.IMWRITE_TIFF_COMPRESSION, 8])[1].tobytes())
    offset = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[offset : offset + 2])[0]
    tags = [bytes(data[offset + 2 + 12 * k : offset + 14 + 12 * k]) for k in range(count)]
    tags += [struct.pack("<HHII", tag, 4, 1, 60_000) for tag in (322, 323)]
    tags.sort(key=lambda t: t[:2][::-1])
    directory = struct.pack("<H", len(tags)) + b"".join(tags) + bytes(4)
    data[4:8] = struct.pack("<I", len(data))
    with pytest.raises(PhotoTooLarge, match="60,000 × 60,000"):
        load(bytes(data) + directory)


def test_a_jpeg_with_thousands_of_passes_is_refused() -> None:
    data = encode(Image.new("RGB", (4000, 3000)), "JPEG", progressive=True)
    last = data.rfind(b"\xff\xda")
    with pytest.raises(PhotoTooLarge, match="passes over 4,000 × 3,000"):
        load(data[:-2] + data[last:-2] * 2000 + data[-2:])


def test_the_focal_length_comes_with_the_photo() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 26
    photo = load(encode(Image.new("RGB", (300, 400)), "JPEG", exif=exif))
    assert photo.focal_px == pytest.approx(26 / np.hypot(36, 24) * 500)
    assert load(encode(PICTURE, "JPEG")).focal_px is None


@pytest.mark.parametrize("length", range(0, 80, 5))
def test_a_damaged_exif_block_is_ignored(length: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    exif.get_ifd(0x8769)[0x920A] = (0, 0)
    block = exif.tobytes()
    assert difference(load(encode(PICTURE, "JPEG", quality=95, exif=block[:length])), PICTURE) < 3
    noise = bytes(np.random.default_rng(length).integers(0, 256, len(block) - 14, np.uint8))
    assert difference(load(encode(PICTURE, "JPEG", quality=95, exif=block[:14] + noise)), PICTURE) < 3
