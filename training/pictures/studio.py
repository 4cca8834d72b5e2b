"""One random picture from one random number stream."""

from dataclasses import dataclass

import numpy as np

from maquette.headmodel import HeadModel
from maquette.headmodel.hair import HairLibrary
from maquette.types import Camera, UInt8
from training.appearance import Appearance
from training.pictures.backdrop import draw_backdrop
from training.pictures.canvas import Canvas, make_canvas
from training.pictures.coat import draw_coat
from training.pictures.lens import develop
from training.pictures.light import draw_light
from training.pictures.shot import Stage, render
from training.pictures.skin import SkinLibrary
from training.pictures.subject import Subject, draw_subject
from training.pictures.view import Angles, draw_camera
from training.pictures.wardrobe import Wardrobe

SIZE = 384


@dataclass(frozen=True)
class Picture:
    """A picture and what it shows.

    Attributes:
        pixels: (N, N, 3) uint8 sRGB.
        subject: The head.
        camera: The camera.
    """

    pixels: UInt8
    subject: Subject
    camera: Camera


class Studio:
    """Takes pictures of random heads."""

    def __init__(
        self,
        model: HeadModel,
        appearance: Appearance | None = None,
        hair: HairLibrary | None = None,
        *,
        size: int = SIZE,
    ) -> None:
        """Prepare what all pictures share.

        Args:
            model: Head model.
            appearance: Skins and brows; None for flat colours.
            hair: Hair and lashes; None for cropped and bald heads only.
            size: Side of the pictures in pixels.
        """
        self.model = model
        self.size = size
        self._skins = None if appearance is None else SkinLibrary(model, appearance)
        self.canvas: Canvas = make_canvas(model)
        self._wardrobe = Wardrobe(model, self.canvas, hair)
        face = model.landmarks(model.mean)[:468]
        self._centre = (face.max(0) + face.min(0)).astype(np.float64) / 2 + [0, 8, -25]

    def take(
        self, seed: int, number: int, *, angles: Angles | None = None, uniform: bool = False, open_jaw: bool = False,
        still: bool = False,
    ) -> Picture:  # fmt: skip
        """The picture of a seed and a number; the same two always give the same picture.

        Args:
            seed: Seed of the series.
            number: Number in the series.
            angles: Spread of the pose.
            uniform: Yaw uniform within the limits.
            open_jaw: The jaw is open and nothing else moves.
            still: Nothing moves.
        """
        rng = np.random.default_rng([seed, number])
        subject = draw_subject(self.model, rng, open_jaw=open_jaw, still=still)
        camera = draw_camera(rng, self._centre, self.size, angles, uniform=uniform)
        coat = draw_coat(self.model, self.canvas, rng, self._skins)
        stage = Stage(
            self.model,
            self.canvas,
            subject.vertices,
            camera,
            coat,
            self._wardrobe.dress(subject, coat, rng),
            self._skins,
        )
        radiance, face = render(stage, camera, draw_light(rng), draw_backdrop(rng, self.size), rng)
        return Picture(develop(radiance, face, rng), subject, camera)
