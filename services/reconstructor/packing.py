"""Photos, options and heads to the tensors of ``services.reconstructor.tensors`` and back."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maquette.errors import MessageInvalid, ServiceMismatch
from maquette.release import version
from maquette.rooms import PhotoView, ReconstructOptions
from maquette.tensorfile import Header
from maquette.types import Camera, Caution, Face, Fit, Hair, Head, Mask, Photo, Quality, Textures, Verdict, View
from services.reconstructor.tensors import FORMAT, HEAD, VIEWS, Array, check, check_parts

_REQUIRED_MAPS = ("texture_photo", "texture_albedo", "texture_weight", "lighting")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ViewPart(_Part):
    """What is no array of a ``PhotoView``, and the sizes of its flat arrays (rows, columns)."""

    name: str
    sha256: str
    focal_px: float | None
    size: tuple[int, int] = Field(description="Height and width of the photo.")
    mask_size: tuple[int, int]
    yaw: float
    pitch: float
    roll: float
    score: float
    face_size: float
    verdict: Verdict
    reasons: tuple[str, ...]
    measures: dict[str, float]


class ViewsHeader(Header):
    """Head of a request.

    Attributes:
        maquette: Version of the package that asks; another one computes other heads.
        engine: Name of the engine that is wanted.
        options: What the caller chose.
        views: One per photo.
    """

    maquette: str
    engine: str
    options: ReconstructOptions
    views: tuple[ViewPart, ...] = Field(min_length=1)


class CautionPart(_Part):
    """A ``Caution``."""

    code: str
    message: str


class CameraPart(_Part):
    """What is no array of a ``Camera``."""

    focal: float
    width: int
    height: int


class HairPart(_Part):
    """Name and sizes of a hair mesh; ``colour`` is the rows and columns of its picture."""

    name: str
    vertices: int = Field(ge=0)
    triangles: int = Field(ge=0)
    colour: tuple[int, int]


class HeadHeader(Header):
    """Head of an answer, or of the coarse head in a request."""

    engine: str
    model: str
    licence: str
    warnings: tuple[CautionPart, ...]
    cameras: tuple[CameraPart, ...] = Field(min_length=1)
    hair: tuple[HairPart, ...]


def views_to_tensors(
    views: Sequence[PhotoView], options: ReconstructOptions, engine: str
) -> dict[str, tuple[Array, ...]]:
    """Photos and options as tensors; each as the parts that make it when joined, so that no photo is copied here.

    Args:
        views: At least one.
        options: What the caller chose.
        engine: Name of the engine.

    Returns:
        Contiguous arrays; ``shape_of`` says the shape that a tensor's parts have together.

    Raises:
        MessageInvalid: An array is not of the type or shape that ``maquette.types`` promises.
    """
    parts = []
    for view in views:
        photo, face, alpha = view.photo, view.face, view.mask.alpha
        if photo.pixels.ndim != 3 or photo.pixels.shape[2] != 3 or alpha.ndim != 2:
            raise MessageInvalid(
                f"expected pixels (H, W, 3) and a mask (N, N) of each photo, found {photo.pixels.shape}, {alpha.shape}"
            )
        parts.append(
            ViewPart(
                name=photo.name,
                sha256=photo.sha256,
                focal_px=None if photo.focal_px is None else float(photo.focal_px),
                size=(photo.height, photo.width),
                mask_size=(int(alpha.shape[0]), int(alpha.shape[1])),
                yaw=float(face.yaw),
                pitch=float(face.pitch),
                roll=float(face.roll),
                score=float(face.score),
                face_size=float(face.size),
                verdict=face.quality.verdict,
                reasons=face.quality.reasons,
                measures={k: float(v) for k, v in face.quality.measures.items()},
            )
        )
    header = ViewsHeader(format=FORMAT, maquette=version(), engine=engine, options=options, views=tuple(parts))
    faces = [v.face for v in views]
    tensors = {
        "views_header": (_to_bytes(header),),
        "pixels": tuple(v.photo.pixels.reshape(-1) for v in views),
        "boxes": tuple(f.box[None] for f in faces),
        "landmarks": tuple(f.landmarks[None] for f in faces),
        "plain_landmarks": tuple(f.plain_landmarks[None] for f in faces),
        "canonical": tuple(f.canonical[None] for f in faces),
        "masks": tuple(v.mask.alpha.reshape(-1) for v in views),
        "mask_crops": tuple(v.mask.to_crop[None] for v in views),
    }
    tensors = {name: tuple(np.ascontiguousarray(p) for p in t) for name, t in tensors.items()}
    check_parts(tensors, VIEWS)
    return tensors


def tensors_to_views(tensors: Mapping[str, Array]) -> tuple[ViewsHeader, tuple[PhotoView, ...]]:
    """The photos of a request; their pixels are the tensor's own memory, all else is copied.

    Args:
        tensors: Without the batch dimension.

    Raises:
        MessageInvalid: They do not fit together.
        ServiceMismatch: They are of another release.
    """
    check(tensors, VIEWS)
    header = _from_bytes(ViewsHeader, tensors["views_header"], version())
    n = len(header.views)
    _require("landmarks", "photos", n, len(tensors["landmarks"]))
    pixels = _cut("pixels", tensors["pixels"], [(*v.size, 3) for v in header.views])
    masks = _cut("masks", tensors["masks"], [v.mask_size for v in header.views])
    views = []
    for i, part in enumerate(header.views):
        face = Face(
            box=tensors["boxes"][i].copy(),
            landmarks=tensors["landmarks"][i].copy(),
            plain_landmarks=tensors["plain_landmarks"][i].copy(),
            canonical=tensors["canonical"][i].copy(),
            yaw=part.yaw,
            pitch=part.pitch,
            roll=part.roll,
            score=part.score,
            size=part.face_size,
            quality=Quality(part.verdict, part.reasons, part.measures),
        )
        photo = Photo(pixels[i], part.focal_px, part.name, part.sha256)
        views.append(PhotoView(photo, face, Mask(masks[i].copy(), tensors["mask_crops"][i].copy())))
    return header, tuple(views)


def head_to_tensors(head: Head) -> dict[str, Array]:
    """A head as tensors without the batch dimension; those without elements are left out.

    Raises:
        MessageInvalid: An array is not of the type or shape that ``maquette.types`` promises.
    """
    fit, maps = head.fit, head.textures
    cameras = [v.camera for v in fit.views]
    header = HeadHeader(
        format=FORMAT,
        engine=head.engine,
        model=head.model,
        licence=head.licence,
        warnings=tuple(CautionPart(code=w.code, message=w.message) for w in fit.warnings),
        cameras=tuple(CameraPart(focal=float(c.focal), width=int(c.width), height=int(c.height)) for c in cameras),
        hair=tuple(
            HairPart(
                name=h.name,
                vertices=len(h.vertices),
                triangles=len(h.triangles),
                colour=(int(h.colour.shape[0]), int(h.colour.shape[1])),
            )
            for h in head.hair
        ),
    )
    tensors: dict[str, Array] = {
        "head_header": _to_bytes(header),
        "identity": fit.identity,
        "neutral": head.neutral,
        "posed": head.posed,
        "uncertainty": fit.uncertainty,
        "determined": fit.determined,
        "expressions": np.stack([v.expression for v in fit.views]),
        "gazes": np.stack([v.gaze for v in fit.views]),
        "residuals": np.stack([v.residual_px for v in fit.views]),
        "centres": np.stack([c.centre for c in cameras]),
        "rotations": np.stack([c.rotation for c in cameras]),
        "translations": np.stack([c.translation for c in cameras]),
    }
    if maps is not None:
        tensors |= {
            "texture_photo": maps.photo,
            "texture_albedo": maps.albedo,
            "texture_weight": maps.weight,
            "lighting": maps.lighting,
        }
        tensors |= {n: m for n, m in (("displacement", maps.displacement), ("normal", maps.normal)) if m is not None}
    if head.hair:
        tensors |= {
            "hair_vertices": np.concatenate([h.vertices for h in head.hair]),
            "hair_triangles": np.concatenate([h.triangles for h in head.hair]),
            "hair_uv": np.concatenate([h.uv for h in head.hair]),
            "hair_colours": np.concatenate([h.colour.reshape(-1) for h in head.hair]),
        }
    tensors = {name: np.ascontiguousarray(t) for name, t in tensors.items() if t.size}
    check(tensors, HEAD)
    return tensors


def tensors_to_head(tensors: Mapping[str, Array]) -> Head:
    """The head of tensors without the batch dimension; nothing in it shares their memory.

    Raises:
        MessageInvalid: They do not fit together.
        ServiceMismatch: They are of another release.
    """
    check(tensors, HEAD)
    header = _from_bytes(HeadHeader, tensors["head_header"])
    _require("expressions", "cameras", len(header.cameras), len(tensors["expressions"]))
    a = {name: t.copy() for name, t in tensors.items() if name != "head_header"}
    views = tuple(
        View(
            Camera(c.focal, a["centres"][i], a["rotations"][i], a["translations"][i], c.width, c.height),
            a["expressions"][i],
            a["gazes"][i],
            a["residuals"][i],
        )
        for i, c in enumerate(header.cameras)
    )
    warnings = tuple(Caution(w.code, w.message) for w in header.warnings)
    fit = Fit(a["identity"], views, a["uncertainty"], a["determined"], warnings)
    return Head(
        header.engine, header.model, header.licence, fit, a["neutral"], a["posed"], _textures(a), _hair(header, a)
    )


def _cut(name: str, flat: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """The arrays that lie one after the other in a flat one."""
    counts = [math.prod(s) for s in shapes]
    if any(n <= 0 for s in shapes for n in s) or sum(counts) != len(flat):
        sizes = ", ".join("x".join(map(str, s)) for s in shapes)
        raise MessageInvalid(f"expected tensor {name} to hold {sizes}, found {len(flat)} elements", field=name)
    ends = np.cumsum(counts)
    return [flat[e - n : e].reshape(s) for e, n, s in zip(ends, counts, shapes, strict=True)]


def _textures(a: Mapping[str, Array]) -> Textures | None:
    there = [n for n in _REQUIRED_MAPS if n in a]
    if not there and "displacement" not in a and "normal" not in a:
        return None
    if len(there) != len(_REQUIRED_MAPS):
        missing = ", ".join(n for n in _REQUIRED_MAPS if n not in a)
        raise MessageInvalid(f"expected all textures of a head or none, found {missing} missing")
    return Textures(
        a["texture_photo"], a["texture_albedo"], a["texture_weight"], a.get("displacement"), a.get("normal"),
        a["lighting"],
    )  # fmt: skip


def _hair(header: HeadHeader, a: Mapping[str, Array]) -> tuple[Hair, ...]:
    """Hair meshes; a tensor that was left out is empty."""

    def cut(name: str, shapes: list[tuple[int, ...]]) -> list[Array]:
        flat = a[name] if name in a else np.empty(0, HEAD[name].dtype)
        wanted = sum(math.prod(s) for s in shapes)
        _require(name, "elements", wanted, flat.size)
        ends = np.cumsum([math.prod(s) for s in shapes], dtype=int)
        return [flat.reshape(-1)[e - math.prod(s) : e].reshape(s) for e, s in zip(ends, shapes, strict=True)]

    parts = header.hair
    meshes = zip(
        parts,
        cut("hair_vertices", [(p.vertices, 3) for p in parts]),
        cut("hair_triangles", [(p.triangles, 3) for p in parts]),
        cut("hair_uv", [(p.vertices, 2) for p in parts]),
        cut("hair_colours", [(*p.colour, 4) for p in parts]),
        strict=True,
    )
    return tuple(Hair(p.name, vertices, triangles, uv, colour) for p, vertices, triangles, uv, colour in meshes)


H = TypeVar("H", bound=Header)


def _to_bytes(header: Header) -> Array:
    return np.frombuffer(header.model_dump_json().encode(), np.uint8)


def _from_bytes(kind: type[H], data: Array, caller: str | None = None) -> H:
    """Read a header; what was written by another release is refused before its fields are looked at.

    Args:
        kind: Class of the header.
        data: (B,) uint8.
        caller: Version that its field ``maquette`` has to have.
    """
    text = data.tobytes()
    try:
        found = json.loads(text)
        for field, wanted in (("format", FORMAT), *([("maquette", caller)] if caller else [])):
            if found.get(field) != wanted:
                raise ServiceMismatch(
                    f"expected tensors of {field} {wanted}, found {str(found.get(field))[:40]}",
                    expected=wanted,
                    found=str(found.get(field))[:40],
                )
        return kind.model_validate_json(text)
    except ValidationError as error:
        # Not what came: it may name a person.
        what = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, what["loc"])) or "all of it"
        raise MessageInvalid(f"expected a {FORMAT} header, found one with {where}: {what['msg']}") from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise MessageInvalid(f"expected a {FORMAT} header, found no JSON object") from error


def _require(name: str, what: str, expected: int, actual: int) -> None:
    if expected != actual:
        raise MessageInvalid(f"expected tensor {name} to have {expected} {what}, found {actual}", field=name)
