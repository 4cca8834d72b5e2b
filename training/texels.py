"""Texture atlases texel by texel."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from maquette.geometry.raster import Raster, rasterise_uv
from maquette.headmodel import HeadModel

Array = NDArray[np.float64]
Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Image = NDArray[np.uint8]


class Atlas:
    """The model's texture atlas as texels: what each shows.

    Attributes:
        size: Texels a side.
        raster: Triangle and barycentric weights of each texel.
        component: (size, size) int, index of the part, -1 in the gutters.
    """

    def __init__(self, model: HeadModel, size: int, window: tuple[float, float, float] = (0.0, 0.0, 1.0)) -> None:
        """Lay out the texels.

        Args:
            model: The model.
            size: Texels a side.
            window: Lower left corner and side of the square of the atlas that is shown.
        """
        self.size, self.model = size, model
        uv = (model.uv - np.array(window[:2], np.float32)) / np.float32(window[2])
        self.raster: Raster = rasterise_uv(uv, model.uv_triangles, size)
        corner = model.triangles[self.raster.triangle]
        # Linings share their rim's vertices with the skin; such a triangle belongs to the lining.
        part = np.where(self.raster.covered[..., None], model.component[corner].astype(int), -1)
        self.component = part.max(-1)

    def of(self, *names: str) -> Bool:
        """(size, size) texels of some parts."""
        return np.isin(self.component, [self.model.component_names.index(n) for n in names])

    def values(self, mask: Bool, values: NDArray[np.floating]) -> Array:
        """Values per vertex (V, C) at the texels of a mask: (P, C)."""
        corners = values[self.model.triangles[self.raster.triangle[mask]]]
        return np.asarray(np.einsum("pkc,pk->pc", corners, self.raster.barycentric[mask]), np.float64)

    def fill(self, image: NDArray[np.generic], mask: Bool) -> NDArray[np.generic]:
        """Continue an image into what lies outside a mask by the nearest texel."""
        nearest = distance_transform_edt(~mask, return_distances=False, return_indices=True)
        return np.asarray(image[tuple(nearest)])


def read_colour(path: Path) -> Image:
    """An RGB picture file: (H, W, 3) uint8.

    Raises:
        FileNotFoundError: It is missing or no picture.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise FileNotFoundError(f"{path}: not a readable picture")
    return np.ascontiguousarray(picture[..., ::-1], np.uint8)


def read_share(path: Path) -> Float:
    """A grey picture file as shares of 255: (H, W) float32.

    Raises:
        FileNotFoundError: It is missing or no picture.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise FileNotFoundError(f"{path}: not a readable picture")
    return np.asarray(picture, np.float32) / np.float32(255)


def sample(picture: NDArray[np.uint8], uv: Array) -> Float:
    """Bilinear look-up with coordinates that wrap: (P, C) float32 of (M, M[, C]); v = 1 is row 0."""
    h, w = picture.shape[:2]
    x = (uv[:, 0] % 1 * w - 0.5).astype(np.float32)
    y = ((1 - uv[:, 1]) % 1 * h - 0.5).astype(np.float32)
    rows = 2048
    pad = -len(x) % rows
    grid = [np.pad(a, (0, pad)).reshape(-1, rows) for a in (x, y)]
    out = []
    # OpenCV's maps are limited to 32767 rows.
    for k in range(0, len(grid[0]), 16384):
        x_map, y_map = (g[k : k + 16384] for g in grid)
        part = cv2.remap(picture, x_map, y_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        out.append(part.reshape(-1, 1 if picture.ndim == 2 else picture.shape[2]))
    return np.concatenate(out)[: len(x)].astype(np.float32)


def push_pull(image: Float, alpha: Float) -> Float:
    """Fill where alpha is 0 from coarser and coarser means (Gortler et al. 1996, The Lumigraph, section 3.4)."""
    if min(image.shape[:2]) <= 2:
        return np.asarray((image * alpha[..., None]).sum((0, 1)) / max(alpha.sum(), 1e-6) + 0 * image, np.float32)
    weighted = np.dstack([image * alpha[..., None], alpha])
    small = cv2.resize(weighted, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
    weight = small[..., 3]
    mean = small[..., :3] / np.maximum(weight, 1e-6)[..., None]
    coarse = push_pull(np.asarray(mean, np.float32), np.asarray(np.minimum(weight * 4, 1), np.float32))
    back = cv2.resize(coarse, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(image * alpha[..., None] + back * (1 - alpha[..., None]), np.float32)
