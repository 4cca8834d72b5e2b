"""MakeHuman's clothes-like meshes: hair, brows, lashes; and their form once they are bound to the head model."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """A mesh that fits itself to any head of MakeHuman's base mesh.

    Attributes:
        triangles: (F, 3).
        uv: (T, 2); v = 1 is row 0 of the picture.
        uv_triangles: (F, 3).
        picture: (M, M, 4) uint8 RGBA, straight alpha; None where there is none.
        anchors: (N, 3) base vertices.
        weights: (N, 3).
        offsets: (N, 3) mm, scaled per axis by the base head's size.
        scale_pairs: (3, 2) base vertices whose distance along x, y, z gives the size.
        scale_lengths: (3,) mm of that distance for offsets as they are.
    """

    triangles: Index
    uv: Array
    uv_triangles: Index
    picture: NDArray[np.uint8] | None
    anchors: Index
    weights: Array
    offsets: Array
    scale_pairs: Index
    scale_lengths: Array

    def on(self, base: Array) -> Array:
        """(N, 3) mm on the vertices of a base mesh."""
        first, second = base[self.scale_pairs[:, 0]], base[self.scale_pairs[:, 1]]
        scale = np.abs(np.diag(first - second)) / self.scale_lengths
        return np.asarray(np.einsum("nkc,nk->nc", base[self.anchors], self.weights) + self.offsets * scale, np.float64)


def load_fitted(file: Path) -> Fitted:
    """Read a mesh (npz) and its picture (png of the same name), if there is one."""
    with np.load(file) as z:
        file = file.with_suffix(".png")
        picture = cv2.imread(str(file), cv2.IMREAD_UNCHANGED) if file.exists() else None
        return Fitted(
            triangles=z["faces"].astype(np.int64),
            uv=z["uv"].astype(np.float64),
            uv_triangles=z["uv_faces"].astype(np.int64),
            picture=None if picture is None else np.ascontiguousarray(picture[..., [2, 1, 0, 3]]),
            anchors=z["fit_vertices"].astype(np.int64),
            weights=z["fit_weights"].astype(np.float64),
            offsets=z["fit_offsets"].astype(np.float64) * 100,
            scale_pairs=z["scale_pairs"].astype(np.int64),
            scale_lengths=z["scale_lengths"].astype(np.float64) * 100,
        )


@dataclass(frozen=True)
class Bound:
    """A mesh bound to the model; fields as in ``maquette.headmodel.hair.HairStyle``."""

    triangles: Index
    uv: Array
    anchors: Index
    weights: Array
    offset: Array
    turns: bool


def split(mesh: Fitted, points: Array) -> tuple[Array, Index, Array]:
    """One vertex for each pair of position and texture coordinate: points (H, 3), triangles (T, 3), uv (H, 2)."""
    pairs = np.stack([mesh.triangles.ravel(), mesh.uv_triangles.ravel()], 1)
    unique, index = np.unique(pairs, axis=0, return_inverse=True)
    return points[unique[:, 0]], index.reshape(-1, 3), mesh.uv[unique[:, 1]]


def quantised(weights: Array) -> Array:
    """Weights as they come back from 8 bits."""
    w = np.rint(weights * 255)
    w[np.arange(len(w)), w.argmax(1)] += (w.sum(1) == 0).astype(float)
    return np.asarray(w / w.sum(1, keepdims=True), np.float64)
