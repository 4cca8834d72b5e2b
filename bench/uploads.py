"""How fast photos get through HTTP into the store."""

import hashlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from bench.figures import Figure, median

LEAST_MB_S = 200.0

_SIDE = 2800
_PHOTOS = 16
_BOUNDARY = "------------------------maquette-bench"
_PIECE = 1 << 20
_ANSWER_S = 60.0


def write_noise(folder: Path, seed: int) -> Path:
    """Write a photo of about 23.5 MB (10⁶ bytes), near the default limit of 25 MB, that nothing can pack."""
    pixels = np.random.default_rng(seed).integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
    path = folder / f"noise-{seed}.png"
    Image.fromarray(pixels).save(path, compress_level=0)
    return path


def measure_uploads(url: str, folder: Path, rounds: int) -> Figure:
    """Send sixteen large photos at once, and write the same bytes to the same disk, by turns; the first does not count.

    Args:
        url: Of a gateway without a worker, whose store is a folder.
        folder: On the same disk.
        rounds: Requests that count.
    """
    photos = [write_noise(folder, seed).read_bytes() for seed in range(2)]
    body = _form([photos[k % 2] for k in range(_PHOTOS)])
    size = sum(len(photos[k % 2]) for k in range(_PHOTOS)) * 1e-6
    sent, written = [], []
    for number in range(rounds + 1):
        direct = size / _write(photos, folder)
        through = size / _send(url, body)
        if number:
            sent.append(through)
            written.append(direct)
    beside = {
        "requests": rounds,
        "mb_a_request": size,
        "hashed_and_written_in_process_mb_s": median(written),
    }
    return Figure("uploads to the file store", "MB/s", median(sent), least=LEAST_MB_S, values=sent, beside=beside)


def _form(photos: Sequence[bytes]) -> bytes:
    parts = []
    for number, photo in enumerate(photos):
        named = f'Content-Disposition: form-data; name="photos"; filename="noise-{number}.png"'
        parts += [f"--{_BOUNDARY}\r\n{named}\r\nContent-Type: image/png\r\n\r\n".encode(), photo, b"\r\n"]
    return b"".join([*parts, f"--{_BOUNDARY}--\r\n".encode()])


def _send(url: str, body: bytes) -> float:
    """Seconds from the first byte to the answer that the head is accepted, its photos being on the disk."""
    parts = urlsplit(url)
    assert parts.port is not None
    head = (
        f"POST /v1/heads HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((parts.hostname, parts.port), _ANSWER_S) as line:
        start = time.perf_counter()
        line.sendall(head.encode())
        line.sendall(body)
        answer = line.recv(_PIECE)
        took = time.perf_counter() - start
        while line.recv(_PIECE):
            pass
    if not answer.startswith(b"HTTP/1.1 202 "):
        raise RuntimeError(f"expected 202, found {answer[:500]!r}")
    return took


def _write(photos: Sequence[bytes], folder: Path) -> float:
    """Seconds to hash as many bytes and have them on the disk, a file for each photo, without a gateway."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        start = time.perf_counter()
        for number in range(_PHOTOS):
            photo = photos[number % 2]
            hashing = threading.Thread(target=hashlib.sha256, args=(photo,))
            hashing.start()
            descriptor = os.open(Path(name, str(number)), os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                file.write(photo)
                os.fsync(file.fileno())
            hashing.join()
        return time.perf_counter() - start
