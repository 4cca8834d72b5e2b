"""What walks between the rooms, as the messages of ``maquette.v1`` and back.

``x_message`` makes a message, ``x_of`` reads one. Payloads up to ``INLINE_LIMIT`` bytes travel within the message,
larger ones go through the object store, which both sides share; the functions that take a ``store`` block, and belong
on worker threads. Whatever comes in is checked: digests, sizes, media types, numbers of values, enums.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from maquette import headfile, photofile
from maquette.errors import MessageInvalid, MessageTooLarge, ObjectCorrupt
from maquette.events import Stage
from maquette.rooms import FORMATS, PhotoView, Product, ReconstructOptions
from maquette.store import ObjectStore
from maquette.types import Caution, Face, Float32, Head, Mask, Photo, Quality, Verdict
from maquette.v1 import common_pb2 as pb

INLINE_LIMIT = 2_000_000
"""Bytes of a payload that still travels within its message."""

POINTS = 478

_VERDICTS: dict[Verdict, "pb.Verdict.ValueType"] = {
    Verdict.GOOD: pb.VERDICT_GOOD,
    Verdict.FAIR: pb.VERDICT_FAIR,
    Verdict.POOR: pb.VERDICT_POOR,
    Verdict.UNUSABLE: pb.VERDICT_UNUSABLE,
}
_STAGES: dict[Stage, "pb.Stage.ValueType"] = {
    Stage.READ: pb.STAGE_READ,
    Stage.DETECT: pb.STAGE_DETECT,
    Stage.FIT: pb.STAGE_FIT,
    Stage.TEXTURE: pb.STAGE_TEXTURE,
    Stage.EXPORT: pb.STAGE_EXPORT,
}

K = TypeVar("K")


def blob_message(data: bytes, media_type: str, store: ObjectStore | None = None, scope: str = "") -> pb.Blob:
    """Bytes to a blob: inline when small, otherwise put into the store.

    Args:
        data: The bytes.
        media_type: Their media type.
        store: Where large ones go; None when there is none.
        scope: ``<kind>/<id>`` in the store.

    Raises:
        MessageTooLarge: They are large, and there is no store or no scope.
        StoreError: The store failed.
    """
    if len(data) <= INLINE_LIMIT:
        return pb.Blob(inline=data, sha256=hashlib.sha256(data).hexdigest(), media_type=media_type)
    if store is None or not scope:
        raise MessageTooLarge(
            f"expected at most {INLINE_LIMIT} bytes where no scope in the object store is named, found {len(data)}"
        )
    info = store.put(scope, data, media_type)
    return pb.Blob(reference=pb.Reference(key=info.key, size=info.size), sha256=info.sha256, media_type=media_type)


def bytes_of(
    blob: pb.Blob, store: ObjectStore | None = None, *, media_type: str | None = None, limit: int | None = None
) -> bytes:
    """The bytes of a blob, their digest checked.

    Args:
        blob: The blob.
        store: Where references point into; None when there is none.
        media_type: What the blob has to be; None when anything will do.
        limit: Most bytes to read; None for no limit.

    Raises:
        MessageInvalid: The blob is empty, contradicts itself, or is of another media type.
        MessageTooLarge: It is beyond the limit.
        ObjectMissing: The reference points nowhere.
        ObjectCorrupt: The bytes are not those the digest names.
        StoreError: The store failed.
    """
    if media_type is not None and blob.media_type != media_type:
        raise MessageInvalid(f"expected a blob of {media_type}, found {blob.media_type[:120] or 'no media type'}")
    kind = blob.WhichOneof("payload")
    if kind is None:
        raise MessageInvalid("expected a blob with bytes or a reference, found neither")
    size = len(blob.inline) if kind == "inline" else blob.reference.size
    if limit is not None and size > limit:
        raise MessageTooLarge(f"expected a blob of at most {limit} bytes, found {size}", bytes=size, limit=limit)
    if kind == "inline":
        actual = hashlib.sha256(blob.inline).hexdigest()
        if actual != blob.sha256:
            raise ObjectCorrupt(f"expected bytes of sha256 {blob.sha256[:64] or 'none'}, found {actual}")
        return blob.inline
    if store is None:
        raise MessageInvalid("expected a blob with its bytes, found a reference, and there is no object store here")
    if blob.reference.key.rpartition("/")[2] != blob.sha256:
        raise MessageInvalid("expected a reference to an object of the blob's sha256, found one to another")
    with store.open(blob.reference.key) as stream:
        if stream.info.size != size:
            raise MessageInvalid(f"expected an object of {size} bytes, found one of {stream.info.size}")
        return stream.read()


def face_message(face: Face) -> pb.Face:
    """Face to message; nothing is rounded."""
    return pb.Face(
        box=face.box.ravel().tolist(),
        landmarks=face.landmarks.ravel().tolist(),
        plain_landmarks=face.plain_landmarks.ravel().tolist(),
        canonical=face.canonical.ravel().tolist(),
        yaw_degrees=face.yaw,
        pitch_degrees=face.pitch,
        roll_degrees=face.roll,
        score=face.score,
        size_px=face.size,
        quality=quality_message(face.quality),
    )


def face_of(message: pb.Face) -> Face:
    """Message to face.

    Raises:
        MessageInvalid: Points are missing or not finite, or the verdict is not said.
    """
    numbers = {
        "yaw_degrees": message.yaw_degrees,
        "pitch_degrees": message.pitch_degrees,
        "roll_degrees": message.roll_degrees,
        "score": message.score,
        "size_px": message.size_px,
    }
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise MessageInvalid(f"expected {name} of a face to be finite, found {value}", field=name)
    return Face(
        _floats("box", message.box, (4,)),
        _floats("landmarks", message.landmarks, (POINTS, 3)),
        _floats("plain_landmarks", message.plain_landmarks, (POINTS, 3)),
        _floats("canonical", message.canonical, (POINTS, 3)),
        message.yaw_degrees,
        message.pitch_degrees,
        message.roll_degrees,
        message.score,
        message.size_px,
        quality_of(message.quality),
    )


def quality_message(quality: Quality) -> pb.Quality:
    """Quality to message."""
    return pb.Quality(verdict=_VERDICTS[quality.verdict], reasons=quality.reasons, measures=quality.measures)


def quality_of(message: pb.Quality) -> Quality:
    """Message to quality; the measures come in the order of their names.

    Raises:
        MessageInvalid: The verdict is not said.
    """
    verdict = _known("verdict", message.verdict, _VERDICTS)
    return Quality(verdict, tuple(message.reasons), dict(sorted(message.measures.items())))


def photo_message(photo: Photo, store: ObjectStore | None, scope: str) -> pb.Blob:
    """Photo to blob; raises as ``blob_message`` does."""
    return blob_message(photofile.encode_photo(photo), photofile.PHOTO_TYPE, store, scope)


def photo_of(blob: pb.Blob, store: ObjectStore | None) -> Photo:
    """Blob to photo; raises as ``bytes_of`` and ``decode_photo`` do."""
    return photofile.decode_photo(bytes_of(blob, store, media_type=photofile.PHOTO_TYPE))


def mask_message(mask: Mask, store: ObjectStore | None, scope: str) -> pb.Blob:
    """Mask to blob; raises as ``blob_message`` does."""
    return blob_message(photofile.encode_mask(mask), photofile.MASK_TYPE, store, scope)


def mask_of(blob: pb.Blob, store: ObjectStore | None) -> Mask:
    """Blob to mask; raises as ``bytes_of`` and ``decode_mask`` do."""
    return photofile.decode_mask(bytes_of(blob, store, media_type=photofile.MASK_TYPE))


def view_message(view: PhotoView, store: ObjectStore | None, scope: str) -> pb.View:
    """A photo with its face and mask to a message; raises as ``blob_message`` does."""
    return pb.View(
        photo=photo_message(view.photo, store, scope),
        face=face_message(view.face),
        mask=mask_message(view.mask, store, scope),
    )


def view_of(message: pb.View, store: ObjectStore | None) -> PhotoView:
    """Message to a photo with its face and mask; raises as the parts do."""
    return PhotoView(photo_of(message.photo, store), face_of(message.face), mask_of(message.mask, store))


def views_of(messages: Sequence[pb.View], store: ObjectStore | None) -> tuple[PhotoView, ...]:
    """All views of a request; raises as the parts do."""
    return tuple(view_of(m, store) for m in messages)


def head_message(head: Head, store: ObjectStore | None, scope: str) -> pb.Head:
    """Head to message; raises as ``blob_message`` and ``encode_head`` do."""
    topology = headfile.topology_of(head)
    return pb.Head(
        data=blob_message(headfile.encode_head(head), headfile.MEDIA_TYPE, store, scope),
        engine=head.engine,
        model=head.model,
        topology=topology.id,
        topology_version=topology.version,
        vertices=len(head.neutral),
        licence=head.licence,
        warnings=[warning_message(w) for w in head.fit.warnings],
        textured=head.textures is not None,
    )


def head_of(message: pb.Head, store: ObjectStore | None) -> Head:
    """Message to head; what its file says counts. Raises as ``bytes_of`` and ``decode_head`` do."""
    return headfile.decode_head(bytes_of(message.data, store, media_type=headfile.MEDIA_TYPE))


def warning_message(caution: Caution) -> pb.Warning:
    """Caution to message."""
    return pb.Warning(code=caution.code, message=caution.message)


def caution_of(message: pb.Warning) -> Caution:
    """Message to caution."""
    return Caution(message.code, message.message)


def options_message(options: ReconstructOptions) -> pb.ReconstructOptions:
    """Options to message; the formats travel beside it."""
    return pb.ReconstructOptions(
        engine=options.engine,
        texture=pb.COLOUR_MAP_PHOTO if options.texture == "photo" else pb.COLOUR_MAP_ALBEDO,
        texture_size=options.texture_size,
        detail=options.detail,
        hair=options.hair,
        expression=pb.EXPRESSION_NEUTRAL if options.expression == "neutral" else pb.EXPRESSION_PHOTO,
        size_mm=options.size_mm,
    )


def options_of(message: pb.ReconstructOptions, formats: Sequence[str] = FORMATS) -> ReconstructOptions:
    """Message to options, what is left out being the default; ``maquette.options`` judges the values.

    Raises:
        MessageInvalid: An enum has a value that is not known here.
    """
    default = ReconstructOptions()
    if message.texture not in pb.ColourMap.values():
        raise MessageInvalid(f"expected a known colour map, found {message.texture}", field="texture")
    if message.expression not in pb.Expression.values():
        raise MessageInvalid(f"expected a known expression, found {message.expression}", field="expression")
    return ReconstructOptions(
        engine=message.engine or default.engine,
        texture="photo" if message.texture == pb.COLOUR_MAP_PHOTO else "albedo",
        texture_size=message.texture_size or default.texture_size,
        detail=message.detail if message.HasField("detail") else default.detail,
        hair=message.hair or default.hair,
        expression="neutral" if message.expression == pb.EXPRESSION_NEUTRAL else "photo",
        formats=tuple(formats),
        size_mm=message.size_mm if message.HasField("size_mm") else None,
    )


def product_message(product: Product, store: ObjectStore | None, scope: str) -> pb.Product:
    """Product to message; raises as ``blob_message`` does."""
    blob = blob_message(product.data, product.media_type, store, scope)
    return pb.Product(name=product.name, data=blob, size=len(product.data))


def product_of(message: pb.Product, store: ObjectStore | None) -> Product:
    """Message to product, its bytes fetched; raises as ``bytes_of`` does."""
    return Product(message.name, message.data.media_type, bytes_of(message.data, store))


def progress_message(stage: Stage, fraction: float) -> pb.Progress:
    """How far a stage is, 0 to 1, to a message."""
    return pb.Progress(stage=_STAGES[stage], fraction=fraction)


def progress_of(message: pb.Progress) -> tuple[Stage, float]:
    """Message to stage and the part of it that is done.

    Raises:
        MessageInvalid: The stage is not said or not known here.
    """
    return _known("stage", message.stage, _STAGES), message.fraction


def _floats(name: str, values: Sequence[float], shape: tuple[int, ...]) -> Float32:
    if len(values) != math.prod(shape):
        raise MessageInvalid(f"expected {math.prod(shape)} values in {name}, found {len(values)}", field=name)
    array = np.array(values, np.float32).reshape(shape)
    if not np.isfinite(array).all():
        raise MessageInvalid(
            f"expected {name} to be finite, found {(~np.isfinite(array)).sum()} that are not", field=name
        )
    return array


def _known(name: str, value: int, known: Mapping[K, int]) -> K:
    for key, number in known.items():
        if number == value:
            return key
    raise MessageInvalid(f"expected {name} to be one of {', '.join(map(str, known))}, found {value}", field=name)
