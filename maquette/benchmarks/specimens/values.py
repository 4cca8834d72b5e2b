"""Pictures that are well-formed and unusual: sizes, depths, colour spaces, contents, animations."""

from functools import partial

import numpy as np
from PIL import Image

from maquette.benchmarks.specimens.containers import (
    gif,
    gif_frame,
    picture_tags,
    png,
    png_chunk,
    riff,
    riff_chunk,
    tiff,
)
from maquette.benchmarks.specimens.portraits import encode, frames, portrait, portrait_bytes, wide
from maquette.benchmarks.specimens.specimen import Case
from maquette.types import Float32, Float64

_SHAPES = ((1, 1), (2, 1), (1, 2), (3, 3), (7, 5), (2, 64), (64, 2), (1, 4_000), (4_000, 1))
_LONG_SHAPES = ((2, 30_000), (30_000, 2), (16, 16_000), (16_000, 16))
_SAVED = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "GIF": ".gif", "BMP": ".bmp", "AVIF": ".avif"}


def shapes() -> list[Case]:
    """Pictures of odd sizes and of nothing."""
    out = []
    for kind, suffix in _SAVED.items():
        for width, height in (*_SHAPES, *(_LONG_SHAPES if kind in ("JPEG", "PNG") else ())):
            name = f"{kind} of {width:,} × {height:,}"
            out.append(Case(name, suffix, partial(_flat, kind, width, height)))
    out += [Case(f"PNG of {w} × {h}", ".png", partial(png, w, h, b"\0\0\0\0")) for w, h in ((0, 0), (0, 1), (1, 0))]
    out += [Case(f"GIF of {w} × {h}", ".gif", partial(gif, w, h)) for w, h in ((0, 0), (0, 9), (9, 0), (9, 9))]
    out += [Case(f"TIFF of {w} × {h}", ".tif", partial(_small_tiff, w, h)) for w, h in ((0, 0), (0, 9), (9, 0))]
    return out


