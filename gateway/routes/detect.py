"""Faces in a photo, at once; the photo is not kept."""

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from gateway.auth import Looker
from gateway.context import Gateway, TheGateway
from gateway.forms import no_fields
from gateway.models import Detection
from gateway.openapi import form_body, keyed
from gateway.reservations import Reservation
from gateway.uploads import Plan, Received, receive_form
from maquette import errors
from maquette.errors import DeadlineExceeded
from maquette.report import face_json
from maquette.v1.common_pb2 import Blob, Reference
from maquette.v1.detector_pb2 import DetectRequest, DetectResponse, Limits
from maquette.wire import INLINE_LIMIT, blob_message, face_of

PHOTO_FIELD = "photo"

router = APIRouter(tags=["detection"])


@router.post(
    "/v1/detect",
    response_model=Detection,
    summary="Find faces",
    responses=keyed(
        errors.NoFaceFound,
        errors.BodyInvalid,
        errors.BodyTooLarge,
        errors.BodyTooSlow,
        errors.BodyTypeUnknown,
        errors.FieldInvalid,
        errors.PhotoTooLarge,
        errors.PhotoUnreadable,
        errors.QuotaExceeded,
        errors.Overloaded,
        errors.DeadlineExceeded,
    ),
    openapi_extra=form_body(PHOTO_FIELD, 1, options=False),
)
async def detect(request: Request, gateway: TheGateway, caller: Looker) -> Response:
    """Find the faces in one photo, with pose and quality; the photo is forgotten with the answer."""
    reservation = Reservation(gateway, caller.owner)
    with gateway.uploads.hold(caller.owner), gateway.metrics.uploads.track_inprogress():
        try:
            form = await receive_form(request, gateway, Plan(PHOTO_FIELD, 1, reservation.scope, keep=INLINE_LIMIT))
            no_fields(form)
            found = await _detect(gateway, form.photos[0])
        finally:
            await reservation.clear()
    faces = [{"number": i, **face_json(face_of(f))} for i, f in enumerate(found.faces, 1)]
    return JSONResponse({"sha256": found.photo_sha256, "width": found.width, "height": found.height, "faces": faces})


async def _detect(gateway: Gateway, photo: Received) -> DetectResponse:
    settings = gateway.settings
    limits = Limits(max_bytes=settings.max_photo_bytes, max_pixels=settings.max_photo_pixels)
    asked = DetectRequest(photo=_blob(photo), name=photo.name, limits=limits)
    async with gateway.detects.slot():
        try:
            async with asyncio.timeout(settings.detect_s):
                return await gateway.detector.detect(asked)
        except TimeoutError:
            raise DeadlineExceeded(f"expected an answer of the detector within {settings.detect_s:g} s") from None


def _blob(photo: Received) -> Blob:
    if photo.stored is None:
        assert photo.kept is not None
        return blob_message(photo.kept, photo.media_type)
    reference = Reference(key=photo.stored.key, size=photo.stored.size)
    return Blob(reference=reference, sha256=photo.stored.sha256, media_type=photo.media_type)
