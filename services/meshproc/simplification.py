"""Coarser versions of a mesh, by quadric error metrics (Garland and Heckbert, SIGGRAPH 1997) as Open3D has them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from maquette.errors import MeshInvalid, OptionInvalid
from services.meshproc.files import TriangleMesh
from services.meshproc.inspection import compact, merged, proper
from services.meshproc.openlibrary import distances, from_open3d, to_open3d

LEAST_TRIANGLES = 4
MOST_LEVELS = 16


@dataclass(frozen=True, eq=False)
class Level:
    """A coarser version of a mesh.

    Attributes:
        mesh: It.
        deviation_mm: Largest distance of its vertices to the mesh that it was made of.
    """

    mesh: TriangleMesh
    deviation_mm: float


def simplify(mesh: TriangleMesh, triangles: Sequence[int], check: Callable[[], None] = lambda: None) -> list[Level]:
    """Make coarser versions of a mesh, each from the mesh itself.

    Args:
        mesh: The mesh; its vertices are merged where they coincide.
        triangles: How many each version is to have at most, falling; a mesh whose shape does not allow it has more.
        check: Called between the levels; what it raises ends the work.

    Raises:
        OptionInvalid: There are no levels or too many, they do not fall, or one is not below what the mesh has.
        MeshInvalid: The mesh has no area to speak of.
        DependencyMissing: Open3D cannot be used here.
    """
    mesh = merged(mesh)
    mesh = TriangleMesh(mesh.vertices, mesh.triangles[proper(mesh.triangles)])
    _check_levels(triangles, len(mesh.triangles))
    source = to_open3d(mesh)
    levels = []
    for count in triangles:
        check()
        coarse = from_open3d(source.simplify_quadric_decimation(int(count)))
        if not len(coarse.triangles) or not np.isfinite(coarse.vertices).all():
            raise MeshInvalid(f"expected a mesh that {count} triangles can stand for, found one that collapses")
        coarse = compact(coarse)
        levels.append(Level(coarse, float(distances(coarse.vertices, mesh).max())))
    return levels


def _check_levels(triangles: Sequence[int], most: int) -> None:
    if not 1 <= len(triangles) <= MOST_LEVELS:
        raise OptionInvalid(f"expected 1 to {MOST_LEVELS} levels, found {len(triangles)}", field="triangles")
    for count, above in zip(triangles, [most, *triangles], strict=False):
        if not LEAST_TRIANGLES <= count < above:
            raise OptionInvalid(
                f"expected falling levels of {LEAST_TRIANGLES} triangles or more, below the {most:,} of the mesh, "
                f"found {', '.join(map(str, triangles))}",
                field="triangles",
            )
