"""Where on the head the landmark networks see their points: ``python -m training.embedding -n N -o landmarks.npz``.

Heads of random identity are drawn from within ±30° of the front, each landmark's ray is followed back to the head, and
the point that it meets there is noted on the mean head. The result goes into ``training.headmodel --landmarks``.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.progress import track

from maquette.geometry.raster import Scene
from maquette.geometry.surface import vertex_normals
from maquette.headmodel import HeadModel
from maquette.headmodel.hair import DEFAULT_FILE as HAIR_FILE
from maquette.headmodel.model import DEFAULT_FILE
from maquette.types import Camera, Float64
from services.detector.topology import ATTENTION_LIPS, MESH_LANDMARKS, MIRROR
from training.pictures.evidence import Witness, load_witness
from training.pictures.series import Sources, open_studio
from training.pictures.shot import project
from training.pictures.studio import Studio
from training.pictures.view import Angles

_ANGLES = Angles(yaw=0, pitch=6, roll=4, most=30)
_OPEN_JAW_EVERY = 4
_FACING = 0.35
"""Least cosine between the surface and the ray; nearer the silhouette a pixel is many millimetres."""

_FEWEST = 6


def trace(model: HeadModel, vertices: np.ndarray, camera: Camera, pixels: Float64) -> tuple[Float64, Float64]:
    """Follow pixels back to the head.

    Args:
        model: Head model.
        vertices: (V, 3) mm, head frame.
        camera: The camera.
        pixels: (N, 2).

    Returns:
        (N, 3) points on the *mean* head, NaN where the ray meets no skin, and (N,) cosines of surface to ray.
    """
    x = camera.to_camera(vertices.astype(np.float64))
    rays = np.ones((len(pixels), 3))
    rays[:, :2] = (pixels - camera.centre) / camera.focal
    raster = Scene(x, model.triangles).cast(np.zeros(3), rays)
    points, cosines = np.full((len(pixels), 3), np.nan), np.zeros(len(pixels))
    seen = np.flatnonzero(raster.triangle >= 0)
    corners = model.triangles[raster.triangle[seen]]
    skin = model.part("skin")[corners].all(1)
    seen, corners = seen[skin], corners[skin]
    weight = raster.barycentric[seen].astype(np.float64)
    points[seen] = np.einsum("pkc,pk->pc", model.mean[corners].astype(np.float64), weight)
    normal = np.einsum("pkc,pk->pc", vertex_normals(x, model.triangles)[corners], weight)
    ray = rays[seen]
    cosines[seen] = -(normal * ray).sum(1) / np.linalg.norm(normal, axis=1) / np.linalg.norm(ray, axis=1)
    return points, cosines


def near_side(model: HeadModel, yaw: float) -> np.ndarray:
    """(468,) bool: landmarks that a face turned by ``yaw`` degrees to its left does not turn away."""
    points = model.landmarks(model.mean)[:MESH_LANDMARKS]
    side = points[:, 0] / np.abs(points[:, 0]).max()
    near = np.where(side > 0.12, yaw <= 2, np.where(side < -0.12, yaw >= -2, True))
    # The outermost points lie on the silhouette of a face seen from the front.
    return np.asarray(near & ((np.abs(side) < 0.75) | (abs(yaw) > 10)))


def gather(studio: Studio, witness: Witness, count: int, seed: int) -> tuple[list[list[Float64]], list[list[Float64]]]:
    """Points on the mean head by landmark: from closed and from open mouths."""
    model = studio.model
    closed: list[list[Float64]] = [[] for _ in range(MESH_LANDMARKS)]
    opened: list[list[Float64]] = [[] for _ in range(MESH_LANDMARKS)]
    for number in track(range(count), description="Embedding"):
        jaw = number % _OPEN_JAW_EVERY == _OPEN_JAW_EVERY - 1
        picture = studio.take(seed, number, angles=_ANGLES, uniform=True, open_jaw=jaw, still=True)
        subject, camera = picture.subject, picture.camera
        seen = witness(picture.pixels, project(camera, model.landmarks(subject.vertices)))
        if seen is None:
            continue
        pixels = seen.refined[:MESH_LANDMARKS, :2].astype(np.float64)
        points, cosines = trace(model, subject.vertices, camera, pixels)
        forward = camera.rotation @ [0, 0, 1]
        yaw = float(np.degrees(np.arctan2(forward[0], -forward[2])))
        good = np.isfinite(points[:, 0]) & (cosines > _FACING) & near_side(model, yaw)
        for k in np.flatnonzero(good):
            (opened if jaw else closed)[k].append(points[k])
    return closed, opened


def embed(model: HeadModel, closed: list[list[Float64]], opened: list[list[Float64]]) -> tuple[Float64, Float64]:
    """(468, 3) mm points near the mean head's skin, mirror-symmetric, and (468,) mm spreads."""
    points, spread = np.full((MESH_LANDMARKS, 3), np.nan), np.full(MESH_LANDMARKS, np.nan)
    lips = set(ATTENTION_LIPS)
    for k in range(MESH_LANDMARKS):
        # With the mouth closed, a ray through a lip's edge may land on the other lip.
        cloud = np.array(opened[k] if k in lips and len(opened[k]) >= _FEWEST else closed[k] + opened[k])
        if len(cloud) < _FEWEST:
            continue
        points[k] = np.median(cloud, axis=0)
        spread[k] = 1.2 * np.median(np.linalg.norm(cloud - points[k], axis=1))
    mirror = MIRROR[:MESH_LANDMARKS]
    both = np.stack([points, points[mirror] * [-1, 1, 1]])
    missing = np.isnan(both[:, :, 0]).all(0)
    if missing.any():
        raise ValueError(
            f"expected {_FEWEST} sightings of each landmark, too few of {np.flatnonzero(missing).tolist()}"
        )
    return np.nanmean(both, axis=0), np.nanmean(np.stack([spread, spread[mirror]]), axis=0)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--count", type=int, default=300)
    parser.add_argument("-s", "--seed", type=int, default=7)
    parser.add_argument("--model", type=Path, default=DEFAULT_FILE, help="head model, if not the shipped one")
    parser.add_argument("--appearance", type=Path, help="folder from training.appearance; without it colours are flat")
    parser.add_argument("--hair", type=Path, default=HAIR_FILE, help="hair file, if not the shipped one")
    parser.add_argument("--home", type=Path, help="folder of the landmark networks, if not the usual one")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    studio = open_studio(Sources(args.model, args.appearance, args.hair, args.home))
    model = studio.model
    points, spread = embed(model, *gather(studio, load_witness(args.home), args.count, args.seed))
    np.savez(args.output, points=points, spread=spread)
    moved = np.linalg.norm(points - model.landmarks(model.mean)[:MESH_LANDMARKS], axis=1)
    print(f"{args.output}: spread {np.median(spread):.2f} mm, moved by {np.median(moved):.2f} mm (medians)")


if __name__ == "__main__":
    main()
