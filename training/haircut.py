"""Changes to hair meshes on the mean head: shortened to the bust, laid on the forehead, cut free of the face."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from maquette.geometry.raster import Scene, rasterise_uv

Array = NDArray[np.float64]
Float = NDArray[np.float32]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Opening:
    """The part of the face that hair must leave free: an ellipse in azimuth and height.

    Attributes:
        middle: Height of its centre, mm.
        tall: Half height, mm; ``middle + tall`` is where a fringe ends.
        wide: Half width, degrees of azimuth about the y axis.
    """

    middle: float
    tall: float
    wide: float

    def outside(self, points: Array) -> Array:
        """(N,) about how many mm each point lies outside; negative inside."""
        azimuth = np.rad2deg(np.abs(np.arctan2(points[:, 0], points[:, 2])))
        radius = np.hypot(azimuth / self.wide, (points[:, 1] - self.middle) / self.tall)
        return np.where(points[:, 2] > 0, (radius - 1) * self.tall, self.tall)


BROWS = Opening(middle=-12.0, tall=70.0, wide=50.0)
"""Leaves a fringe that ends at the brows."""

FOREHEAD = Opening(middle=-5.0, tall=112.0, wide=54.0)
"""Leaves the forehead bare up to the hairline."""


_FRINGE_ROWS, _FRINGE_COLUMNS = 12, 25
_FRINGE_WIDE = 60.0

_BULGE = 0.75
"""How much of the way to the tangent planes a new point goes."""


def fringe(points: Array, triangles: Index) -> tuple[Array, Index, Array]:
    """A sheet of hair over the forehead, from above the hairline to the brows, lower at the temples.

    Args:
        points: (V, 3) mm of the mean head.
        triangles: (F, 3) of its skin.

    Returns:
        (H, 3) mm, (T, 3) and (H, 2) in 0..1, v = 1 at the roots.
    """
    azimuth = np.deg2rad(np.linspace(-_FRINGE_WIDE, _FRINGE_WIDE, _FRINGE_COLUMNS))[None]
    t = np.linspace(0, 1, _FRINGE_ROWS)[:, None]
    end = 53.0 - 22.0 * (np.abs(azimuth) / np.deg2rad(_FRINGE_WIDE)) ** 2.5
    height = 122.0 + (end - 122.0) * t
    way = np.stack(np.broadcast_arrays(np.sin(azimuth), 0 * azimuth, np.cos(azimuth)), -1)
    way = np.broadcast_to(way, (*height.shape, 3))
    axis = np.stack([0 * height, height, 0 * height], -1)
    hit = Scene(points, triangles).cast(axis + 250 * way, -way)
    reach = 250 - hit.distance
    # Lies close at the roots and stands off a little where it ends.
    lift = 3.0 + 5.5 * np.sin(np.pi * np.clip(t * 0.75, 0, 1))
    out = axis + (reach + lift)[..., None] * way
    u = np.broadcast_to(np.linspace(0, 1, _FRINGE_COLUMNS)[None], height.shape)
    uv = np.stack([u, np.broadcast_to(1 - t, height.shape)], -1)
    index = np.arange(height.size).reshape(height.shape)
    a, b, c, d = (g.ravel() for g in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    sheet = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return out.reshape(-1, 3), sheet.astype(np.int64), uv.reshape(-1, 2)


def fringe_picture(strands: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Make a picture of hanging strands end in wisps and fade in at the roots.

    Args:
        strands: (R, C, 2) luminance and opacity of hair that hangs down.
        seed: Of the wisps.
    """
    rows, columns = strands.shape[:2]
    rng = np.random.default_rng(seed)
    fine = cv2.GaussianBlur(rng.normal(0, 1, (1, columns)).astype(np.float32), (0, 0), 1.2)
    coarse = cv2.GaussianBlur(rng.normal(0, 1, (1, columns)).astype(np.float32), (0, 0), columns / 60)
    tip = 0.93 + 0.03 * fine / fine.std() + 0.03 * coarse / coarse.std()
    root = 0.05 + 0.04 * fine / fine.std()
    t = (np.arange(rows)[:, None] + 0.5) / rows
    side = np.abs(np.linspace(-1, 1, columns))[None]
    keep = np.clip((tip - t) / 0.06, 0, 1) * np.clip((t - root) / 0.2, 0, 1) * np.clip((1.02 - side) / 0.08, 0, 1)
    out = strands.copy()
    out[..., 1] = np.rint(255 * keep).astype(np.uint8)
    # Hair gets lighter where it bends forwards, and darker at the tips.
    out[..., 0] = np.clip(np.rint(out[..., 0] * (1.12 - 0.35 * np.abs(t - 0.35))), 0, 255).astype(np.uint8)
    return out


