"""Good pictures made bad: cut, flipped, overwritten, put together wrongly."""

import numpy as np

from maquette.benchmarks.specimens.containers import (
    PNG_START,
    jpeg,
    jpeg_segments,
    png_chunks,
    png_with_checksums,
    seams,
)
from maquette.benchmarks.specimens.portraits import PORTRAITS, portrait_bytes

Mutation = tuple[str, str, bytes]
"""What was done, the file's suffix and its bytes."""

_EXTREMES = {
    1: (0, 1, 0x7F, 0x80, 0xFF),
    2: (0, 1, 0x7FFF, 0x8000, 0xFFFF),
    4: (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF),
    8: (0, 1, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF),
}
_NAMES = tuple(PORTRAITS)


def cut(rng: np.random.Generator) -> Mutation:
    """A picture that ends too early: at a seam, near one, or anywhere."""
    name = _pick(rng)
    data = portrait_bytes(name)
    inner = seams(data)[1:-1]
    place = rng.random()
    if place < 0.45:
        at = int(rng.choice(inner))
    elif place < 0.6:
        at = int(np.clip(rng.choice(inner) + rng.integers(-3, 4), 1, len(data) - 1))
    elif place < 0.75:
        # What is missing of an almost complete file is what tolerant decoders let through.
        at = len(data) - int(rng.integers(1, 1 + len(data) // 8))
    else:
        at = int(rng.integers(1, len(data)))
    end = rng.random()
    if end < 0.8:
        return f"{name} cut at {at:,} of {len(data):,}", PORTRAITS[name][0], data[:at]
    if end < 0.9:
        return f"{name} zero from {at:,}", PORTRAITS[name][0], data[:at] + bytes(len(data) - at)
    lost = min(len(data) - at, int(rng.integers(1, 64)))
    return f"{name} without {lost} bytes at {at:,}", PORTRAITS[name][0], data[:at] + data[at + lost :]


def flipped(rng: np.random.Generator) -> Mutation:
    """A picture with bits flipped, mostly in what comes before its pixels."""
    name = _pick(rng)
    changed, told = flip(portrait_bytes(name), rng)
    return f"{name}, {told}", PORTRAITS[name][0], changed


def flip(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Flip bits of any file; the checksums of a PNG are put right again half the time, so that decoders get to see it.

    Returns:
        The bytes and what was done.
    """
    if not data:
        return b"\0", "one zero byte"
    out = bytearray(data)
    count = int(rng.choice([1, 2, 4, 16, 64, 256]))
    front = min(len(out), int(rng.choice([16, 64, 512, len(out)])))
    for at in rng.integers(0, front, count):
        out[at] ^= 1 << int(rng.integers(8))
    told = f"{count} {'bit' if count == 1 else 'bits'} flipped in {front:,} bytes"
    if data.startswith(PNG_START) and rng.random() < 0.5:
        out[: len(PNG_START)] = PNG_START
        return png_with_checksums(bytes(out)), told + ", checksums right"
    return bytes(out), told


def overwritten(rng: np.random.Generator) -> Mutation:
    """A picture with a number in it changed to the smallest, the largest or a negative one of its size."""
    name = _pick(rng)
    out = bytearray(portrait_bytes(name))
    told = []
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        size = int(rng.choice([1, 2, 4, 8]))
        at = int(rng.choice(seams(bytes(out)))) + int(rng.integers(0, 3)) * size
        at = min(at, len(out) - size)
        value = int(rng.choice(np.array(_EXTREMES[size], dtype=object)))
        out[at : at + size] = value.to_bytes(size, "little" if rng.random() < 0.5 else "big")
        told.append(f"{value:#x} at {at:,}")
    data = bytes(out)
    if data.startswith(PNG_START) and rng.random() < 0.7:
        data = png_with_checksums(data)
    return f"{name}, {', '.join(told)}", PORTRAITS[name][0], data


def spliced(rng: np.random.Generator) -> Mutation:
    """A picture whose parts are missing, doubled, in another order, or another picture's."""
    name = _pick(rng)
    data = portrait_bytes(name)
    suffix = PORTRAITS[name][0]
    way = int(rng.integers(5))
    if way == 0:
        other = _pick(rng)
        start = int(rng.choice(seams(data)[1:]))
        return f"start of {name} on end of {other}", suffix, data[:start] + portrait_bytes(other)[start:]
    if way == 1:
        other = _pick(rng)
        return f"{other} behind {name}", suffix, data + portrait_bytes(other)
    if way == 2:
        start, end = sorted(int(k) for k in rng.choice(seams(data), 2, replace=False))
        repeated = data[start:end] * int(rng.integers(2, 50))
        return (
            f"{name}, bytes {start:,} to {end:,} again and again",
            suffix,
            data[:end] + repeated[:2_000_000] + data[end:],
        )
    if way == 3:
        start, end = sorted(int(k) for k in rng.choice(seams(data), 2, replace=False))
        return f"{name} without bytes {start:,} to {end:,}", suffix, data[:start] + data[end:]
    return _reordered(name, data, suffix, rng)


def _reordered(name: str, data: bytes, suffix: str, rng: np.random.Generator) -> Mutation:
    if data.startswith(PNG_START):
        parts = png_chunks(data)
        order = rng.permutation(len(parts))
        return f"{name}, chunks in another order", suffix, PNG_START + b"".join(parts[k] for k in order)
    if data.startswith(b"\xff\xd8"):
        parts = jpeg_segments(data)
        order = rng.permutation(len(parts))
        return f"{name}, segments in another order", suffix, jpeg(parts[k] for k in order)
    size = int(rng.choice([16, 256, 4096]))
    blocks = [data[k : k + size] for k in range(0, len(data), size)]
    order = np.arange(len(blocks))
    order[1:] = rng.permutation(order[1:])
    return f"{name}, blocks of {size:,} in another order", suffix, b"".join(blocks[k] for k in order)


def noise_after_start(rng: np.random.Generator) -> Mutation:
    """The first bytes of a picture and noise."""
    name = _pick(rng)
    kept = int(rng.choice([4, 12, 32, 128]))
    length = int(rng.choice([1, 100, 10_000]))
    start = portrait_bytes(name)[:kept]
    return f"{kept} bytes of {name} and noise", PORTRAITS[name][0], start + rng.bytes(length)


def _pick(rng: np.random.Generator) -> str:
    return _NAMES[int(rng.integers(len(_NAMES)))]
