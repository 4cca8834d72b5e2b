"""The detector room's door: photo to faces."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from maquette import networks
from maquette.errors import NoFaceFound
from maquette.settings import Settings
from maquette.types import Face, Float64, Mask, Photo
from services.detector.attention import AttentionMesh
from services.detector.boxes import (
    MIN_FACE,
    OVERLAP,
    Box,
    BoxNetwork,
    full_range,
    overlaps,
    short_range,
    tiled,
    upright,
    whole,
)
from services.detector.landmarks import LandmarkFinder, Landmarks
from services.detector.mask import MaskNetwork
from services.detector.network import Network
from services.detector.pose import pose_of
from services.detector.quality import judge
from services.detector.region import Pyramid

MIN_MESH_SCORE = 0.5
MIN_CERTAINTY = 0.6
"""Scores of the mesh and of the detection network (looking at the upright face) below which something is no face."""

CERTAIN = 0.85
"""Certainty of a face after which the photo is not turned to look for others."""

STRONG = 0.6
"""Detection score from which a box among tiles is tried every way up; many weaker ones are no faces."""

BYSTANDER = 0.25
"""Faces below this part of the largest one's size are not searched for."""


@dataclass(frozen=True)
class _Found:
    """A face on its way.

    Attributes:
        landmarks: Its landmarks.
        certainty: Score of the upright face in the detection network × mesh score.
    """

    landmarks: Landmarks
    certainty: float

    @property
    def box(self) -> Float64:
        """(4,) float64 box of the landmarks, photo pixels."""
        xy = self.landmarks.refined[:, :2]
        return np.concatenate([xy.min(0), xy.max(0)])

    @property
    def size(self) -> float:
        """Larger side of the box."""
        return float((self.box[2:] - self.box[:2]).max())


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

    def detect(self, photo: Photo) -> tuple[Face, ...]:
        """Find the faces of a photo.

        Args:
            photo: The photo.

        Returns:
            Faces with their landmarks, by size × centrality, largest first. Beside a large face small ones in the
            background may be left out (``BYSTANDER``).

        Raises:
            NoFaceFound: There is no face, or only what merely looks like one to the detection network.
        """
        picture = Pyramid(photo.pixels)
        found = self._meshes(picture, self._whole(picture))
        if not any(f.certainty >= CERTAIN for f in found):
            for turns in (1, 2, 3):
                found += self._meshes(picture, self._whole(picture, turns))
        largest = max((f.size for f in found), default=0.0)
        smallest = max(MIN_FACE, BYSTANDER * largest)
        found += self._meshes(picture, tiled(self._full_range, picture, smallest), any_way=STRONG)
        # Where the faces seen so far lie on their side, so do those that are hard to see; where none is, all might.
        for turns in sorted({_quarters(f) for f in found} - {0}) if found else (1, 2, 3):
            found += self._meshes(picture, tiled(self._full_range, picture, smallest, turns), any_way=STRONG)
        kept = _distinct(found)
        if not kept:
            raise NoFaceFound(f"no face found in {photo.name} ({photo.width} × {photo.height} pixels)")
        faces = [self._face(picture, m) for m in kept]
        return tuple(sorted(faces, key=lambda f: -_prominence(f, photo)))

    def mask(self, photo: Photo, face: Face) -> Mask:
        """Mask the person around a face of the photo."""
        return self._mask(photo.pixels, face)

    def _whole(self, photo: Pyramid, turns: int = 0) -> list[Box]:
        """What either network sees in the whole photo: large faces the one, smaller ones the other."""
        return whole(self._short_range, photo, turns) + whole(self._full_range, photo, turns)

    def _meshes(self, photo: Pyramid, boxes: list[Box], *, any_way: float = 0.0) -> list[_Found]:
        """Landmarks of the boxes that are faces; boxes that score at least ``any_way`` are tried every way up."""
        found: list[_Found] = []
        for box in boxes:
            if any(overlaps(f.box, box.corners[None])[0] > OVERLAP for f in found):
                continue
            region, certainty = upright(self._short_range, photo, box, any_way=box.score >= any_way)
            if certainty < MIN_CERTAINTY:
                continue
            region, score = self._finder.rough(photo, region)
            if score < MIN_MESH_SCORE:
                continue
            landmarks = self._finder.find(photo, region)
            if landmarks.score >= MIN_MESH_SCORE:
                found.append(_Found(landmarks, certainty * landmarks.score))
        return found

    def _face(self, picture: Pyramid, found: _Found) -> Face:
        landmarks = found.landmarks
        pose = pose_of(landmarks.refined)
        return Face(
            box=np.asarray(found.box, np.float32),
            landmarks=np.asarray(landmarks.refined, np.float32),
            plain_landmarks=np.asarray(landmarks.plain, np.float32),
            canonical=pose.canonical,
            yaw=pose.yaw,
            pitch=pose.pitch,
            roll=pose.roll,
            score=landmarks.score,
            size=found.size,
            quality=judge(picture, landmarks, pose, found.size),
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


def _quarters(found: _Found) -> int:
    """Quarter turns counter-clockwise that set a face upright, 0 to 3."""
    return round(found.landmarks.region.angle / (math.pi / 2)) % 4


def _distinct(found: list[_Found]) -> list[_Found]:
    """The most certain of each group that lies over each other."""
    kept: list[_Found] = []
    for candidate in sorted(found, key=lambda f: -f.certainty):
        boxes = np.array([k.box for k in kept]).reshape(-1, 4)
        if not (overlaps(candidate.box, boxes) > OVERLAP).any():
            kept.append(candidate)
    return kept


def _prominence(face: Face, photo: Photo) -> float:
    """Size × centrality, which falls from 1 in the middle of the photo to a half in its corners."""
    x, y = (face.box[:2] + face.box[2:]) / 2
    away = math.hypot(x - photo.width / 2, y - photo.height / 2) / math.hypot(photo.width / 2, photo.height / 2)
    return face.size * (1 - 0.5 * min(1.0, away))