def contents() -> list[Case]:
    """Pictures of nothing, of noise, and of faces where nobody expects them."""
    plain = {"black": 0, "white": 255, "grey": 128}
    out = [
        Case(f"all {name}, {side} pixels", ".png", partial(_plain, value, side))
        for name, value in plain.items()
        for side in (64, 512, 2_000)
    ]
    out += [
        Case(f"{name}, {side} pixels", ".png", partial(make, side))
        for name, make in (("noise", _noise), ("stripes", _stripes), ("a ramp", _ramp), ("circles", _circles))
        for side in (64, 512, 1_500)
    ]
    out += [
        Case("a face of 12 pixels", ".png", lambda: encode(portrait(24), "PNG")),
        Case("a large face that is a blur", ".jpg", lambda: encode(portrait(16).resize((2_000, 2_000)), "JPEG")),
        Case("a face of 99 megapixels", ".jpg", lambda: encode(portrait().resize((9_900, 10_000)), "JPEG")),
        Case("a face in the corner of much black", ".jpg", lambda: encode(_in_corner(), "JPEG")),
        Case("a face upside down", ".jpg", lambda: encode(portrait().rotate(180), "JPEG")),
        Case("a face on its side", ".jpg", lambda: encode(portrait().rotate(90), "JPEG")),
        Case("a face in negative", ".jpg", lambda: encode(portrait().point(lambda v: 255 - v), "JPEG")),
        Case("half a face", ".jpg", lambda: encode(portrait().crop((80, 0, 160, 160)), "JPEG")),
        Case("a face drawn out sideways", ".jpg", lambda: encode(portrait().resize((640, 120)), "JPEG")),
        Case("a face drawn out upwards", ".jpg", lambda: encode(portrait().resize((120, 640)), "JPEG")),
        Case("a face under noise", ".png", lambda: encode(_noisy(), "PNG")),
        Case("a face almost black", ".png", lambda: encode(portrait().point(lambda v: v // 24), "PNG")),
        Case("a face almost white", ".png", lambda: encode(portrait().point(lambda v: 245 + v // 26), "PNG")),
        Case("a face in one colour", ".png", lambda: encode(portrait().convert("L").convert("1"), "PNG")),
        Case("a face behind bars", ".jpg", lambda: encode(_barred(), "JPEG")),
        Case("four hundred faces", ".jpg", lambda: encode(_crowd(20, 20), "JPEG")),
        Case("two thousand faces", ".jpg", lambda: encode(_crowd(50, 40), "JPEG")),
    ]  # fmt: skip
    return out


def depths() -> list[Case]:
    """Depths and colour spaces beyond 8-bit RGB."""
    out = [
        Case(f"PNG of {depth} bits, colour type {colour}", ".png", partial(_any_png, depth, colour))
        for depth in (0, 1, 2, 3, 4, 8, 16, 32, 255)
        for colour in (0, 2, 3, 4, 6, 1, 255)
        if depth in (1, 8, 16, 255) or colour in (0, 3)
    ]
    grey = np.asarray(portrait().convert("L"), np.float32)
    numbers: dict[str, Float32 | Float64] = {
        "from 0 to 1": grey / 255,
        "from 0 to 255": grey,
        "from 0 to 65,535": grey * 257,
        "up to 10³⁸": grey / np.float32(255) * np.float32(3e38),
        "below zero": -grey,
        "with NaN": np.where(grey > 200, np.float32(np.nan), grey),
        "with infinities": np.where(grey > 200, np.float32(np.inf), np.where(grey < 20, np.float32(-np.inf), grey)),
        "all NaN": np.full_like(grey, np.nan),
        "all infinite": np.full_like(grey, np.inf),
        "denormal": grey * np.float32(1e-42),
        "of 64 bits": grey.astype(np.float64),
    }
    out += [Case(f"TIFF of floats {name}", ".tif", partial(_float_tiff, values)) for name, values in numbers.items()]
    out += [
        Case(f"TIFF of {b} bits, format {f}", ".tif", partial(_int_tiff, b, f))
        for b in (1, 2, 4, 12, 16, 24, 32, 64)
        for f in (1, 2, 3)
    ]
    out += [
        Case(f"TIFF of {n} samples, colours {p}", ".tif", partial(_colour_tiff, n, p))
        for n in (1, 2, 3, 4, 5, 6, 8)
        for p in (0, 2, 3, 5, 6, 8, 32_803)
    ]
    out += [
        Case("16-bit TIFF", ".tif", lambda: encode(wide(np.asarray(portrait().convert("L"))), "TIFF")),
        Case("32-bit TIFF", ".tif", lambda: encode(_long(1 << 23), "TIFF")),
        Case("negative 32-bit TIFF", ".tif", lambda: encode(_long(-1), "TIFF")),
        Case("Lab TIFF", ".tif", lambda: encode(_lab(), "TIFF")),
        Case("YCbCr TIFF", ".tif", lambda: encode(portrait().convert("YCbCr"), "TIFF")),
        Case("CMYK TIFF", ".tif", lambda: encode(portrait().convert("CMYK"), "TIFF")),
        Case("YCCK JPEG", ".jpg", _ycck),
        Case("CMYK JPEG without Adobe's marker", ".jpg", lambda: _without_adobe(portrait_bytes("CMYK JPEG"))),
        Case("RGB JPEG", ".jpg", lambda: encode(portrait(), "JPEG", keep_rgb=True)),
        Case("wholly transparent PNG", ".png", lambda: _transparent("PNG")),
        Case("wholly transparent WebP", ".webp", lambda: _transparent("WEBP", lossless=True, exact=True)),
        Case("wholly transparent TIFF", ".tif", lambda: _transparent("TIFF")),
        Case("palette PNG without palette", ".png", lambda: png(9, 9, bytes(90), colour=3)),
        Case("palette PNG whose palette is too short", ".png", _short_palette),
        Case("PNG whose transparent colour is cut", ".png", lambda: _small_png(png_chunk(b"tRNS", b"\0"))),
        Case("PNG whose gamma is 0", ".png", lambda: _small_png(png_chunk(b"gAMA", bytes(4)))),
        Case("PNG with filters of no kind", ".png", lambda: png(9, 9, (b"\xff" + bytes(27)) * 9)),
    ]  # fmt: skip
    return out


def animations() -> list[Case]:
    """Animations and files of several pictures; the first picture is what is asked for."""
    blank = Image.new("RGB", portrait().size)
    small = portrait(40)
    series = {
        "of faces": frames(4),
        "that begins blank": [blank, *frames(3)],
        "that ends blank": [*frames(3), blank],
        "of one frame": frames(1),
        "of forty frames": frames(4) * 10,
        "whose frames are smaller": [portrait(), small, small],
    }
    out = []
    for name, pictures in series.items():
        for kind, suffix in (("GIF", ".gif"), ("WEBP", ".webp"), ("PNG", ".png"), ("AVIF", ".avif"), ("TIFF", ".tif")):
            if kind in ("WEBP", "AVIF") and name == "whose frames are smaller":
                continue
            out.append(Case(f"{kind} {name}", suffix, partial(_animation, kind, pictures)))
    for disposal in range(8):
        out.append(
            Case(
                f"GIF disposed of in way {disposal}",
                ".gif",
                partial(_animation, "GIF", frames(3), disposal=disposal % 4),
            )
        )
    out += [
        Case("GIF cut in its second frame", ".gif", partial(_part, "animated GIF", 0.5)),
        Case("GIF cut before its last frame", ".gif", partial(_part, "animated GIF", 0.75)),
        Case("GIF without a palette", ".gif", lambda: gif(9, 9, gif_frame(9, 9), flags=0, palette=b"")),
        Case("GIF of extensions only", ".gif", lambda: gif(9, 9, b"!\xf9\4\0\0\0\0\0" * 100)),
        Case("animated WebP without frames", ".webp", _frameless_webp),
        Case("animated WebP cut", ".webp", partial(_part, "animated WebP", 0.6)),
        Case("APNG cut after its first frame", ".png", partial(_part, "APNG", 0.6)),
        Case("AVIF sequence cut", ".avif", partial(_part, "AVIF sequence", 0.8)),
        Case("MPO whose second picture is cut", ".jpg", partial(_part, "MPO", 0.75)),
    ]  # fmt: skip
    return out


def _flat(kind: str, width: int, height: int) -> bytes:
    return encode(Image.new("RGB", (width, height), (200, 150, 120)), kind)


def _small_tiff(width: int, height: int) -> bytes:
    return tiff(picture_tags(width, height, length=99), data=bytes(99))


def _plain(value: int, side: int) -> bytes:
    return encode(Image.new("RGB", (side, side), (value,) * 3), "PNG")


def _noise(side: int) -> bytes:
    noise = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    return encode(Image.fromarray(noise), "PNG", compress_level=0)


def _stripes(side: int) -> bytes:
    return encode(Image.fromarray(np.tile(np.array([[0], [255]], np.uint8), (side // 2, side))), "PNG")


def _ramp(side: int) -> bytes:
    return encode(Image.linear_gradient("L").resize((side, side)), "PNG")


def _circles(side: int) -> bytes:
    y, x = np.mgrid[:side, :side]
    rings = 127 + 127 * np.sin(np.hypot(x - side / 2, y - side / 2) ** 2 / side)
    return encode(Image.fromarray(rings.astype(np.uint8)), "PNG")


def _in_corner() -> Image.Image:
    picture = Image.new("RGB", (6_000, 4_000))
    picture.paste(portrait(120), (5_870, 3_870))
    return picture


def _noisy() -> Image.Image:
    noise = np.random.default_rng(3).normal(0, 90, (*portrait().size, 3))
    return Image.fromarray(np.clip(np.asarray(portrait(), np.float64) + noise, 0, 255).astype(np.uint8))


def _barred() -> Image.Image:
    pixels = np.array(portrait())
    pixels[:, ::12] = pixels[:, 1::12] = pixels[:, 2::12] = 0
    return Image.fromarray(pixels)


def _crowd(columns: int, rows: int, side: int = 64) -> Image.Image:
    return Image.fromarray(np.tile(np.asarray(portrait(side)), (rows, columns, 1)))


def _any_png(depth: int, colour: int) -> bytes:
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    row = bytes([0]) + bytes(k * 7 % 256 for k in range((64 * samples * depth + 7) // 8))
    extra = (
        [png_chunk(b"PLTE", bytes(range(3 * min(256, 2 ** min(depth, 8))))[:768])] if colour == 3 and depth < 7 else []
    )
    return png(64, 64, row * 64, depth=depth, colour=colour, extra=extra)


def _float_tiff(values: Float32 | Float64) -> bytes:
    height, width = values.shape
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    tags = picture_tags(width, height, bits=(8 * values.itemsize,), photometric=1, length=len(data), form=3)
    return tiff(tags, data=data)


def _int_tiff(bits: int, form: int) -> bytes:
    data = np.random.default_rng(bits).bytes(64 * ((64 * bits + 7) // 8))
    return tiff(picture_tags(64, 64, bits=(bits,), photometric=1, length=len(data), form=form), data=data)


def _colour_tiff(samples: int, photometric: int) -> bytes:
    data = (np.asarray(portrait(64).convert("L"))[..., None] * np.ones(samples, np.uint8)).tobytes()
    return tiff(picture_tags(64, 64, bits=(8,) * samples, photometric=photometric, length=len(data)), data=data)


def _long(factor: int) -> Image.Image:
    return Image.fromarray(np.asarray(portrait().convert("L"), np.int32) * np.int32(factor))


def _small_png(extra: bytes) -> bytes:
    return png(9, 9, bytes(252), extra=[extra])


def _short_palette() -> bytes:
    return png(9, 9, (b"\0" + bytes(range(200, 209))) * 9, colour=3, extra=[png_chunk(b"PLTE", bytes(6))])


def _lab() -> Image.Image:
    return Image.merge("LAB", portrait().split())


def _ycck() -> bytes:
    """A CMYK JPEG that says that its inks are stored as luma and chroma."""
    data = portrait_bytes("CMYK JPEG")
    at = data.find(b"Adobe")
    return data[: at + 11] + b"\2" + data[at + 12 :]


def _without_adobe(data: bytes) -> bytes:
    at = data.find(b"Adobe")
    return data[:at] + b"xxxxx" + data[at + 5 :]


def _transparent(kind: str, **options: object) -> bytes:
    picture = portrait().convert("RGBA")
    picture.putalpha(0)
    return encode(picture, kind, **options)


def _part(name: str, fraction: float) -> bytes:
    data = portrait_bytes(name)
    return data[: int(fraction * len(data))]


def _frameless_webp() -> bytes:
    canvas = riff_chunk(b"VP8X", b"\2\0\0\0" + b"\x09\0\0" * 2)
    return riff(b"WEBP", canvas, riff_chunk(b"ANIM", bytes(6)))


def _animation(kind: str, pictures: list[Image.Image], **options: object) -> bytes:
    if kind == "AVIF":
        options |= {"speed": 9, "max_threads": 1}
    first, *others = pictures
    return encode(first, kind, save_all=True, append_images=others, duration=50, **options)
