"""Where does a surface pass through itself?"""

import numpy as np

from maquette.geometry.raster import Scene
from maquette.geometry.surface import edges

_CLEAR = 1e-3
_HITS = 4


def crossings(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(N, 3) points where edges go through triangles that they have no corner in common with.

    Two triangles that pass through each other have such an edge; coplanar overlaps have none and are not found.

    Args:
        vertices: (V, 3) mm.
        triangles: (F, 3).
    """
    ends = edges(triangles)
    scene = Scene(vertices, triangles)
    points = vertices.astype(np.float64)
    a, b = points[ends[:, 0]], points[ends[:, 1]]
    length = np.linalg.norm(b - a, axis=1)
    # Rays begin and end a micrometre inside the edge, where the triangles around its ends are left behind.
    margin = np.minimum(_CLEAR / np.maximum(length, 1e-12), 0.49)
    live, at = np.arange(len(ends)), margin.copy()
    found: dict[tuple[int, int], np.ndarray] = {}
    for _ in range(_HITS):
        hit = scene.cast(a[live] + (b - a)[live] * at[live, None], (b - a)[live])
        place = at[live] + hit.distance
        on = hit.covered & (place < 1 - margin[live])
        live, place, triangle = live[on], place[on], hit.triangle[on]
        apart = ~(triangles[triangle][:, :, None] == ends[live][:, None, :]).any((1, 2))
        for edge, other, where in zip(live[apart], triangle[apart], place[apart], strict=True):
            found[int(edge), int(other)] = a[edge] + (b - a)[edge] * where
        at[live] = place + margin[live]
    return np.array(list(found.values())).reshape(-1, 3)
