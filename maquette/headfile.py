"""A head as one safetensors file: what travels between the rooms and lies in the object store.

Layout ``maquette-head/1``: a JSON header (``HeadHeader``) and these arrays, in the frames and units of
``maquette.types``; i counts photos and hair meshes from 0::

    identity (K,) float32             uncertainty, determined (V,) float32
    neutral, posed (V, 3) float32
    views.i.expression (52,) float32  views.i.gaze (2, 2) float32        views.i.residual_px (478, 2) float32
    views.i.centre (2,) float64       views.i.rotation (3, 3) float64    views.i.translation (3,) float64
    textures.photo, textures.albedo (N, N, 3) uint8                      textures.weight (N, N) float32
    textures.displacement (M, M) float32                                 textures.normal (M, M, 3) uint8
    textures.lighting (9, 3) float64
    hair.i.vertices (H, 3) float32    hair.i.triangles (T, 3) int32      hair.i.uv (H, 2) float32
    hair.i.colour (P, Q, 4) uint8

A coarse head has no ``textures.*``; displacement and normal map may be absent each on its own.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from maquette.errors import MessageInvalid
from maquette.headmodel import load_head_model
from maquette.tensorfile import Header, Spec, pack, read_header, unpack
from maquette.types import Camera, Caution, Fit, Hair, Head, Textures, View

FORMAT = "maquette-head/1"
MEDIA_TYPE = "application/vnd.maquette.head+safetensors"

_WITH_TEXTURES = ("photo", "albedo", "weight", "lighting")
_OPTIONAL = ("displacement", "normal")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Topology(_Part):
    """Which mesh it is.

    Attributes:
        id: Name of the mesh; equal names have equal vertex indices.
        version: Version of the head model with that mesh.
    """

    id: str
    version: str


class WarningPart(_Part):
    """A ``Caution``."""

    code: str
    message: str


class ViewPart(_Part):
    """What is no array of a ``View``: focal length and picture size in pixels."""

    focal: float
    width: int
    height: int


class HeadHeader(Header):
    """What a head file says of itself.

    Attributes:
        engine: Engine name and version.
        model: Head model name and version.
        topology: Its mesh.
        licence: Terms the result comes under.
        warnings: What the user should know.
        views: One per photo.
        textures: Names of the maps that are there; none in a coarse head.
        hair: Style names of the hair meshes.
    """

    engine: str
    model: str
    topology: Topology
    licence: str
    warnings: tuple[WarningPart, ...]
    views: tuple[ViewPart, ...] = Field(min_length=1)
    textures: tuple[str, ...]
    hair: tuple[str, ...]


def encode_head(head: Head) -> bytes:
    """Head to file; ``decode_head`` makes the same head of it, and that one the same bytes.

    Raises:
        MessageInvalid: An array is not of the type or shape that ``maquette.types`` promises.
    """
    header = HeadHeader(
        format=FORMAT,
        engine=head.engine,
        model=head.model,
        topology=topology_of(head),
        licence=head.licence,
        warnings=tuple(WarningPart(code=w.code, message=w.message) for w in head.fit.warnings),
        views=tuple(
            ViewPart(focal=float(v.camera.focal), width=int(v.camera.width), height=int(v.camera.height))
            for v in head.fit.views
        ),
        textures=tuple(_maps(head.textures)),
        hair=tuple(h.name for h in head.hair),
    )
    return pack(header, _arrays(head), _specs(header))


def decode_head(data: bytes) -> Head:
    """File to head.

    Raises:
        MessageInvalid: It is no head file, damaged, or of another version.
    """
    header = read_head_header(data)
    a = unpack(data, FORMAT, _specs(header))
    _check_topology(header, len(a["neutral"]))
    views = tuple(
        View(
            Camera(
                v.focal,
                a[f"views.{i}.centre"],
                a[f"views.{i}.rotation"],
                a[f"views.{i}.translation"],
                v.width,
                v.height,
            ),
            a[f"views.{i}.expression"],
            a[f"views.{i}.gaze"],
            a[f"views.{i}.residual_px"],
        )
        for i, v in enumerate(header.views)
    )
    warnings = tuple(Caution(w.code, w.message) for w in header.warnings)
    fit = Fit(a["identity"], views, a["uncertainty"], a["determined"], warnings)
    textures = None
    if header.textures:
        textures = Textures(
            a["textures.photo"],
            a["textures.albedo"],
            a["textures.weight"],
            a.get("textures.displacement"),
            a.get("textures.normal"),
            a["textures.lighting"],
        )
    hair = tuple(
        Hair(
            name,
            a[f"hair.{i}.vertices"],
            a[f"hair.{i}.triangles"],
            a[f"hair.{i}.uv"],
            a[f"hair.{i}.colour"],
        )
        for i, name in enumerate(header.hair)
    )
    return Head(header.engine, header.model, header.licence, fit, a["neutral"], a["posed"], textures, hair)


def read_head_header(data: bytes) -> HeadHeader:
    """What a head file says of itself, its arrays left alone.

    Raises:
        MessageInvalid: It is no head file, or of another version.
    """
    header = read_header(data, HeadHeader, FORMAT)
    known = [n for n in (*_WITH_TEXTURES, *_OPTIONAL) if n in header.textures]
    if header.textures and (list(header.textures) != known or any(n not in known for n in _WITH_TEXTURES)):
        raise MessageInvalid(
            f"expected textures to be {', '.join(_WITH_TEXTURES)} and perhaps {', '.join(_OPTIONAL)} in this order, "
            f"found {', '.join(header.textures)[:160]}"
        )
    return header


def topology_of(head: Head) -> Topology:
    """The mesh of a head: that of the project's own model, or whatever name another engine's model has."""
    model = load_head_model()
    if head.model == f"{model.name} {model.version}":
        return Topology(id=model.topology, version=model.version)
    name, _, version = head.model.rpartition(" ")
    return Topology(id=name or version, version=version if name else "")


def _check_topology(header: HeadHeader, vertices: int) -> None:
    model = load_head_model()
    if header.topology.id == model.topology and vertices != len(model.mean):
        raise MessageInvalid(
            f"expected {len(model.mean)} vertices of a head of topology {model.topology}, found {vertices}"
        )


def _maps(textures: Textures | None) -> list[str]:
    if textures is None:
        return []
    return [*_WITH_TEXTURES, *(n for n in _OPTIONAL if getattr(textures, n) is not None)]


def _arrays(head: Head) -> dict[str, NDArray[Any]]:
    fit = head.fit
    arrays: dict[str, NDArray[Any]] = {
        "identity": fit.identity,
        "uncertainty": fit.uncertainty,
        "determined": fit.determined,
        "neutral": head.neutral,
        "posed": head.posed,
    }
    for i, view in enumerate(fit.views):
        arrays |= {f"views.{i}.{n}": getattr(view, n) for n in ("expression", "gaze", "residual_px")}
        arrays |= {f"views.{i}.{n}": getattr(view.camera, n) for n in ("centre", "rotation", "translation")}
    arrays |= {f"textures.{n}": getattr(head.textures, n) for n in _maps(head.textures)}
    for i, hair in enumerate(head.hair):
        arrays |= {f"hair.{i}.{n}": getattr(hair, n) for n in ("vertices", "triangles", "uv", "colour")}
    return {name: np.asarray(array) for name, array in arrays.items()}


def _specs(header: HeadHeader) -> dict[str, Spec]:
    specs = {
        "identity": Spec("float32", ("K",)),
        "uncertainty": Spec("float32", ("V",)),
        "determined": Spec("float32", ("V",)),
        "neutral": Spec("float32", ("V", 3)),
        "posed": Spec("float32", ("V", 3)),
    }
    for i in range(len(header.views)):
        specs |= {
            f"views.{i}.expression": Spec("float32", (52,)),
            f"views.{i}.gaze": Spec("float32", (2, 2)),
            f"views.{i}.residual_px": Spec("float32", (478, 2)),
            f"views.{i}.centre": Spec("float64", (2,)),
            f"views.{i}.rotation": Spec("float64", (3, 3)),
            f"views.{i}.translation": Spec("float64", (3,)),
        }
    maps = {
        "photo": Spec("uint8", ("N", "N", 3)),
        "albedo": Spec("uint8", ("N", "N", 3)),
        "weight": Spec("float32", ("N", "N")),
        "displacement": Spec("float32", ("M", "M")),
        "normal": Spec("uint8", ("M", "M", 3)),
        "lighting": Spec("float64", (9, 3)),
    }
    specs |= {f"textures.{n}": maps[n] for n in header.textures}
    for i in range(len(header.hair)):
        specs |= {
            f"hair.{i}.vertices": Spec("float32", (f"H{i}", 3)),
            f"hair.{i}.triangles": Spec("int32", (f"T{i}", 3)),
            f"hair.{i}.uv": Spec("float32", (f"H{i}", 2)),
            f"hair.{i}.colour": Spec("uint8", (f"P{i}", f"Q{i}", 4)),
        }
    return specs
