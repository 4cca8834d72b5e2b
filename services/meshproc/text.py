"""Many numbers to text, quickly: digits are looked up in tables instead of being formatted one by one."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from maquette.errors import MeshInvalid

_GROUP = 3
_LARGEST = 10**6


def decimal_rows(keyword: bytes, values: NDArray[np.floating], decimals: int = 3) -> bytes:
    """Lines of a keyword and fixed-point numbers.

    Args:
        keyword: What each line begins with.
        values: (N, K), of a magnitude below a million.
        decimals: Digits after the point, a multiple of three.

    Returns:
        N lines of ASCII text.

    Raises:
        MeshInvalid: A value is not finite or too large.
    """
    assert decimals % _GROUP == 0
    if not np.isfinite(values).all() or (np.abs(values) >= _LARGEST).any():
        raise MeshInvalid(f"expected coordinates below {_LARGEST:g}, found a larger or undefined one")
    fixed = np.rint(np.abs(values).astype(np.float64) * 10**decimals).astype(np.int64)
    whole, rest = np.divmod(fixed, 10**decimals)
    sign = np.where((values < 0) & (fixed > 0), b"-", b"")
    columns: list[NDArray[np.bytes_] | bytes] = [keyword]
    wholes = _integers(whole)
    for k in range(values.shape[1]):
        columns += [b" ", sign[:, k], wholes[:, k], b"."]
        for place in range(decimals // _GROUP - 1, -1, -1):
            columns.append(_groups()[rest[:, k] // 10 ** (_GROUP * place) % 10**_GROUP])
    return _join([*columns, b"\n"], len(values))


def face_rows(corners: Sequence[NDArray[np.integer]]) -> bytes:
    """OBJ lines of faces, ``f v/vt/vn …``.

    Args:
        corners: Index lists of one shape (N, K), counted from zero; the second and third are optional.

    Returns:
        N lines of ASCII text, counted from one.
    """
    tokens = [_integers(c + 1) for c in corners]
    columns: list[NDArray[np.bytes_] | bytes] = [b"f"]
    for k in range(corners[0].shape[1]):
        for position, token in enumerate(tokens):
            columns += [b"/" if position else b" ", token[:, k]]
    return _join([*columns, b"\n"], len(corners[0]))


def _join(columns: Sequence[NDArray[np.bytes_] | bytes], count: int) -> bytes:
    """Rows of the columns put together; numpy pads shorter strings with zero bytes, which no line of text holds."""
    kinds = [(f"c{i}", f"S{len(c)}" if isinstance(c, bytes) else c.dtype) for i, c in enumerate(columns)]
    rows = np.empty(count, kinds)
    for (name, _), column in zip(kinds, columns, strict=True):
        rows[name] = column
    return rows.tobytes().translate(None, b"\0")


def _integers(values: NDArray[np.integer]) -> NDArray[np.bytes_]:
    table: NDArray[np.bytes_] = _table(int(values.max(initial=0)).bit_length())
    return np.asarray(table[values])


@lru_cache(maxsize=20)
def _table(bits: int) -> NDArray[np.bytes_]:
    return np.array([b"%d" % i for i in range(1 << bits)])


@lru_cache(maxsize=1)
def _groups() -> NDArray[np.bytes_]:
    return np.array([b"%03d" % i for i in range(10**_GROUP)])
