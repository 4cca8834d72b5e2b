"""Pictures with known shape, reduced to what the training needs, and their file."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from maquette.types import Float32

FORMAT = "maquette-pictures/1"


@dataclass(frozen=True)
class Records:
    """N pictures.

    Attributes:
        refined: (N, 478, 3) float32 landmarks, pixels, with the attention network's.
        plain: (N, 478, 3) float32 landmarks, pixels, the face mesh alone.
        truth: (N, 478, 2) float32 where the model's landmarks project to, pixels.
        identity: (N, K) float32.
        expression: (N, 52) float32.
        rotation: (N, 3, 3) float32, head frame to camera frame.
        translation: (N, 3) float32 mm.
        focal: (N,) float32 pixels.
        centre: (N, 2) float32 pixels.
        score: (N,) float32 probability of a face.
        seed: (N,) int64, seed and number of each picture.
    """

    refined: Float32
    plain: Float32
    truth: Float32
    identity: Float32
    expression: Float32
    rotation: Float32
    translation: Float32
    focal: Float32
    centre: Float32
    score: Float32
    seed: np.ndarray

    def __len__(self) -> int:
        return len(self.refined)

    def __getitem__(self, index: np.ndarray) -> "Records":
        """Some of the records."""
        return Records(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def join(parts: list[Records]) -> Records:
    """All records of several lists."""
    return Records(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Records)})


def save(path: Path, records: Records, model: str) -> None:
    """Write records; ``model`` is the digest of the head model that made them."""
    arrays = {f.name: getattr(records, f.name) for f in fields(records)}
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as f:
        np.savez(f, format=np.array(FORMAT), model=np.array(model), **arrays)
    temporary.replace(path)


def load(path: Path, model: str) -> Records:
    """Read records.

    Raises:
        ValueError: The file is of another format or was made with another head model.
    """
    with np.load(path, allow_pickle=False) as z:
        if str(z["format"]) != FORMAT:
            raise ValueError(f"{path}: expected format {FORMAT}, found {z['format']}")
        if str(z["model"]) != model:
            raise ValueError(f"{path}: made with head model {str(z['model'])[:12]}, expected {model[:12]}")
        return Records(**{f.name: z[f.name] for f in fields(Records)})
