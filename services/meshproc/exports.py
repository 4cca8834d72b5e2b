"""The mesh room's door: a head in, files out."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property

import numpy as np

from maquette.errors import MeshInvalid
from maquette.headmodel import HeadModel, load_head_model
from maquette.rooms import PhotoView, Product, ReconstructOptions
from maquette.types import Caution, Float32, Hair, Head
from services.meshproc.detail import detailed_mesh, refined
from services.meshproc.drape import Anchors
from services.meshproc.glb import write_glb
from services.meshproc.images import PngOnce, displacement_levels, encode_png, encode_tiff
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
from services.meshproc.picture import Paint, Sitter, open_sky
from services.meshproc.ply import write_ply
from services.meshproc.preview import draw_preview
from services.meshproc.solid import build_solid
from services.meshproc.stl import write_stl

STL_NAME = "print.stl"

_OBJ, _MTL, _PNG = "model/obj", "model/mtl", "image/png"


class Meshproc:
    """The mesh room in this process."""

    def __init__(self, model: HeadModel | None = None) -> None:
        """Work on heads of a model; the shipped one when None."""
        self._model = model or load_head_model()

    def products(
        self, head: Head, views: Sequence[PhotoView], options: ReconstructOptions
    ) -> Iterator[Product | Caution]:
        """Mesh files in the order asked for, then the pictures; each as soon as it is ready.

        Of a head that bounds no solid the other files are still good: if others are asked for, the caution
        ``solid_failed`` takes the place of ``print.stl``.

        Args:
            head: The head.
            views: The photos it was made from, the main one first.
            options: Formats, expression, texture, detail and size.

        Raises:
            MeshInvalid: The head is not of this room's model, or the solid alone is asked for and there is none.
        """
        job = _Job(self._model, head, options)
        makers: dict[str, Callable[[], Iterator[Product | Caution]]] = {
            "obj": job.obj,
            "glb": job.glb,
            "ply": job.ply,
            "stl": job.stl,
        }
        job.prepare()
        pictures: list[Callable[[], Product]] = [job.preview]
        if views:
            pictures.append(lambda: job.overlay(views[0]))
        # The pictures are drawn beside the files: most of either runs outside the interpreter.
        with ThreadPoolExecutor(max_workers=1) as beside:
            drawn = [beside.submit(picture) for picture in pictures]
            try:
                for name in options.formats:
                    yield from makers[name]()
                # What is still waiting when the files are there is drawn here.
                here = {k: picture() for k, picture in enumerate(pictures) if drawn[k].cancel()}
                for k, future in enumerate(drawn):
                    yield here[k] if k in here else future.result()
            finally:
                for future in drawn:
                    future.cancel()


class _Job:
    """One head's files; what several of them need is made once."""

    def __init__(self, model: HeadModel, head: Head, options: ReconstructOptions) -> None:
        self._model, self._head, self._options = model, head, options
        self._maps: Maps | None = maps_of(head, options)
        # Pictures over the photo have its light, whatever the colour map of the files.
        self._photo_map = maps_of(head, replace(options, texture="photo"))
        self._png = PngOnce()

    def prepare(self) -> None:
        """Make what files and pictures share, before they are made side by side."""
        _ = self._fine, self._hair

    def obj(self) -> Iterator[Product]:
        """OBJ with its materials and pictures, and the detailed mesh."""
        head, maps = self._head, self._maps
        yield Product("head.obj", _OBJ, write_obj(head, self._mesh, self._hair))
        yield Product(MTL_NAME, _MTL, write_mtl(head, maps, self._hair))
        if maps is not None:
            yield Product(colour_name(maps), _PNG, encode_png(maps.colour))
            if maps.normal is not None:
                yield Product(NORMAL_NAME, _PNG, self._png(maps.normal))
            if maps.displacement is not None:
                yield Product(DISPLACEMENT_NAME, _PNG, encode_png(displacement_levels(maps.displacement)))
                yield Product("head_displacement.tif", "image/tiff", encode_tiff(maps.displacement))
                yield Product("head_detailed.obj", _OBJ, write_obj(head, self._fine, normals=False))
        for name, piece in zip(hair_names(self._hair), self._hair, strict=True):
            yield Product(hair_colour_name(name), _PNG, self._png(piece.colour))
            yield Product(hair_alpha_name(name), _PNG, encode_png(np.ascontiguousarray(piece.colour[..., 3])))

    def glb(self) -> Iterator[Product]:
        """GLB with morph targets and joints."""
        data = write_glb(self._model, self._head, self._maps, self._options, self._png)
        yield Product("head.glb", "model/gltf-binary", data)

    def ply(self) -> Iterator[Product]:
        """PLY with colours and uncertainty."""
        fit = self._head.fit
        certainty = self._at(self._fine, np.stack([fit.uncertainty, fit.determined], 1))
        data = write_ply(self._head, self._fine, self._maps, certainty)
        yield Product("head.ply", "application/vnd.ply", data)

    def stl(self) -> Iterator[Product | Caution]:
        """The solid to print."""
        try:
            data = write_stl(build_solid(self._model, self._fine), self._options.size_mm)
        except MeshInvalid as error:
            if len(self._options.formats) == 1:
                raise
            yield Caution("solid_failed", f"{STL_NAME} is missing, because the head bounds no solid: {error}")
            return
        yield Product(STL_NAME, "model/stl", data)

    def preview(self) -> Product:
        """The head from three sides."""
        paint = None if self._maps is None else Paint(self._maps.colour)
        baked = self._options.texture == "photo"
        # The edge of the bust is highest at the back; below that one would look inside.
        bust = float(self._vertices[self._model.region("bust"), 1].max())
        picture = draw_preview(self._sitter, bust, paint, baked=baked)
        return Product("preview.png", _PNG, encode_png(picture))

    def overlay(self, view: PhotoView) -> Product:
        """The head over the photo, in the photo's expression whatever the options."""
        paint = None if self._photo_map is None else Paint(self._photo_map.colour)
        sitter = self._sitter if self._posed else self._sitter_of(self._head.posed, self._head.hair)
        camera = self._head.fit.views[0].camera
        return Product("overlay.png", _PNG, encode_png(draw_overlay(sitter, camera, view.photo.pixels, paint)))

    @property
    def _posed(self) -> bool:
        return self._options.expression == "photo"

    @property
    def _vertices(self) -> Float32:
        return self._head.posed if self._posed else self._head.neutral

    @cached_property
    def _hair(self) -> tuple[Hair, ...]:
        """Hair on the head as the options ask for it; it comes on the posed one."""
        if self._posed:
            return self._head.hair
        step = self._head.neutral - self._head.posed
        return tuple(Anchors(self._model, self._head.posed, piece).moved(piece, step) for piece in self._head.hair)

    @cached_property
    def _mesh(self) -> HeadMesh:
        """The head on the model's own faces."""
        return model_mesh(self._model, self._vertices)

    @cached_property
    def _fine(self) -> HeadMesh:
        """The head as finely as the options ask."""
        return self._finest(self._vertices)

    @cached_property
    def _sitter(self) -> Sitter:
        return self._sitter_of(self._vertices, self._hair)

    def _sitter_of(self, vertices: Float32, hair: Sequence[Hair]) -> Sitter:
        fine = self._fine if vertices is self._vertices else self._finest(vertices)
        sky = self._at(fine, open_sky(vertices, self._model.triangles)[:, None])
        return Sitter(fine, sky[:, 0], hair)

    def _at(self, mesh: HeadMesh, values: Float32) -> Float32:
        """Values at the vertices of a mesh, refined or not, from those at the model's."""
        return refined(self._model, values) if len(mesh.vertices) > len(values) else values

    def _finest(self, vertices: Float32) -> HeadMesh:
        displacement = None if self._maps is None else self._maps.displacement
        if displacement is None:
            return model_mesh(self._model, vertices)
        return detailed_mesh(self._model, vertices, displacement)