def shorten(points: Array, top: float, bottom: float) -> Array:
    """Squeeze what hangs below a height so that the lowest point is at another, both mm.

    Strands run downwards there, so that their picture stays what it is.
    """
    low = points[:, 1].min()
    if low >= bottom:
        return points
    below = np.clip(top - points[:, 1], 0, None)
    out = points.copy()
    # Starts at slope 1 and falls, so that no kink shows.
    reach, room = top - low, top - bottom
    power = reach / room
    out[:, 1] = np.where(below > 0, top - room * (1 - (1 - below / reach) ** power), points[:, 1])
    return out


def narrow(points: Array, top: float, bottom: float, share: float) -> Array:
    """Draw what hangs below a height towards its middle line, to a share of its width at the lowest."""
    t = np.clip((top - points[:, 1]) / (top - bottom), 0, 1)[:, None]
    hanging = points[:, 1] < top
    if not hanging.any():
        return points
    axis = np.zeros(3)
    axis[[0, 2]] = points[hanging][:, [0, 2]].mean(0)
    flat = points - axis
    flat[:, 1] = 0
    return points - flat * t * (1 - share)


def hang_straight(points: Array, top: float, slope: float) -> Array:
    """Bring what hangs behind the head below a height forward, as much per mm of depth as a slope says."""
    behind = np.clip(-points[:, 2] / 60, 0, 1)
    out = points.copy()
    out[:, 2] += slope * behind * np.clip(top - points[:, 1], 0, None)
    return out


def finer(points: Array, triangles: Index, uv: Array) -> tuple[Array, Index, Array]:
    """Four triangles for each, bulging as the normals at its corners say, so that outlines are round.

    New points lie between the middle of their edge and the mean of its projections onto the tangent planes at both ends
    (Boubekeur and Alexa 2008, Phong tessellation). Vertices that only a seam of the picture parts stay together.

    Args:
        points: (H, 3) mm.
        triangles: (T, 3).
        uv: (H, 2).
    """
    _, welded = np.unique(np.rint(points * 100).astype(np.int64), axis=0, return_inverse=True)
    welded = welded.ravel()
    face = np.cross(
        points[triangles[:, 1]] - points[triangles[:, 0]], points[triangles[:, 2]] - points[triangles[:, 0]]
    )
    normals = np.zeros((welded.max() + 1, 3))
    for k in range(3):
        np.add.at(normals, welded[triangles[:, k]], face)
    normals = normals[welded] / np.maximum(np.linalg.norm(normals[welded], axis=1, keepdims=True), 1e-9)
    sides = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
    edges, index = np.unique(sides, axis=0, return_inverse=True)
    index = index.reshape(3, -1).T + len(points)
    middle = points[edges].mean(1)
    bulge = np.zeros_like(middle)
    for k in range(2):
        end = edges[:, k]
        bulge -= ((middle - points[end]) * normals[end]).sum(1, keepdims=True) * normals[end] / 2
    a, b, c = triangles.T
    ab, bc, ca = index.T
    out = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return (
        np.concatenate([points, middle + _BULGE * bulge]),
        out.astype(np.int64),
        np.concatenate([uv, uv[edges].mean(1)]),
    )


def waved(points: Array, top: float, size: float, length: float) -> Array:
    """Let hanging hair swing in and out.

    Args:
        points: (H, 3) mm on the mean head.
        top: Height below which the waves begin to grow, mm.
        size: Half the swing of a full wave, mm.
        length: Of a wave, mm.
    """
    x, y, z = points.T
    around = np.arctan2(x, z)
    # Locks beside each other are out of step by less than a wave, locks further off by any amount.
    phase = 2.2 * np.sin(3 * around + 0.6) + 1.3 * np.sin(7 * around + 1.9) + 0.6 * np.sin(13 * around)
    turn = 2 * np.pi * y / length + phase
    grown = size * np.clip((top - y) / 70, 0, 1)
    out = points.copy()
    outwards, along = grown * np.sin(turn), 0.6 * grown * np.cos(turn + 0.8)
    out[:, 0] += outwards * np.sin(around) + along * np.cos(around)
    out[:, 2] += outwards * np.cos(around) - along * np.sin(around)
    return out


