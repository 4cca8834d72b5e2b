"""The mesh room's door: a head in, files out."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np

from maquette.headmodel import HeadModel, load_head_model
from maquette.rooms import PhotoView, Product, ReconstructOptions
from maquette.types import Float32, Head
from services.meshproc.detail import detailed_mesh
from services.meshproc.glb import write_glb
from services.meshproc.images import displacement_levels, encode_jpeg, encode_png, encode_tiff
from services.meshproc.materials import Maps, hair_names, maps_of
from services.meshproc.mesh import HeadMesh, model_mesh
from services.meshproc.obj import (
    DISPLACEMENT_NAME,
    MTL_NAME,
    NORMAL_NAME,
    colour_name,
    hair_alpha_name,
    hair_colour_name,
    write_mtl,
    write_obj,
)
from services.meshproc.overlay import draw_overlay
from services.meshproc.ply import write_ply
from services.meshproc.preview import draw_preview
from services.meshproc.solid import build_solid
from services.meshproc.stl import write_stl

_OBJ, _MTL, _PNG = "model/obj", "model/mtl", "image/png"


class Meshproc:
    """The mesh room in this process."""

    def __init__(self, model: HeadModel | None = None) -> None:
        """Work on heads of a model; the shipped one when None."""
        self._model = model or load_head_model()

    def products(self, head: Head, views: Sequence[PhotoView], options: ReconstructOptions) -> Iterator[Product]:
        """Mesh files in the order asked for, then the pictures; each as soon as it is ready.

        Args:
            head: The head.
            views: The photos it was made from, the main one first.
            options: Formats, expression, texture, detail and size.

        Raises:
            MeshInvalid: The head is not of this room's model, or a file cannot be made of it.
        """
        job = _Job(self._model, head, options)
        makers: dict[str, Callable[[], Iterator[Product]]] = {
            "obj": job.obj,
            "glb": job.glb,
            "ply": job.ply,
            "stl": job.stl,
        }
        for name in options.formats:
            yield from makers[name]()
        yield Product("preview.png", _PNG, encode_png(draw_preview(self._model, head, job.fine, job.maps)))
        if views:
            yield Product("overlay.png", _PNG, encode_png(draw_overlay(head, job.photo_mesh, job.maps, views[0])))


class _Job:
    """One head's files; what several of them need is made once."""

    def __init__(self, model: HeadModel, head: Head, options: ReconstructOptions) -> None:
        self._model, self._head, self._options = model, head, options
        self.maps: Maps | None = maps_of(head, options)

    @property
    def _vertices(self) -> Float32:
        return self._head.posed if self._options.expression == "photo" else self._head.neutral

    @property
    def _displacement(self) -> Float32 | None:
        return None if self.maps is None else self.maps.displacement

    @cached_property
    def mesh(self) -> HeadMesh:
        """The head on the model's own faces."""
        return model_mesh(self._model, self._vertices)

    @cached_property
    def fine(self) -> HeadMesh:
        """The head as finely as the options ask."""
        if self._displacement is None:
            return self.mesh
        return detailed_mesh(self._model, self._vertices, self._displacement)

    @cached_property
    def photo_mesh(self) -> HeadMesh:
        """The head in the photo's expression, whatever the options."""
        return self.fine if self._options.expression == "photo" else model_mesh(self._model, self._head.posed)

    def obj(self) -> Iterator[Product]:
        """OBJ with its materials and pictures, and the detailed mesh."""
        head, maps = self._head, self.maps
        yield Product("head.obj", _OBJ, write_obj(head, self.mesh, head.hair))
        yield Product(MTL_NAME, _MTL, write_mtl(head, maps, head.hair))
        if maps is not None:
            yield Product(
                colour_name(maps), "image/jpeg" if colour_name(maps).endswith(".jpg") else _PNG, _colour(maps)
            )
            if maps.normal is not None:
                yield Product(NORMAL_NAME, _PNG, encode_png(maps.normal))
            if maps.displacement is not None:
                yield Product(DISPLACEMENT_NAME, _PNG, encode_png(displacement_levels(maps.displacement)))
                yield Product("head_displacement.tif", "image/tiff", encode_tiff(maps.displacement))
                yield Product("head_detailed.obj", _OBJ, write_obj(head, self.fine, normals=False))
        for name, piece in zip(hair_names(head.hair), head.hair, strict=True):
            yield Product(hair_colour_name(name), _PNG, encode_png(np.ascontiguousarray(piece.colour[..., :3])))
            yield Product(hair_alpha_name(name), _PNG, encode_png(np.ascontiguousarray(piece.colour[..., 3])))

    def glb(self) -> Iterator[Product]:
        """GLB with morph targets and joints."""
        yield Product("head.glb", "model/gltf-binary", write_glb(self._model, self._head, self.maps, self._options))

    def ply(self) -> Iterator[Product]:
        """PLY with colours."""
        yield Product("head.ply", "application/octet-stream", write_ply(self._head, self.mesh, self.maps))

    def stl(self) -> Iterator[Product]:
        """The solid to print."""
        solid = build_solid(self._model, self.fine)
        yield Product("print.stl", "model/stl", write_stl(solid, self._options.size_mm))


def _colour(maps: Maps) -> bytes:
    return encode_jpeg(maps.colour) if colour_name(maps).endswith(".jpg") else encode_png(maps.colour)
