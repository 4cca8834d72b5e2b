"""What does each pixel, texel or ray see? Ray casting by Embree."""

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from maquette.types import Camera


@dataclass(frozen=True)
class Raster:
    """Nearest surface per ray; the leading shape ``*S`` is the rays'.

    Attributes:
        triangle: (*S,) int32, index of the nearest triangle, -1 where there is none.
        barycentric: (*S, 3) float32 weights of its corners.
        distance: (*S,) float32 along the ray in units of its direction's length, infinite where there is none.
    """

    triangle: NDArray[np.int32]
    barycentric: NDArray[np.float32]
    distance: NDArray[np.float32]

    @property
    def covered(self) -> NDArray[np.bool_]:
        """(*S,) bool, True where a triangle is seen."""
        return self.triangle >= 0

    def interpolate(self, values: NDArray[np.floating], triangles: NDArray[np.integer]) -> NDArray[np.floating]:
        """Values per vertex (V, C) at the covered rays: (P, C), in row order.

        ``triangles`` may be another index list of the same triangles, such as the UV one.
        """
        seen = self.covered
        corners = triangles.take(self.triangle[seen], axis=0)
        weights = self.barycentric[seen].astype(values.dtype)
        # Corner by corner, with `take`: twice as fast as gathering all three and summing over them.
        out = values.take(corners[:, 0], axis=0) * weights[:, :1]
        for k in (1, 2):
            out += values.take(corners[:, k], axis=0) * weights[:, k : k + 1]
        return out


class Scene:
    """A triangle mesh to cast rays at."""

    def __init__(self, vertices: NDArray[np.floating], triangles: NDArray[np.integer]) -> None:
        """Build the search structure.

        Args:
            vertices: (V, 3), any unit.
            triangles: (F, 3) vertex indices.
        """
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(
            self._scene,
            np.ascontiguousarray(vertices, np.float32),
            np.ascontiguousarray(triangles, np.int32),
        )

    def cast(
        self,
        origins: NDArray[np.floating],
        directions: NDArray[np.floating],
        reach: NDArray[np.floating] | None = None,
    ) -> Raster:
        """Nearest hit of each ray.

        Args:
            origins: (*S, 3), or what broadcasts to it.
            directions: (*S, 3).
            reach: (*S,) distance beyond which nothing is hit, in units of the directions' lengths; None for no limit.
        """
        shape = directions.shape[:-1]
        o = np.ascontiguousarray(np.broadcast_to(origins, directions.shape).reshape(-1, 3), np.float32)
        d = np.ascontiguousarray(directions.reshape(-1, 3), np.float32)
        far = None if reach is None else np.ascontiguousarray(reach.reshape(-1), np.float32)
        hit = self._scene.run(o, d, dists=far, output=1)
        triangle = hit["primID"].astype(np.int32)
        seen = triangle >= 0
        u = np.where(seen, hit["u"], 0).astype(np.float32)
        v = np.where(seen, hit["v"], 0).astype(np.float32)
        distance = np.where(seen, hit["tfar"], np.inf).astype(np.float32)
        weights = np.stack([np.where(seen, 1 - u - v, 0), u, v], -1)
        return Raster(triangle.reshape(shape), weights.reshape(*shape, 3), distance.reshape(shape))

    def view(self, camera: Camera) -> Raster:
        """What a camera sees, (height, width); the mesh must be in the *camera* frame."""
        return self.cast(np.zeros(3, np.float32), pixel_rays(camera))


def pixel_rays(camera: Camera) -> NDArray[np.float32]:
    """(height, width, 3) ray directions through the pixel centres in the camera frame, z = 1 (so distance = depth)."""
    x = (np.arange(camera.width) + 0.5 - camera.centre[0]) / camera.focal
    y = (np.arange(camera.height) + 0.5 - camera.centre[1]) / camera.focal
    rays = np.ones((camera.height, camera.width, 3), np.float32)
    rays[..., 0], rays[..., 1] = np.meshgrid(x, y)
    return rays


def rasterise_uv(uv: NDArray[np.floating], uv_triangles: NDArray[np.integer], size: int) -> Raster:
    """Which triangle does each texel of a square UV map lie in? (size, size); row 0 is v = 1.

    Args:
        uv: (T, 2) in 0..1.
        uv_triangles: (F, 3) indices into ``uv``.
        size: Side of the map in texels.
    """
    flat = np.concatenate([uv * size, np.zeros((len(uv), 1))], 1)
    rays = np.zeros((size, size, 3), np.float32)
    rays[..., 2] = -1
    origins = np.ones((size, size, 3), np.float32)
    x, y = np.meshgrid(np.arange(size) + 0.5, size - np.arange(size) - 0.5)
    origins[..., 0], origins[..., 1] = x, y
    return Scene(flat, uv_triangles).cast(origins, rays)
