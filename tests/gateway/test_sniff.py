"""What files are and how large their pictures, by their first bytes: as Pillow finds it when it reads all of them."""

import io
import random
import struct
from importlib.resources import files

import pi_heif
import pytest
from PIL import Image

from gateway.sniff import AVIF, BMP, GIF, HEIC, JPEG, PNG, TIFF, WEBP, Kind, kind_of, size_of

SIZE = (123, 77)


def encoded(kind: str, size: tuple[int, int] = SIZE, mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(file, kind, **options)
    return file.getvalue()


def jpeg_with_a_lot_before() -> bytes:
    plain = encoded("JPEG")
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", 60_002) + bytes(60_000) for _ in range(5))
    return plain[:2] + segments + b"\xff\xff" + plain[2:]


FILES: dict[str, tuple[Kind, bytes]] = {
    "jpeg": (JPEG, encoded("JPEG")),
    "progressive jpeg": (JPEG, encoded("JPEG", progressive=True)),
    "grey jpeg": (JPEG, encoded("JPEG", mode="L")),
    "jpeg after much else": (JPEG, jpeg_with_a_lot_before()),
    "png": (PNG, encoded("PNG")),
    "gif": (GIF, encoded("GIF")),
    "bmp": (BMP, encoded("BMP")),
    "lossy webp": (WEBP, encoded("WEBP", quality=50)),
    "lossless webp": (WEBP, encoded("WEBP", lossless=True)),
    "extended webp": (WEBP, encoded("WEBP", mode="RGBA", exif=b"Exif\0\0")),
    "avif": (AVIF, encoded("AVIF")),
    "tiff, directory last": (TIFF, encoded("TIFF")),
    "big tiff": (TIFF, encoded("TIFF", big_tiff=True)),
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_what_they_are(name: str) -> None:
    kind, data = FILES[name]
    assert kind_of(data) == kind_of(data[:256]) == kind
    assert size_of(data, kind) == Image.open(io.BytesIO(data)).size == SIZE


def test_heic_is_known_with_the_size_of_the_whole_picture() -> None:
    data = files("maquette.benchmarks").joinpath("specimens/portrait.heic").read_bytes()
    assert kind_of(data) is HEIC
    width, height = size_of(data, HEIC) or (0, 0)
    assert sorted((width, height)) == sorted(pi_heif.open_heif(data).size)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"<svg/>",
        b"%PDF-1.7",
        b"PK\x03\x04",
        b"#!/bin/sh\n",
        b"MZ" + bytes(100),
        b"RIFF\0\0\0\0WAVE",
        b"\0\0\0\x18ftypisom\0\0\0\0isommp42",
        b"\0\0\0\x18ftypqt  ",
        b"\x7fELF",
    ],
)
def test_what_is_no_picture_is_none(data: bytes) -> None:
    assert kind_of(data) is None


@pytest.mark.parametrize("name", FILES)
def test_cut_files_have_a_size_or_none_but_never_raise(name: str) -> None:
    kind, data = FILES[name]
    sizes = {size_of(data[:end], kind) for end in range(0, min(len(data), 600))}
    assert sizes <= {None, SIZE}


def test_hostile_bytes_never_raise_and_take_no_time() -> None:
    draw = random.Random(5)
    for kind, data in FILES.values():
        for _ in range(300):
            changed = bytearray(data[:2000])
            for _ in range(draw.randint(1, 12)):
                changed[draw.randrange(len(changed))] = draw.choice((0, 1, 0x7F, 0xFF, draw.randrange(256)))
            size_of(bytes(changed), kind)
    box = struct.pack(">I4s", 8, b"meta")
    assert size_of(b"\0\0\0\x10ftypheic\0\0\0\0" + box * 100_000, HEIC) is None
    nested = b"".join(struct.pack(">I4sI", 0, b"meta", 0) for _ in range(50_000))
    assert size_of(nested, HEIC) is None