def lie_on_forehead(points: Array, skin: Array, normals: NDArray[np.floating], *, height: float, share: float) -> Array:
    """Bring hair in front of the forehead nearer to it.

    Args:
        points: (H, 3) mm.
        skin: (N, 3) mm.
        normals: (N, 3) unit.
        height: mm above the skin that stay as they are.
        share: What is kept of the height beyond.
    """
    _, near = cKDTree(skin).query(points, k=4)
    above = ((points[:, None] - skin[near]) * normals[near]).sum(2).mean(1)
    azimuth = np.rad2deg(np.abs(np.arctan2(points[:, 0], points[:, 2])))
    where = np.clip((75 - azimuth) / 20, 0, 1) * np.clip((125 - points[:, 1]) / 30, 0, 1) * (points[:, 2] > 0)
    less = np.clip(above - height, 0, None) * (1 - share) * where
    way = normals[near].mean(1)
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    return np.asarray(points - less[:, None] * way, np.float64)


def clear(
    picture: NDArray[np.uint8], points: Array, triangles: Index, uv: Array, opening: Opening | None, hem: float | None
) -> NDArray[np.uint8]:
    """Make a picture's opacity end at an opening and at a hem, strand by strand.

    Args:
        picture: (M, M, 2) luminance and opacity.
        points: (H, 3) mm on the mean head.
        triangles: (T, 3).
        uv: (H, 2).
        opening: What must be free, or None.
        hem: Height below which there is no hair, mm, or None.
    """
    size = len(picture)
    raster = rasterise_uv(uv, triangles, size)
    seen = raster.covered
    at = np.asarray(raster.interpolate(points, triangles), np.float64)
    # Brighter strands end a little later than darker ones: a cut without a hard line.
    strand = picture[..., 0].astype(np.float32) / 255
    strand = strand - cv2.GaussianBlur(strand, (0, 0), size / 40)
    keep = np.ones((size, size), np.float32)
    if opening is not None:
        keep[seen] = np.clip((opening.outside(at) + 45 * strand[seen] + 1) / 4, 0, 1)
    if hem is not None:
        keep[seen] *= np.clip((at[:, 1] - hem + 180 * np.clip(strand[seen], -0.06, 0.06)) / 14, 0, 1)
    # Texels along a chart's border are seen by filtering only; they go with the nearest inside.
    nearest = distance_transform_edt(~seen, return_distances=False, return_indices=True)
    out = picture.copy()
    out[..., 1] = np.rint(out[..., 1] * keep[tuple(nearest)]).astype(np.uint8)
    return out


def outside_head(triangles: Index, points: Array, skin: Array, normals: NDArray[np.floating]) -> Index:
    """The triangles that do not lie wholly deep in the head, where some strands have their roots."""
    distance, near = cKDTree(skin).query(points)
    deep = ((points - skin[near]) * normals[near]).sum(1) < -np.maximum(4.0, 0.7 * distance)
    return np.asarray(triangles[~deep[triangles].all(1)], np.int64)


def without_hidden(triangles: Index, uv: Array, picture: NDArray[np.uint8]) -> Index:
    """The triangles whose picture is not wholly transparent."""
    size = len(picture)
    solid = cv2.dilate(picture[..., 1], np.ones((3, 3), np.uint8)) > 8
    corner = uv[triangles]
    n = 8
    i, j = np.meshgrid(np.arange(n + 1), np.arange(n + 1))
    inside = i + j <= n
    grid = np.stack([i[inside], j[inside], n - (i + j)[inside]], 1) / n
    at = np.einsum("gk,tkc->tgc", grid, corner)
    x = np.clip((at[..., 0] * size).astype(int), 0, size - 1)
    y = np.clip(((1 - at[..., 1]) * size).astype(int), 0, size - 1)
    return np.asarray(triangles[solid[y, x].any(1)], np.int64)
