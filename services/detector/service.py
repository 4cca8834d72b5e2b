"""The detector service in this process: photo to faces."""

from maquette.errors import InputError, PhotoTooLarge
from maquette.pool import RoomPool
from maquette.rpc.work import checkpoint
from maquette.sanity import check_face
from maquette.settings import Settings
from maquette.store import ObjectStore, check_scope
from maquette.types import Photo
from maquette.v1.common_pb2 import Blob
from maquette.v1.detector_pb2 import DetectRequest, DetectResponse, Limits, MaskRequest, MaskResponse
from maquette.wire import bytes_of, face_message, face_of, mask_message, photo_message, photo_of
from services.detector.detector import Detector
from services.detector.photo import load_photo


class LocalDetectorService:
    """A ``DetectorService`` in this process."""

    def __init__(self, store: ObjectStore, settings: Settings, *, threads: int = 1) -> None:
        """Prepare the service; no network is loaded yet.

        Args:
            store: Where large payloads lie.
            settings: Where the networks are, and limits on photos.
            threads: Calls that are worked on at once.
        """
        self._store, self._settings = store, settings
        self._pool = RoomPool(lambda: Detector(settings), threads, "detector")

    async def warm_up(self) -> None:
        """Find out whether the networks are there.

        Raises:
            NetworkFilesMissing: They are not.
        """
        await self._pool.warm_up()

    def close(self) -> None:
        """Let work end; blocks."""
        self._pool.close()

    async def detect(self, request: DetectRequest) -> DetectResponse:
        """See ``maquette.services``.

        Raises:
            PhotoError: The file is no usable picture, or beyond the limits.
            NoFaceFound: There is no face in it.
            MessageInvalid: The photo's blob is none.
            StoreError: The store failed.
        """
        return await self._pool.run(self._detect, request)

    async def mask(self, request: MaskRequest) -> MaskResponse:
        """See ``maquette.services``.

        Raises:
            MessageInvalid: The photo or the face is none.
            StoreError: The store failed.
        """
        return await self._pool.run(self._mask, request)

    def _detect(self, room: Detector, request: DetectRequest) -> DetectResponse:
        if request.scope:
            check_scope(request.scope)
        photo = self._read(request)
        checkpoint()
        try:
            faces = room.detect(photo)
        except InputError as error:
            error.detail.setdefault("photo", photo.name)
            raise
        checkpoint()
        normalised = photo_message(photo, self._store, request.scope) if request.scope else None
        return DetectResponse(
            photo=normalised,
            faces=[face_message(f) for f in faces],
            width=photo.width,
            height=photo.height,
            photo_sha256=photo.sha256,
        )

    def _mask(self, room: Detector, request: MaskRequest) -> MaskResponse:
        if request.scope:
            check_scope(request.scope)
        face, photo = face_of(request.face), photo_of(request.photo, self._store)
        check_face(photo, face)
        checkpoint()
        return MaskResponse(mask=mask_message(room.mask(photo, face), self._store, request.scope))

    def _read(self, request: DetectRequest) -> Photo:
        """The photo, within the lower of the caller's limits and ours."""
        settings = _lower(self._settings, request.limits)
        name = request.name or "photo"
        _require_bytes(request.photo, settings.max_bytes, name)
        return load_photo(bytes_of(request.photo, self._store), name=name, settings=settings)


def _lower(settings: Settings, limits: Limits) -> Settings:
    update = {
        name: min(getattr(settings, name), getattr(limits, name))
        for name in ("max_bytes", "max_pixels")
        if getattr(limits, name)
    }
    return settings.model_copy(update=update)


def _require_bytes(photo: Blob, limit: int, name: str) -> None:
    """Refuse a photo by its size before any of it is fetched."""
    size = len(photo.inline) or photo.reference.size
    if size > limit:
        raise PhotoTooLarge(f"{name} has {size:,} bytes, at most {limit:,} are read", photo=name, bytes=size)
