"""How the networks see real faces otherwise than rendered ones: ``python -m training.calibration PHOTO... -o FILE``.

Pose and expression are fitted to photos of many people while the identity is held at the mean head. What is left over
is part identity, which averages out over people, and part the networks' own habit: that mean, turned into the head's
frame and averaged over both sides, is the ``landmark_offset`` of the head model. No ground truth is needed, but people:
with few, their own features would be taken for the networks' habit, so fewer than ``FEWEST`` are refused.

With ``--pictures`` the same is measured on training pictures, which says how far the embedding itself is off.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.progress import track

from maquette.errors import NoFaceFound
from maquette.headmodel import HeadModel, load_head_model
from maquette.headmodel.model import DEFAULT_FILE
from maquette.settings import Settings
from maquette.types import Camera, Float64
from services.detector.detector import Detector
from services.detector.photo import load_photo
from services.detector.topology import LANDMARKS, MESH_LANDMARKS, MIRROR
from services.reconstructor.engines.open.camera import first_camera
from services.reconstructor.engines.open.evidence import Evidence, gather
from services.reconstructor.engines.open.fit import Prior, Sight, solve
from services.reconstructor.engines.open.gaze import find_eyes
from training.pictures import records

FEWEST = 20
MOST_YAW = 28.0
_HELD = 1e6
"""Precision of the identity: the fit cannot move it."""

_FACING = 0.1
"""Least cosine between a landmark's normal and the way to the camera for its misfit to count."""


def leftover(sight: Sight, evidence: Evidence) -> Float64:
    """(468, 3) mm in the head frame, misfit of a fitted photo; NaN where the landmark is turned away."""
    camera = sight.camera
    x = camera.to_camera(evidence.points)
    off = np.zeros((MESH_LANDMARKS, 3))
    off[:, :2] = sight.misfit * x[:, 2:] / camera.focal
    normals = evidence.normals @ camera.rotation.T
    hidden = -(normals * x).sum(1) / np.linalg.norm(x, axis=1) <= _FACING
    off = off @ camera.rotation
    off[hidden] = np.nan
    return off


def calibrate(model: HeadModel, seen: list[tuple[Float64, Camera]]) -> Float64:
    """(478, 3) mm mean offset of the landmarks, mirror-symmetric, zero for the irises.

    Args:
        model: Head model.
        seen: Per photo (478, 3) landmarks in pixels and a first camera.
    """
    evidence, eyes = gather(model), find_eyes(model)
    prior = Prior(np.zeros(evidence.modes), np.full(evidence.modes, _HELD))
    rows = []
    for landmarks, camera in track(seen, description="Fitting"):
        solution = solve(evidence, eyes, [Sight(landmarks, camera)], prior)
        off = leftover(solution.sights[0], evidence)
        rows += [off, off[MIRROR[:MESH_LANDMARKS]] * [-1, 1, 1]]
    stack = np.stack(rows)
    count = np.isfinite(stack).sum(0)
    total = np.nansum(stack, axis=0)
    offset = np.zeros((LANDMARKS, 3))
    offset[:MESH_LANDMARKS] = total / np.maximum(count, 1)
    return offset


def from_photos(model: HeadModel, photos: list[Path], settings: Settings) -> Iterator[tuple[Float64, Camera]]:
    """Landmarks and first cameras of the largest face of each photo that is not turned away too far."""
    detector = Detector(settings)
    points = model.landmarks(model.mean)[:MESH_LANDMARKS].astype(np.float64)
    for path in photos:
        photo = load_photo(path, settings=settings)
        try:
            face = detector.detect(photo)[0]
        except NoFaceFound:
            continue
        if abs(face.yaw) < MOST_YAW:
            landmarks = face.landmarks.astype(np.float64)
            yield landmarks, first_camera(landmarks[:MESH_LANDMARKS], points, photo)


def from_pictures(model: HeadModel, path: Path) -> Iterator[tuple[Float64, Camera]]:
    """The same from training pictures, with the true cameras to start from."""
    taken = records.load(path, model.sha256)
    for k in range(len(taken)):
        side = int(2 * taken.centre[k].max())
        rotation, translation = taken.rotation[k].astype(np.float64), taken.translation[k].astype(np.float64)
        camera = Camera(float(taken.focal[k]), taken.centre[k].astype(np.float64), rotation, translation, side, side)
        if abs(np.degrees(np.arctan2(rotation[0, 2], -rotation[2, 2]))) < MOST_YAW:
            yield taken.refined[k].astype(np.float64), camera


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="*", help="photos of different people that may be used for this")
    parser.add_argument("--pictures", type=Path, help="file from training.pictures, instead of photos")
    parser.add_argument("--model", type=Path, default=DEFAULT_FILE, help="head model, if not the shipped one")
    parser.add_argument("--home", type=Path, help="folder of the landmark networks, if not the usual one")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    model = load_head_model(args.model)
    settings = Settings() if args.home is None else Settings(home=args.home)
    if args.pictures is not None:
        seen = list(from_pictures(model, args.pictures))
    else:
        seen = list(from_photos(model, args.photos, settings))
    if len(seen) < FEWEST:
        raise SystemExit(f"expected at least {FEWEST} usable faces, found {len(seen)}")
    offset = calibrate(model, seen)
    np.savez(args.output, offset=offset.astype(np.float32))
    size = np.sqrt((offset[:MESH_LANDMARKS] ** 2).sum(1).mean())
    print(f"{args.output}: {len(seen)} faces, offset {size:.2f} mm rms")


if __name__ == "__main__":
    main()
