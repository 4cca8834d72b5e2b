"""A mesh of triangles, and what may be one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maquette.errors import MeshInvalid
from maquette.types import Float64, Int32

LARGEST_MM = 1e6
"""Coordinates are below this, one kilometre: squares and products of such still have digits to spare."""


@dataclass(frozen=True, eq=False)
class TriangleMesh:
    """Triangles of any origin.

    Attributes:
        vertices: (V, 3) float64 mm.
        triangles: (F, 3) int32.
    """

    vertices: Float64
    triangles: Int32


@dataclass(frozen=True)
class MeshLimits:
    """What is still worked on.

    Attributes:
        max_bytes: Largest mesh file.
        max_triangles: Most triangles; vertices may be three times as many.
    """

    max_bytes: int = 128_000_000
    max_triangles: int = 2_000_000

    def require_bytes(self, size: int) -> None:
        """Raise MeshInvalid for a file beyond the limit."""
        if size > self.max_bytes:
            raise MeshInvalid(
                f"expected a mesh file of at most {self.max_bytes:,} bytes, found {size:,}",
                bytes=size,
                limit=self.max_bytes,
            )

    def require_triangles(self, count: int) -> None:
        """Raise MeshInvalid for more triangles than the limit."""
        if count > self.max_triangles:
            raise MeshInvalid(
                f"expected a mesh of at most {self.max_triangles:,} triangles, found {count:,}",
                triangles=count,
                limit=self.max_triangles,
            )

    def require_vertices(self, count: int) -> None:
        """Raise MeshInvalid for more vertices than the limit."""
        if count > 3 * self.max_triangles:
            raise MeshInvalid(
                f"expected a mesh of at most {3 * self.max_triangles:,} vertices, found {count:,}",
                vertices=count,
                limit=3 * self.max_triangles,
            )


def checked_mesh(vertices: NDArray[np.generic], triangles: NDArray[np.generic], limits: MeshLimits) -> TriangleMesh:
    """A mesh that may be computed with.

    Args:
        vertices: (V, 3) of a number type, mm.
        triangles: (F, 3) of an integer type.
        limits: What is still worked on.

    Raises:
        MeshInvalid: There are no triangles or too many, a coordinate is undefined or huge, or an index points nowhere.
    """
    limits.require_vertices(len(vertices))
    limits.require_triangles(len(triangles))
    if not len(triangles):
        raise MeshInvalid(f"expected a mesh with triangles, found {len(vertices)} vertices and none")
    points = np.asarray(vertices, np.float64)
    undefined = int((~np.isfinite(points)).any(1).sum())
    if undefined:
        raise MeshInvalid(f"expected finite coordinates, found {undefined} vertices with undefined ones")
    largest = float(np.abs(points).max(initial=0))
    if largest >= LARGEST_MM:
        raise MeshInvalid(f"expected coordinates below {LARGEST_MM:g} mm, found {largest:g}")
    low, high = int(triangles.min()), int(triangles.max())
    if low < 0 or high >= len(points):
        raise MeshInvalid(
            f"expected triangles of vertices 0 to {len(points) - 1}, found one of {low if low < 0 else high}"
        )
    return TriangleMesh(points, np.asarray(triangles, np.int32))


def fans(polygons: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """(F, 3) int64 triangles of polygons, each cut into a fan around its first corner."""
    out = [(p[0], p[k], p[k + 1]) for p in polygons for k in range(1, len(p) - 1)]
    return np.array(out, np.int64).reshape(-1, 3)
