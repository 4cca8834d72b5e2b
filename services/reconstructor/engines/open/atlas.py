"""The head model's UV atlas, texel by texel."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from maquette.geometry.raster import Raster, rasterise_uv
from maquette.geometry.surface import edges
from maquette.headmodel import HeadModel
from maquette.types import Bool, Float32, Int32, UInt8

MARGIN = 6
"""Texels that ``Atlas.pad`` continues a map by."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """Which point of the skin each texel shows.

    A *map* is (H, N, ...): the rows of the atlas that hold skin, row 0 at v = 1. The skin's chart is mirror-symmetric
    about u = 0.5, so that flipping a map left to right gives the map of the head's other side.

    Attributes:
        model: The head model.
        size: N, side of the whole atlas in texels.
        raster: Triangle and barycentric weights of each texel of the whole atlas, (N, N).
        skin: (H, N) bool, texels of the skin.
        texels: (P,) int32 rising, flat indices of the skin's texels in a map.
        to_texels: (P, V) sparse float32, linear interpolation of vertex values at the skin's texels.
        texel_mm: Typical side of the skin's texels on the mean head, mm.
    """

    model: HeadModel
    size: int
    raster: Raster
    skin: Bool
    texels: Int32
    to_texels: sp.csr_matrix
    texel_mm: float

    @property
    def to_vertices(self) -> sp.csc_matrix:
        """(V, P) sparse float32, the transpose of ``to_texels``: sums of texel values around each vertex."""
        return self.to_texels.T

    @cached_property
    def nearest(self) -> Int32:
        """(N, N) int32, flat index of the nearest texel of any part: where the gutters' colour comes from."""
        row, column = distance_transform_edt(~self.raster.covered, return_distances=False, return_indices=True)
        return np.asarray(row * self.size + column, np.int32)

    def image(self, values: Float32) -> Float32:
        """Map of values per vertex, (V,) or (V, C); 0 off the skin."""
        flat = self._to_map @ np.ascontiguousarray(values, np.float32)
        return np.asarray(flat, np.float32).reshape(*self.skin.shape, *values.shape[1:])

    @cached_property
    def _to_map(self) -> sp.csr_matrix:
        """(H·N, V) sparse float32, ``to_texels`` with an empty row for each texel off the skin."""
        starts = np.concatenate([[0], np.cumsum(3 * self.skin.reshape(-1))]).astype(np.int32)
        shape = (self.skin.size, self.to_texels.shape[1])
        return sp.csr_matrix((self.to_texels.data, self.to_texels.indices, starts), shape=shape)

    def unpack(self, values: Float32) -> Float32:
        """Map of values per skin texel, (P, ...); 0 elsewhere."""
        out = np.zeros((self.skin.size, *values.shape[1:]), np.float32)
        out[self.texels] = values
        return out.reshape(*self.skin.shape, *values.shape[1:])

    @cached_property
    def _margin(self) -> tuple[Int32, Int32]:
        """Flat indices of the texels off the skin within ``MARGIN`` of it, and of the skin texel nearest to each."""
        distance, (row, column) = distance_transform_edt(~self.skin, return_indices=True)
        where = np.flatnonzero((distance > 0) & (distance <= MARGIN))
        source = row.reshape(-1)[where] * self.skin.shape[1] + column.reshape(-1)[where]
        return where.astype(np.int32), source.astype(np.int32)

    def pad(self, image: Float32) -> Float32:
        """Continue a map a few texels beyond the skin, in place: averages across its border then stay the skin's."""
        where, source = self._margin
        flat = image.reshape(self.skin.size, *image.shape[2:])
        flat[where] = flat[source]
        return image

    def pack(self, image: Float32) -> Float32:
        """(P, ...) values of a map at the skin's texels."""
        return image.reshape(self.skin.size, *image.shape[2:])[self.texels]

    def region(self, *names: str, soften: int = 2) -> Float32:
        """Soft map, 0 to 1, of the union of some regions of the model.

        Args:
            names: Region names.
            soften: Rounds of averaging each vertex with its neighbours.
        """
        key = (names, soften)
        if key not in self._regions:
            values = np.any([self.model.region(n) for n in names], 0).astype(np.float32)
            for _ in range(soften):
                values = np.asarray(self.averaging @ values, np.float32)
            # Kept as bytes: there are a dozen of them, and they are smooth.
            self._regions[key] = np.asarray(np.rint(255 * self.image(values)), np.uint8)
        return np.multiply(self._regions[key], np.float32(1 / 255), dtype=np.float32)

    @cached_property
    def _regions(self) -> dict[tuple[tuple[str, ...], int], UInt8]:
        return {}

    @cached_property
    def averaging(self) -> sp.csr_matrix:
        """(V, V) sparse float32, the mean of each skin vertex and its neighbours."""
        adjacency = skin_adjacency(self.model) + sp.identity(len(self.model.mean), np.float32, "csr")
        total = np.asarray(adjacency.sum(1)).ravel()
        return sp.csr_matrix(sp.diags(1 / total) @ adjacency, dtype=np.float32)

    def whole(self, image: Float32) -> Float32:
        """(N, N, ...) of the whole atlas from a map, 0 in the rows below."""
        out = np.zeros((self.size, *image.shape[1:]), np.float32)
        out[: len(image)] = image
        return out


