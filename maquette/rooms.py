"""The doors of the three rooms: what a photo walks through.

Each room is one Protocol; the orchestration (``maquette.pipeline``) knows only these. In one process the rooms are
called directly; elsewhere the same calls travel.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from maquette.types import Caution, Face, Head, Mask, Photo

FORMATS = ("obj", "glb", "ply", "stl")


@dataclass(frozen=True)
class ReconstructOptions:
    """What the caller can choose.

    Attributes:
        engine: Engine name.
        texture: ``albedo`` (estimated light removed) or ``photo``.
        texture_size: Side of the colour map in texels, 1024 or 2048.
        detail: Add displacement, normal map and the detailed mesh.
        hair: ``auto``, ``none`` or a style of the hair library.
        expression: ``photo`` keeps the photo's expression, ``neutral`` removes it (GLB always rests in neutral).
        formats: Mesh formats to write, of ``FORMATS``.
        size_mm: Height of the printed solid; None for life size.
    """

    engine: str = "open"
    texture: Literal["albedo", "photo"] = "albedo"
    texture_size: int = 1024
    detail: bool = True
    hair: str = "auto"
    expression: Literal["photo", "neutral"] = "photo"
    formats: tuple[str, ...] = FORMATS
    size_mm: float | None = None


@dataclass(frozen=True)
class PhotoView:
    """One photo with the face in it that is reconstructed, and the mask of that person."""

    photo: Photo
    face: Face
    mask: Mask


@dataclass(frozen=True)
class Product:
    """One output file.

    Attributes:
        name: File name.
        media_type: Its media type.
        data: Its bytes.
    """

    name: str
    media_type: str
    data: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes."""
        return hashlib.sha256(self.data).hexdigest()


class DetectorRoom(Protocol):
    """Photo to faces."""

    def detect(self, photo: Photo) -> tuple[Face, ...]:
        """Faces, the most prominent first; raises NoFaceFound."""
        ...

    def mask(self, photo: Photo, face: Face) -> Mask:
        """Person mask around a face."""
        ...


class ReconstructorRoom(Protocol):
    """Photos and faces to a head."""

    def coarse(self, views: Sequence[PhotoView], options: ReconstructOptions) -> Head:
        """Shape only, quickly: ``textures`` is None and there is no hair. Raises FaceUnusable or PeopleMixed."""
        ...

    def complete(self, views: Sequence[PhotoView], coarse: Head, options: ReconstructOptions) -> Head:
        """Add textures, detail and hair to a coarse head of the same views."""
        ...


class MeshprocRoom(Protocol):
    """Head to products."""

    def products(
        self, head: Head, views: Sequence[PhotoView], options: ReconstructOptions
    ) -> Iterator[Product | Caution]:
        """Mesh files in the order asked for, then ``preview.png`` and ``overlay.png``; each as soon as it is ready.

        A format that cannot be made of this head is replaced by a caution that says why, if others are asked for;
        raises MeshInvalid if it is the only one.
        """
        ...
