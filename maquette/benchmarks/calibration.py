"""A fixed piece of work whose time says how fast a machine is at the moment.

Times of two machines, or of one machine on a busy and on a quiet day, can be compared as multiples of it. It is made of
the kinds of work that a reconstruction is made of, on one thread: dense linear algebra, warping and blurring pictures,
sorting and gathering, packing bytes, and plain Python. It takes about a second of a core of a present server.
"""

import time
import zlib

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

_ROUNDS = 5


def calibrate() -> float:
    """Wall seconds that the work takes now."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(limits=1):
            start = time.perf_counter()
            for k in range(_ROUNDS):
                work(k)
            return time.perf_counter() - start
    finally:
        cv2.setNumThreads(threads)


def work(seed: int) -> int:
    """One round of the work.

    Returns:
        A number that depends on all of it, the same for the same seed on the same libraries.
    """
    rng = np.random.default_rng(seed)
    a = rng.random((512, 512), np.float32)
    product = a @ a.T
    solved = np.linalg.solve(product[:384, :384].astype(np.float64) + np.eye(384), a[:384].astype(np.float64))
    picture = rng.integers(0, 256, (1024, 1024, 3), np.uint8)
    y, x = np.mgrid[:1024, :1024].astype(np.float32)
    warped = cv2.remap(picture, x + 3 * np.sin(y / 50), y + 3 * np.cos(x / 50), cv2.INTER_LINEAR)
    blurred = cv2.GaussianBlur(warped.astype(np.float32), (0, 0), 3)
    order = np.argsort(blurred[..., 0], axis=None, kind="stable")
    gathered = blurred.reshape(-1, 3)[order[::2]]
    packed = zlib.compress(np.asarray(gathered, np.uint8).tobytes()[:750_000], 6)
    total = 0
    for k in range(150_000):
        total = (total * 31 + k) & 0xFFFF
    return zlib.crc32(packed) ^ total ^ int(abs(float(solved.sum())))
