"""HEIC and AVIF files whose boxes are wrong."""

import struct
from functools import partial

from maquette.benchmarks.specimens.bombs import SIZES
from maquette.benchmarks.specimens.containers import box, file_type
from maquette.benchmarks.specimens.portraits import portrait_bytes
from maquette.benchmarks.specimens.specimen import Case

_BRANDS = {"heic": file_type(b"heic", b"mif1", b"heic"), "avif": file_type(b"avif", b"mif1", b"miaf")}
_CODES = {"heic": b"hvc1", "avif": b"av01"}
_BASES = {"heic": "HEIC", "avif": "AVIF"}


def cases() -> list[Case]:
    """All of them."""
    out = []
    for kind, start in _BRANDS.items():
        suffix, title = f".{kind}", kind.upper()
        bodies = {
            "nothing": b"",
            "zeros": bytes(5_000),
            "ones": b"\xff" * 5_000,
            "text": b"Lorem ipsum dolor sit amet. " * 200,
            "a hundred thousand boxes": box(b"free") * 100_000,
            "an empty meta box": box(b"meta", bytes(4)),
            "two meta boxes": portrait_bytes(_BASES[kind]) + portrait_bytes(_BASES[kind])[len(start) :],
            "no picture among its items": _meta(kind, primary=9),
            "an item that lies outside": _meta(kind, extent=(2**31, 2**31)),
            "an item that is the whole file": _meta(kind, extent=(0, 2**32 - 1)),
            "an item of a million extents": _meta(kind, extents=60_000),
            "an item that is its own thumbnail": _meta(kind, references=box(b"thmb", struct.pack(">3H", 1, 1, 1))),
            "an item made of itself": _meta(kind, code=b"grid", references=box(b"dimg", struct.pack(">3H", 1, 1, 1))),
            "a grid of 256 × 256": _grid(kind),
            "a picture that is turned a thousand times": _meta(kind, properties=box(b"irot", b"\1") * 120),
            "a crop to nothing": _meta(kind, properties=box(b"clap", struct.pack(">8I", 0, 1, 0, 1, 0, 1, 0, 1))),
            "a crop by nothing": _meta(kind, properties=box(b"clap", struct.pack(">8I", 9, 0, 9, 0, 9, 0, 9, 0))),
            "a broken colour box": _meta(kind, properties=box(b"colr", b"prof" + bytes(4))),
            "a wrong bit depth": _meta(kind, properties=box(b"pixi", bytes(4) + b"\xff" * 256)),
        }
        for depth in (50, 5_000):
            bodies[f"boxes that lie {depth:,} deep"] = _nested(depth)
        for size in (0, 1, 7, 2**31, 2**32 - 1):
            bodies[f"a box that says it has {size:,} bytes"] = box(b"meta", bytes(100), size=size)
        for width, height in SIZES:
            bodies[f"{width:,} × {height:,} pixels"] = _meta(kind, width=width, height=height)
        out += [Case(f"{title} with {name}", suffix, partial(_join, start, body)) for name, body in bodies.items()]
    out += [
        Case(f"HEIC that says it is {brand.decode()}", ".heic", partial(_renamed, brand))
        for brand in (b"mif1", b"hevc", b"msf1", b"avif", b"avis", b"crx ", b"isom", b"\0\0\0\0")
    ]
    out += [
        Case(f"AVIF that says it is {brand.decode()}", ".avif", partial(_renamed, brand, "AVIF"))
        for brand in (b"mif1", b"heic", b"hevc", b"avis", b"mp42")
    ]
    return out


def _join(start: bytes, body: bytes) -> bytes:
    return start + body


def _renamed(brand: bytes, base: str = "HEIC") -> bytes:
    data = portrait_bytes(base)
    length = int.from_bytes(data[:4], "big")
    return file_type(brand) + data[length:]


def _nested(depth: int) -> bytes:
    out = bytearray()
    for k in range(depth):
        out += struct.pack(">I4s", 8 * (depth - k), b"moov" if k else b"meta")
    return bytes(out)


def _meta(
    kind: str,
    *,
    primary: int = 1,
    extent: tuple[int, int] = (400, 50),
    extents: int = 1,
    references: bytes = b"",
    code: bytes | None = None,
    properties: bytes = b"",
    width: int = 64,
    height: int = 64,
) -> bytes:
    """Boxes of a file with one picture of which everything but the pixels is there."""
    handler = box(b"hdlr", bytes(8) + b"pict" + bytes(13))
    item = box(b"infe", b"\2\0\0\0" + struct.pack(">HH", 1, 0) + (code or _CODES[kind]) + b"\0")
    items = box(b"iinf", bytes(4) + struct.pack(">H", 1) + item)
    places = struct.pack(">II", *extent) * extents
    where = box(b"iloc", bytes(4) + b"\x44\x00" + struct.pack(">HHHH", 1, 1, 0, extents) + places)
    size = box(b"ispe", bytes(4) + struct.pack(">II", width, height))
    count = 1 + properties.count(b"irot") + sum(properties.count(n) for n in (b"clap", b"colr", b"pixi"))
    uses = bytes(range(1, count + 1))
    links = box(b"ipma", bytes(4) + struct.pack(">IHB", 1, 1, count) + uses)
    related = box(b"iref", bytes(4) + references) if references else b""
    shape = box(b"iprp", box(b"ipco", size + properties) + links)
    first = box(b"pitm", bytes(4) + struct.pack(">H", primary))
    return box(b"meta", bytes(4) + handler + first + items + where + related + shape) + box(b"mdat", bytes(500))


def _grid(kind: str) -> bytes:
    """A grid that says it has 65,536 tiles, all of them one item."""
    grid = b"\0\1\xff\xff" + struct.pack(">II", 2**24, 2**24)
    tiles = box(b"dimg", struct.pack(">HH", 1, 65_535) + struct.pack(">H", 2) * 65_535)
    return _meta(kind, code=b"grid", references=tiles, extent=(len(grid), 12)) + box(b"mdat", grid * 50)
