"""What the landmark networks see in a picture."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maquette.networks import ATTENTION_HEADS, ATTENTION_TRUNK, read_network
from maquette.settings import Settings
from maquette.types import Float32, Float64, UInt8
from services.detector.attention import AttentionMesh
from services.detector.landmarks import LandmarkFinder, frame
from services.detector.network import Network
from services.detector.region import Pyramid

MIN_SCORE = 0.5


@dataclass(frozen=True)
class Evidence:
    """Landmarks of one face, in pixels, y down, z smaller is nearer.

    Attributes:
        refined: (478, 3) float32, with lips, eyes, brows and irises from the attention network.
        plain: (478, 3) float32, the face mesh alone.
        score: Probability of a face.
    """

    refined: Float32
    plain: Float32
    score: float


class Witness:
    """The landmark networks, without a detector: the face's place in the picture is known."""

    def __init__(self, settings: Settings) -> None:
        """Load the networks.

        Raises:
            NetworkFilesMissing: They are not set up.
        """

        def network(name: str) -> Network:
            return Network(read_network(settings, name))

        attention = AttentionMesh(network(ATTENTION_TRUNK), network(ATTENTION_HEADS))
        self._finder = LandmarkFinder(network("face_landmark.tflite"), attention)

    def __call__(self, picture: UInt8, near: Float64) -> Evidence | None:
        """Find the landmarks.

        Args:
            picture: (H, W, 3) uint8 sRGB.
            near: (478, 2) or (478, 3) float64, about where they are, pixels.

        Returns:
            None where the networks see no face there.
        """
        photo = Pyramid(picture)
        region, score = self._finder.rough(photo, frame(near))
        if score < MIN_SCORE:
            return None
        found = self._finder.find(photo, region)
        if found.score < MIN_SCORE:
            return None
        refined, plain = (np.asarray(p, np.float32) for p in (found.refined, found.plain))
        return Evidence(refined, plain, found.score)


def load_witness(home: Path | None) -> Witness:
    """The networks of an installation; the default one when ``home`` is None."""
    return Witness(Settings() if home is None else Settings(home=home))
