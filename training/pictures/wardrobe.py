"""What a person wears: hair, lashes, beard, glasses."""

import numpy as np
from scipy.spatial import cKDTree

from maquette.geometry.surface import vertex_normals
from maquette.headmodel import HeadModel
from maquette.headmodel.hair import MEAN_LUMINANCE, HairLibrary, HairStyle
from maquette.types import Float32, Float64
from training.pictures.canvas import Canvas
from training.pictures.coat import Coat
from training.pictures.lens import to_linear
from training.pictures.props import draw_fur, draw_glasses
from training.pictures.shot import Prop
from training.pictures.subject import Subject

_BEARD, _GLASSES, _LASHES = 0.16, 0.2, 0.85
_BALD, _CROPPED = 0.1, 0.15
"""Shares of the pictures."""


class Wardrobe:
    """Everything there is to wear."""

    def __init__(self, model: HeadModel, canvas: Canvas, library: HairLibrary | None) -> None:
        self._model, self._canvas = model, canvas
        styles = () if library is None else library.styles
        self._hair = [s for s in styles if s.kind == "hair"]
        self._lashes = [s for s in styles if s.kind == "lashes"]
        level = float(to_linear(np.array([MEAN_LUMINANCE * 255], np.float32))[0])
        self._pictures = {}
        for s in self._hair + self._lashes:
            opacity = s.picture[..., 1].astype(np.float32) / 255
            self._pictures[id(s)] = np.stack([to_linear(s.picture[..., 0]) / level, opacity], -1)

    def dress(self, subject: Subject, coat: Coat, rng: np.random.Generator) -> tuple[Prop, ...]:
        """Random hair, lashes, beard and glasses for a head."""
        props: list[Prop] = []
        model, mask = self._model, self._canvas.masks
        if rng.random() < _BEARD:
            where = np.maximum(mask["beard"] * rng.choice([0.0, 1.0], p=[0.15, 0.85]), mask["moustache"])
            length = float(np.exp(rng.uniform(np.log(1.5), np.log(11))))
            props.append(draw_fur(model, subject, where, coat.hair, length, rng.uniform(0.35, 1.0), rng))
        head = rng.random()
        if _BALD < head < _BALD + _CROPPED or (head > _BALD and not self._hair):
            length = float(np.exp(rng.uniform(np.log(1.5), np.log(8))))
            props.append(draw_fur(model, subject, mask["scalp"], coat.hair, length, rng.uniform(0.5, 1.0), rng))
        elif head > _BALD:
            style = self._hair[rng.integers(len(self._hair))]
            props.append(self._worn(style, subject, coat.hair, rng, volume=rng.uniform(0.9, 1.35)))
        if self._lashes and rng.random() < _LASHES:
            style = self._lashes[rng.integers(len(self._lashes))]
            # Lashes are darker than the hair, and few people's stand out.
            dark = np.minimum(coat.hair * rng.uniform(0.2, 0.8), 0.03)
            props.append(self._worn(style, subject, dark, rng, volume=rng.uniform(0.4, 0.9)))
        if rng.random() < _GLASSES:
            props += draw_glasses(model, subject, rng)
        return tuple(props)

    def _worn(
        self, style: HairStyle, subject: Subject, colour: Float64, rng: np.random.Generator, volume: float
    ) -> Prop:
        """A style on a head, sometimes mirrored, its offset from the skin scaled."""
        mirrored = rng.random() < 0.5
        flip = np.array([-1, 1, 1], np.float32)
        skin = subject.vertices[self._model.mirror] * flip if mirrored else subject.vertices
        base = np.einsum("hkc,hk->hc", skin[style.anchors], style.weights)
        points: Float32 = base + np.float32(volume) * (style.place(skin) - base)
        if mirrored:
            points = points * flip
        gloss = float(rng.uniform(0.1, 0.6))
        opacity = self._above_face(points, subject) if style.kind == "hair" else None
        picture = self._pictures[id(style)]
        return Prop(points.astype(np.float32), style.triangles, style.uv, picture, colour, gloss, True, opacity)

    def _above_face(self, points: Float32, subject: Subject) -> Float32:
        """(H,) float32 opacity: hair made for another forehead would show in tatters where it dips into this one."""
        face = np.flatnonzero(self._canvas.masks["scalp"] < 0.5)
        face = face[self._model.part("skin")[face]]
        at = subject.vertices[face]
        normals = vertex_normals(subject.vertices, self._model.triangles)[face]
        distance, near = cKDTree(at).query(points)
        height = ((points - at[near]) * normals[near]).sum(1)
        return np.asarray(np.where(distance < 12, np.clip((height - 0.8) / 2, 0, 1), 1), np.float32)
