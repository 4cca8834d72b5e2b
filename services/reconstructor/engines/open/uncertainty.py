"""How sure a head is, vertex by vertex: what the photos determined and what the prior filled in.

Nothing of it is derived from a noise model, because the landmarks' errors are correlated and follow none: it is
measured (``training.uncertainty``) on pictures of heads that the prior has not seen, and looked up by what is known of
a photo. A fit is a mean of single fits, so that the variance of n photos' is ``C/n + (1 - 1/n) (C - D)``: C is the mean
of their own variances, D the part of it that changes from one picture of a head to the next; only that averages out.

The heads measured are nearly symmetrical, so that the far side of a turned head comes out as well as the near one: it
is inferred from it. Yet nobody saw it. So what no photo shows does not count as determined, however sure it is.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maquette.errors import ModelFileInvalid
from maquette.headmodel import HeadModel
from maquette.headmodel.model import unpack
from maquette.types import Camera, Face, Float32, Float64, Int32, Photo
from services.reconstructor.engines.open.prior import signature

FORMAT = "maquette-uncertainty/1"
DEFAULT_FILE = Path(__file__).parent / "data" / "uncertainty.npz"

COVERED = {
    "right_eye": ("eye", True),
    "left_eye": ("eye", False),
    "mouth": ("mouth", False),
    "right_brow": ("brow", True),
    "left_brow": ("brow", False),
    "right_jaw": ("jaw", True),
    "left_jaw": ("jaw", False),
}
"""The detector's parts of the face, by what was covered in training, and whether on the other side."""

KINDS = ("eye", "mouth", "brow", "jaw")

_UPRIGHT = np.diag([1.0, -1.0, -1.0])
_SAME_MM = 0.3
_LARGEST_LOSS = 2.0
_SQUARE = 0.3
"""Cosine between a vertex's normal and the way to the camera from which it counts as seen."""


@dataclass(frozen=True, eq=False)
class Glimpse:
    """What decides how much a photo says about a head.

    Attributes:
        photo: Digest of the photo; the same photo again says nothing new.
        yaw: Degrees that the head is turned, to the subject's left.
        size: Larger side of the face's box in pixels.
        blur: The detector's measure, 0 to 1; 0 when unknown.
        covered: Names of the parts that something covers, see ``COVERED``.
        seen: (V,) float32, 0 to 1, how far each vertex faces the camera; None where all do.
    """

    photo: str
    yaw: float
    size: float
    blur: float = 0.0
    covered: tuple[str, ...] = ()
    seen: Float32 | None = None


def glimpse(photo: Photo, face: Face, camera: Camera, vertices: Float32, normals: Float32) -> Glimpse:
    """What a photo, its face and what was fitted to it say about how much was seen.

    Args:
        photo: The photo.
        face: Its face.
        camera: Its fitted camera.
        vertices: (V, 3) float32 mm of the fitted head.
        normals: (V, 3) float32, unit.
    """
    measures = face.quality.measures
    covered = tuple(part for part in COVERED if measures.get(f"cover_{part}", 0.0) >= 1)
    ray = camera.to_camera(vertices.astype(np.float64))
    cosine = -((normals @ camera.rotation.T) * ray).sum(1) / np.linalg.norm(ray, axis=1)
    seen = np.asarray(np.clip(cosine / _SQUARE, 0, 1), np.float32)
    return Glimpse(digest(photo), turn_of(camera.rotation), face.size, measures.get("blur", 0.0), covered, seen)


def digest(photo: Photo) -> str:
    """Of the photo's file, or of its pixels where there is no file."""
    return photo.sha256 or hashlib.sha256(photo.pixels.tobytes()).hexdigest()