def skin_adjacency(model: HeadModel) -> sp.csr_matrix:
    """(V, V) sparse float32, 1 where two vertices share an edge of the skin."""
    n = len(model.mean)
    e = edges(model.triangles[model.part_triangles("skin")])
    half = sp.coo_matrix((np.ones(len(e), np.float32), (e[:, 0], e[:, 1])), shape=(n, n)).tocsr()
    return sp.csr_matrix(half + half.T)


@lru_cache(maxsize=2)
def atlas_of(model: HeadModel, size: int) -> Atlas:
    """The atlas of a model at a size in texels; kept for the next call."""
    raster = rasterise_uv(model.uv, model.uv_triangles, size)
    whole = np.asarray(model.part("skin")[model.triangles].all(1))
    skin = raster.covered & whole[raster.triangle]
    height = int(np.flatnonzero(skin.any(1))[-1]) + 1
    skin = skin[:height]
    texels = np.flatnonzero(skin).astype(np.int32)
    triangle = raster.triangle[:height].reshape(-1)[texels]
    weights = raster.barycentric[:height].reshape(-1, 3)[texels]
    starts = np.arange(0, 3 * len(texels) + 1, 3, dtype=np.int32)
    corners = model.triangles[triangle].reshape(-1).astype(np.int32)
    to_texels = sp.csr_matrix((weights.reshape(-1), corners, starts), shape=(len(texels), len(model.mean)))
    return Atlas(model, size, raster, skin, texels, to_texels, _texel_mm(model) / size)


def _texel_mm(model: HeadModel) -> float:
    """Median over the skin's triangles of mm on the mean head by unit of UV."""
    skin = model.part_triangles("skin")
    corners, uv = model.mean[model.triangles[skin]], model.uv[model.uv_triangles[skin]]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p, q = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    flat = np.abs(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])
    return float(np.sqrt(np.median(np.linalg.norm(np.cross(a, b), axis=1) / np.maximum(flat, 1e-12))))


def smoothstep(x: NDArray[np.floating]) -> Float32:
    """3x² − 2x³ with x held to 0..1."""
    t = np.clip(x, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def blur(image: Float32, sigma: float) -> Float32:
    """Gaussian blur; a broad one is made on a smaller grid, which looks the same and is much faster."""
    factor = int(sigma / 2.5)
    if factor < 2:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.float32)
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(width // factor, 1), max(height // factor, 1)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def weighted_blur(image: Float32, weight: Float32, sigma: float) -> Float32:
    """Gaussian blur that ignores what has no weight: blur(image × weight) / blur(weight)."""
    under = np.maximum(blur(weight, sigma), np.float32(1e-5))
    if image.ndim == 2:
        return np.asarray(blur(image * weight, sigma) / under, np.float32)
    return np.asarray(blur(image * weight[..., None], sigma) / under[..., None], np.float32)


def resized(image: Float32, shape: tuple[int, int]) -> Float32:
    """A map brought to (height, width): averaged when smaller, interpolated when larger."""
    if image.shape[:2] == shape:
        return image
    how = cv2.INTER_AREA if shape[1] < image.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (shape[1], shape[0]), interpolation=how), np.float32)
