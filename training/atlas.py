"""The texture atlas: the flattened skin on top, a strip with everything else below."""

import numpy as np
import xatlas
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_MARGIN = 0.004
_STRIP = 0.195


class Atlas:
    """Texture coordinates under construction.

    Attributes:
        uv: Blocks of (N, 2) coordinates in 0..1.
        quads: Blocks of (Q, 4) indices into all of ``uv``.
    """

    def __init__(self) -> None:
        self._uv: list[Array] = []
        self._quads: list[Index] = []
        self._count = 0

    def add(self, uv: Array, quads: Index) -> None:
        """Append a block; ``quads`` index its own rows."""
        self._uv.append(uv)
        self._quads.append(quads + self._count)
        self._count += len(uv)

    def finish(self) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """All coordinates and quads.

        Raises:
            ValueError: A coordinate leaves 0..1.
        """
        uv = np.concatenate(self._uv)
        if uv.min() < 0 or uv.max() > 1:
            raise ValueError(f"texture coordinates leave 0..1: {uv.min():.4f} to {uv.max():.4f}")
        return uv.astype(np.float32), np.concatenate(self._quads).astype(np.int32)


def skin_uv(half_uv: Array, quads: Index, mirror: Index, half_quads: int) -> tuple[Array, Index]:
    """Coordinates of the welded skin from the flattening of its left half.

    Args:
        half_uv: (N, 2) plane coordinates of the left half's vertices, x = 0 on the front midline.
        quads: (Q, 4) of the welded skin, the left half's first.
        mirror: (V,) mirror vertex of each welded vertex.
        half_quads: How many quads are the left half's.

    Returns:
        (T, 2) coordinates in 0..1 and (Q, 4) indices; vertices on the seam have one on each side.
    """
    n, total = len(half_uv), len(mirror)
    plane = np.zeros((total, 2))
    plane[:n] = half_uv
    plane[n:] = half_uv[mirror[n:]] * [-1, 1]
    middle = np.flatnonzero(mirror[:n] == np.arange(n))
    scale = np.abs(half_uv).max()
    seam = middle[half_uv[middle, 0] > 1e-3 * scale]
    plane[np.setdiff1d(middle, seam), 0] = 0
    other = np.arange(total)
    other[seam] = total + np.arange(len(seam))
    plane = np.concatenate([plane, plane[seam] * [-1, 1]])
    uv_quads = quads.copy()
    uv_quads[half_quads:] = other[quads[half_quads:]]
    low, high = plane.min(0), plane.max(0)
    room = np.array([1 - 2 * _MARGIN, 1 - _STRIP - 2 * _MARGIN])
    factor = (room / (high - low)).min()
    uv = (plane - [0, high[1]]) * factor + [0.5, 1 - _MARGIN]
    return uv, uv_quads


def disk_uv(uv: Array, slot: int) -> Array:
    """Place a unit-disk layout in one of the strip's round slots: 0, 1 eyes, 2 mouth, 3, 4 eye sockets."""
    radius = (0.09, 0.09, 0.062, 0.045, 0.045)[slot]
    centre = np.array(((0.098, 0.098), (0.288, 0.098), (0.45, 0.098), (0.565, 0.14), (0.565, 0.046))[slot])
    return np.asarray(centre + radius * uv, np.float64)


def boxed_uv(points: Array, quads: Index, mirror: Index) -> tuple[Array, Index, Index]:
    """Cut and pack a closed or tangled part (xatlas) into the right end of the strip.

    Args:
        points: (N, 3).
        quads: (Q, 4); triangles repeat their last corner.
        mirror: (N,) mirror vertex, so that a quad and its mirror image are split alike.

    Returns:
        Coordinates, their quads, and the quads of the mesh: those that a chart border cuts are split in two triangles.
    """
    real = quads[:, 2] != quads[:, 3]
    first, second = quads[:, :3], quads[real][:, [0, 2, 3]]
    atlas = xatlas.Atlas()
    atlas.add_mesh(points.astype(np.float32), np.concatenate([first, second]).astype(np.uint32))
    pack = xatlas.PackOptions()
    pack.resolution = 1024
    pack.padding = 3
    atlas.generate(pack_options=pack)
    _, index, uv = atlas[0]
    index = index.astype(np.int64)
    uv = uv * [atlas.width, atlas.height]
    room = np.array([0.385, _STRIP - 2 * _MARGIN])
    uv = (uv - uv.min(0)) * (room / np.ptp(uv, axis=0)).min()
    a, b = index[: len(quads)], np.full((len(quads), 3), -1)
    b[real] = index[len(quads) :]
    whole = real & (a[:, 0] == b[:, 0]) & (a[:, 2] == b[:, 1])
    place = {tuple(sorted(q)): i for i, q in enumerate(quads.tolist())}
    twin = np.array([place.get(tuple(sorted(q)), i) for i, q in enumerate(mirror[quads].tolist())])
    whole &= whole[twin]
    split = real & ~whole
    mesh = np.concatenate([quads[~split], quads[split][:, [0, 1, 2, 2]], quads[split][:, [0, 2, 3, 3]]])
    joined = np.c_[a, np.where(whole, b[:, 2], a[:, 2])]
    uv_quads = np.concatenate([joined[~split], a[split][:, [0, 1, 2, 2]], b[split][:, [0, 1, 2, 2]]])
    return uv + [0.612, _MARGIN], uv_quads, mesh
