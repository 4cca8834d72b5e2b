"""The detector room's door: photo to faces."""

import math
from functools import cached_property

import numpy as np

from maquette import networks
from maquette.errors import FaceNotFound, NoFaceFound, OptionInvalid
from maquette.settings import Settings
from maquette.types import Face, Float64, Mask, Photo, UInt8
from services.detector.attention import AttentionMesh
from services.detector.boxes import OVERLAP, Box, BoxNetwork, full_range, overlaps, short_range, tiled, whole
from services.detector.landmarks import LandmarkFinder, Landmarks
from services.detector.mask import MaskNetwork
from services.detector.network import Network
from services.detector.pose import pose_of
from services.detector.quality import judge

MIN_MESH_SCORE = 0.5
CERTAIN = 0.8
"""Detection score × mesh score of a face that is not looked for further."""

LARGE_FACE = 0.25
"""A face of this part of the photo's shorter side is the subject; smaller ones are then not searched for."""


class Detector:
    """Finds faces, their landmarks and the person around them.

    Networks are loaded when first needed. One instance serves one thread at a time, because each network keeps its
    inputs and outputs; make one per thread.
    """

    def __init__(self, settings: Settings) -> None:
        """Check that the networks are set up.

        Raises:
            NetworkFilesMissing: They are not.
        """
        networks.require_networks(settings)
        self._settings = settings

    def detect(self, photo: Photo, *, everyone: bool = False) -> tuple[Face, ...]:
        """Find the faces of a photo.

        Args:
            photo: The photo.
            everyone: Also look for small faces beside a large one.

        Returns:
            Faces with their landmarks, by size × centrality, largest first.

        Raises:
            NoFaceFound: There is no face, or only what merely looks like one to the detection network.
        """
        pixels = photo.pixels
        found = self._meshes(pixels, whole(self._full_range, pixels))
        largest = max((_size(m) for m, _ in found), default=0.0)
        if not any(s >= CERTAIN for _, s in found):
            for turns in (1, 2, 3):
                found += self._meshes(pixels, whole(self._full_range, pixels, turns))
            found += self._meshes(pixels, whole(self._short_range, pixels))
        if everyone or largest < LARGE_FACE * min(pixels.shape[:2]):
            found += self._meshes(pixels, tiled(self._full_range, pixels))
        if not found:
            for turns in (1, 2, 3):
                found += self._meshes(pixels, tiled(self._full_range, pixels, turns))
        kept = _distinct(found)
        if not kept:
            raise NoFaceFound(f"no face found in {photo.name} ({photo.width} × {photo.height} pixels)")
        faces = [self._face(photo, m) for m in kept]
        return tuple(sorted(faces, key=lambda f: -_prominence(f, photo)))

    def mask(self, photo: Photo, face: Face) -> Mask:
        """Mask the person around a face of the photo."""
        return self._mask(photo.pixels, face)

    def _meshes(self, pixels: UInt8, boxes: list[Box]) -> list[tuple[Landmarks, float]]:
        """Landmarks of the boxes that are faces, with detection score × mesh score."""
        found = []
        for box in boxes:
            region, score = self._finder.rough(pixels, box.region())
            if score < MIN_MESH_SCORE:
                continue
            landmarks = self._finder.find(pixels, region)
            if landmarks.score >= MIN_MESH_SCORE:
                found.append((landmarks, box.score * landmarks.score))
        return found

    def _face(self, photo: Photo, found: Landmarks) -> Face:
        pose = pose_of(found.refined)
        box = _box(found)
        size = _size(found)
        return Face(
            box=np.asarray(box, np.float32),
            landmarks=np.asarray(found.refined, np.float32),
            plain_landmarks=np.asarray(found.plain, np.float32),
            canonical=pose.canonical,
            yaw=pose.yaw,
            pitch=pose.pitch,
            roll=pose.roll,
            score=found.score,
            size=size,
            quality=judge(photo, found, pose, size),
        )

    def _network(self, name: str) -> Network:
        return Network(networks.read_network(self._settings, name))

    @cached_property
    def _full_range(self) -> BoxNetwork:
        return full_range(self._network("face_detection_full_range_sparse.tflite"))

    @cached_property
    def _short_range(self) -> BoxNetwork:
        return short_range(self._network("face_detection_short_range.tflite"))

    @cached_property
    def _finder(self) -> LandmarkFinder:
        attention = AttentionMesh(self._network(networks.ATTENTION_TRUNK), self._network(networks.ATTENTION_HEADS))
        return LandmarkFinder(self._network("face_landmark.tflite"), attention)

    @cached_property
    def _mask(self) -> MaskNetwork:
        return MaskNetwork(self._network("selfie_segmentation.tflite"))


def pick(faces: tuple[Face, ...], which: str) -> tuple[Face, ...]:
    """Pick faces as the command line's ``--face`` does.

    Args:
        faces: From ``Detector.detect``, in its order.
        which: ``largest`` for the first, ``all``, or a number counted from 1.

    Raises:
        OptionInvalid: ``which`` is none of these.
        FaceNotFound: There are not so many faces.
    """
    if which == "all":
        return faces
    if which == "largest":
        return faces[:1]
    if not which.isascii() or not which.isdigit() or int(which) < 1:
        raise OptionInvalid(f"expected a face number from 1, `largest` or `all`, got {which!r}")
    number = int(which)
    if number > len(faces):
        raise FaceNotFound(f"asked for face {number}, found {len(faces)}", asked=number, found=len(faces))
    return (faces[number - 1],)


def _distinct(found: list[tuple[Landmarks, float]]) -> list[Landmarks]:
    """The best of each group of landmarks that lie over each other."""
    kept: list[Landmarks] = []
    for landmarks, _ in sorted(found, key=lambda f: -f[1]):
        boxes = np.array([_box(k) for k in kept]).reshape(-1, 4)
        if not (overlaps(_box(landmarks), boxes) > OVERLAP).any():
            kept.append(landmarks)
    return kept


def _box(found: Landmarks) -> Float64:
    """(4,) float64 box of the landmarks, photo pixels."""
    xy = found.refined[:, :2]
    return np.concatenate([xy.min(0), xy.max(0)])


def _size(found: Landmarks) -> float:
    box = _box(found)
    return float(max(box[2] - box[0], box[3] - box[1]))


def _prominence(face: Face, photo: Photo) -> float:
    """Size × centrality, which falls from 1 in the middle of the photo to a half in its corners."""
    x, y = (face.box[:2] + face.box[2:]) / 2
    away = math.hypot(x - photo.width / 2, y - photo.height / 2) / math.hypot(photo.width / 2, photo.height / 2)
    return face.size * (1 - 0.5 * min(1.0, away))