def turn_of(rotation: Float64) -> float:
    """Degrees that a head is turned to its left, from its (3, 3) rotation into the camera frame."""
    across, _, along = (_UPRIGHT @ rotation)[:, 2]
    return float(np.degrees(np.arctan2(across, along)))


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Variances of V vertices in mm², mean over the axes, the head laid on the true one by a similarity of the face.

    Attributes:
        mirror: (V,) int32, twins of the vertices.
        population: (V,) float64, of heads about the mean head: what is known without a photo.
        turns: (T,) float64 degrees, from 0 on.
        single: (T, V) float64, of a fit to one good photo of a head turned so far to its left.
        differing: (V,) float64, the part that differs between photos of one head.
        sizes: (S,) float64, logarithms of face sizes in pixels, rising.
        size_loss: (S,) float64, part of what a good photo says that is lost at each; may exceed 1.
        blurs: (B,) float64, rising.
        blur_loss: (B,) float64.
        cover: (4, V) float64, added where something covers each of ``KINDS``, on the subject's left.
    """

    mirror: Int32
    population: Float64
    turns: Float64
    single: Float64
    differing: Float64
    sizes: Float64
    size_loss: Float64
    blurs: Float64
    blur_loss: Float64
    cover: Float64

    @classmethod
    def load(cls, model: HeadModel, path: Path = DEFAULT_FILE) -> "Uncertainty":
        """Read what ``training.uncertainty`` wrote.

        Args:
            model: Head model that it must have been measured with.
            path: The file.

        Raises:
            ModelFileInvalid: The file is missing, damaged, of another format or of another head model.
        """
        _, arrays, _ = unpack(path, FORMAT)
        try:
            deviations = {k: arrays[k].astype(np.float64) for k in ("population", "single", "differing", "cover")}
            tables = {k: arrays[k].astype(np.float64) for k in ("turns", "sizes", "size_loss", "blurs", "blur_loss")}
            trained = arrays["signature"].astype(np.float32)
        except (KeyError, ValueError) as error:
            raise ModelFileInvalid(f"{path}: {error}") from error
        v, (t,), (s,), (b,) = len(model.mean), *(tables[k].shape for k in ("turns", "sizes", "blurs"))
        found = {k: x.shape for k, x in (deviations | tables).items()}
        expected = {
            "population": (v,), "single": (t, v), "differing": (v,), "cover": (len(KINDS), v), "turns": (t,),
            "sizes": (s,), "size_loss": (s,), "blurs": (b,), "blur_loss": (b,),
        }  # fmt: skip
        if found != expected:
            raise ModelFileInvalid(f"{path}: has arrays of shapes {found}, expected {expected}")
        own = signature(model)
        if trained.shape != own.shape or float(np.abs(trained - own).max()) > _SAME_MM:
            raise ModelFileInvalid(
                f"{path}: measured with a head model of other identity modes; measure again as training/README.md says"
            )
        return cls(model.mirror, **{k: x**2 for k, x in deviations.items()}, **tables)

    def of(self, glimpses: Sequence[Glimpse]) -> tuple[Float32, Float32]:
        """How sure a head is.

        Args:
            glimpses: One per photo, at least one; of equal photos one counts.

        Returns:
            (V,) mm, one standard deviation per axis of a vertex; and (V,) 0 to 1, the share of the variance of heads
            that the photos removed, where one of them shows the vertex.
        """
        distinct = list({g.photo: g for g in glimpses}.values())
        mean = np.mean([self._variance(g) for g in distinct], axis=0)
        variance = mean - (1 - 1 / len(distinct)) * np.minimum(self.differing, mean)
        determined = np.clip(1 - variance / np.maximum(self.population, 1e-9), 0, 1)
        determined *= np.max([np.ones(len(variance)) if g.seen is None else g.seen for g in distinct], axis=0)
        return np.asarray(np.sqrt(variance), np.float32), np.asarray(determined, np.float32)

    def loss(self, size: float, blur: float) -> float:
        """Part of what a good photo says that a small or blurred face loses; above 1 it misleads."""
        small = float(np.interp(np.log(max(size, 1.0)), self.sizes, self.size_loss))
        return min(small + float(np.interp(blur, self.blurs, self.blur_loss)), _LARGEST_LOSS)

    def _variance(self, seen: Glimpse) -> Float64:
        """(V,) mm² of a fit to one photo."""
        turn = float(np.interp(abs(seen.yaw), self.turns, np.arange(len(self.turns))))
        k = min(int(turn), len(self.turns) - 2)
        variance = self.single[k] + (turn - k) * (self.single[k + 1] - self.single[k])
        if seen.yaw < 0:
            variance = variance[self.mirror]
        variance = variance + self.loss(seen.size, seen.blur) * (self.population - variance)
        for part in seen.covered:
            kind, other = COVERED[part]
            added = self.cover[KINDS.index(kind)]
            variance = variance + (added[self.mirror] if other else added)
        return np.asarray(variance, np.float64)
