"""Open3D, imported where it is needed: it is large, optional, and wants libraries of the system."""

from types import ModuleType
from typing import Any

import numpy as np

from maquette.errors import DependencyMissing
from maquette.types import Float32, Float64
from services.meshproc.files import TriangleMesh

DEBIAN_PACKAGES = ("libegl1", "libgl1", "libgomp1", "libudev1", "libusb-1.0-0", "libx11-6")


def open3d() -> ModuleType:
    """The library.

    Raises:
        DependencyMissing: It is not installed, or a library of the system that it wants is not.
    """
    try:
        import open3d as library
    except ModuleNotFoundError as error:
        if error.name != "open3d":
            raise
        raise DependencyMissing(
            "working on meshes needs Open3D, which is not installed: pip install 'maquette[meshproc]'"
        ) from error
    except (ImportError, OSError) as error:
        raise DependencyMissing(
            f"Open3D cannot be loaded ({error}); on Debian: apt-get install {' '.join(DEBIAN_PACKAGES)}"
        ) from error
    library.utility.set_verbosity_level(library.utility.VerbosityLevel.Error)
    module: ModuleType = library
    return module


def to_open3d(mesh: TriangleMesh) -> Any:
    """A mesh as Open3D has it; its indices must have been checked, for Open3D does not."""
    o3d = open3d()
    return o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(np.ascontiguousarray(mesh.vertices)),
        o3d.utility.Vector3iVector(np.ascontiguousarray(mesh.triangles)),
    )


def from_open3d(mesh: Any) -> TriangleMesh:
    """A mesh of Open3D's as ours."""
    return TriangleMesh(np.array(mesh.vertices, np.float64), np.array(mesh.triangles, np.int32).reshape(-1, 3))


def distances(points: Float64, mesh: TriangleMesh) -> Float32:
    """(N,) float32 mm, how far (N, 3) points are from a mesh."""
    o3d = open3d()
    scene = o3d.t.geometry.RaycastingScene()
    # Single precision has most digits around zero.
    middle = mesh.vertices.mean(0)
    scene.add_triangles(
        o3d.core.Tensor(np.ascontiguousarray(mesh.vertices - middle, np.float32)),
        o3d.core.Tensor(np.ascontiguousarray(mesh.triangles, np.uint32)),
    )
    found = scene.compute_distance(o3d.core.Tensor(np.ascontiguousarray(points - middle, np.float32)), nthreads=1)
    return np.asarray(found.numpy(), np.float32)
