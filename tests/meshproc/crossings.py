"""Where does a surface pass through itself? Another way to find out than the room's, in double precision."""

import numpy as np


def crossings(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(N, 3) ends of edges, and triangles that they go through without having a corner in common.

    Two triangles that pass through each other have such an edge; coplanar overlaps have none and are not found.

    Args:
        vertices: (V, 3) mm.
        triangles: (F, 3).
    """
    points = vertices.astype(np.float64)
    first, second = _near(points[triangles])
    found = []
    for one, other in ((first, second), (second, first)):
        for k in range(3):
            ends = np.stack([triangles[one, k], triangles[one, k - 1]], 1)
            apart = ~(triangles[other][:, :, None] == ends[:, None, :]).any((1, 2))
            ends, face = np.sort(ends[apart], 1), other[apart]
            through = _through(points[ends].transpose(1, 0, 2), points[triangles[face]].transpose(1, 0, 2))
            found.append(np.concatenate([ends[through], face[through, None]], 1))
    return np.unique(np.concatenate(found), axis=0)


def _through(ends: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(N,) bool, whether a segment leads from one side of a triangle to the other, inside its outline."""
    a, b = ends
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    sides = [np.einsum("nc,nc->n", p - corners[0], normal) for p in (a, b)]
    volumes = np.stack([np.einsum("nc,nc->n", corners[k] - a, np.cross(corners[k - 2] - a, b - a)) for k in range(3)])
    return (sides[0] * sides[1] < 0) & ((volumes > 0).all(0) | (volumes < 0).all(0))


def _near(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of triangles whose boxes overlap: hashed by cells of their own size, where smaller ones look them up."""
    low, high = corners.min(1), corners.max(1)
    level = np.ceil(np.log2(np.maximum((high - low).max(1), 0.25))).astype(int)
    count, pairs = len(corners), []
    for size in np.unique(level):
        own_key, own = _cells(low, high, np.flatnonzero(level == size), 2.0**size)
        key, small = _cells(low, high, np.flatnonzero(level <= size), 2.0**size)
        order = np.argsort(key, kind="stable")
        key, small = key[order], small[order]
        start, stop = np.searchsorted(key, own_key, "left"), np.searchsorted(key, own_key, "right")
        for part in np.array_split(np.arange(len(own)), 1 + int((stop - start).sum()) // 2_000_000):
            times = stop[part] - start[part]
            a = np.repeat(own[part], times)
            b = small[np.arange(times.sum()) + np.repeat(start[part] - np.cumsum(times) + times, times)]
            over = (a != b) & (low[a] <= high[b]).all(1) & (high[a] >= low[b]).all(1)
            pairs.append(np.unique(np.minimum(a, b)[over] * count + np.maximum(a, b)[over]))
    return np.divmod(np.unique(np.concatenate(pairs)), count)


def _cells(low: np.ndarray, high: np.ndarray, which: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Keys of the cells that some boxes, none larger than a cell, lie in, and the boxes."""
    first, last = (np.floor(side[which] / size).astype(np.int64) for side in (low, high))
    keys, boxes = [], []
    for step in np.ndindex(2, 2, 2):
        reaches = (last - first >= step).all(1)
        cell = first[reaches] + step + 2**19
        keys.append((cell[:, 0] << 40) + (cell[:, 1] << 20) + cell[:, 2])
        boxes.append(which[reaches])
    return np.concatenate(keys), np.concatenate(boxes)
