"""Heads: ask for one, look at it, follow it, cancel it, delete it."""

import logging
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from gateway.auth import Caller, Deleter, Reader, Writer
from gateway.context import Gateway, TheGateway
from gateway.events import MEDIA_TYPE, EventStream, told
from gateway.forms import head_form
from gateway.jobs import (
    EventKind,
    HeadState,
    Idempotency,
    JobState,
    NewHead,
    PhotoRecord,
    Receipt,
    photo_scope,
    request_digest,
)
from gateway.models import HEAD_ID, HeadList, HeadView, ReceiptView, Removed, head_url, time_of
from gateway.openapi import form_body, keyed
from gateway.reservations import Reservation
from gateway.settings import MOST_PHOTOS
from gateway.uploads import Form, Plan, Received, receive_form
from maquette import errors, telemetry
from maquette.errors import HeadNotFound, MaquetteError
from maquette.logs import fields
from maquette.store import Entry

PHOTOS_FIELD = "photos"

router = APIRouter(tags=["heads"])
_log = logging.getLogger(__name__)

HeadId = Annotated[str, Path(description="Identifier of a head.", examples=[HEAD_ID])]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$",
        description="Chosen by the caller; the same request with the same key asks once.",
    ),
]
LOCATION = {
    "Location": {"description": "Address of the head.", "schema": {"type": "string", "format": "uri-reference"}}
}
_LINKS = {
    name: {"operationId": name, "parameters": {"head_id": "$response.body#/id"}}
    for name in ("get_head", "follow_head", "cancel_head", "delete_head", "create_export")
}
_EVENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$", "description": "Number of the event within the head."},
        "event": {"type": "string", "enum": [*EventKind, "problem"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer", "description": "Milliseconds to wait before coming again."},
    },
}
REPLAYED = {
    "Idempotency-Replayed": {
        "description": "Present when the idempotency key had asked for it before.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}


@router.post(
    "/v1/heads",
    status_code=202,
    response_model=HeadView,
    summary="Ask for a head",
    response_description="The photos are kept and the head will be made.",
    responses={
        202: {"headers": {**LOCATION, **REPLAYED}, "links": _LINKS},
        **keyed(
            errors.BodyInvalid,
            errors.BodyTooLarge,
            errors.BodyTooSlow,
            errors.BodyTypeUnknown,
            errors.FieldInvalid,
            errors.OptionInvalid,
            errors.PhotoTooLarge,
            errors.PhotoUnreadable,
            errors.IdempotencyMismatch,
            errors.QuotaExceeded,
            errors.Overloaded,
            errors.StoreFull,
        ),
    },
    openapi_extra=form_body(PHOTOS_FIELD, MOST_PHOTOS, options=True),
)
async def create_head(request: Request, gateway: TheGateway, caller: Writer, key: IdempotencyKey = None) -> Response:
    """Send 1 to 16 photos of one person, the main one first.

    The answer comes when the photos are kept: from then on the head is made, whatever happens. A photo that shows no
    face is found out later, and ends the head as `failed`.
    """
    reservation = Reservation(gateway, caller.owner)
    with gateway.uploads.hold(caller.owner), gateway.metrics.uploads.track_inprogress():
        try:
            with gateway.metrics.upload_seconds.time():
                plan = Plan(PHOTOS_FIELD, gateway.settings.max_photos, reservation.scope)
                form = await receive_form(request, gateway, plan)
            new = await _new_head(form, gateway, caller, await reservation.head_id(), key)
            created = await reservation.create(new)
        finally:
            await reservation.clear()
    headers = {"location": head_url(created.head.id)}
    if not created.created:
        headers["idempotency-replayed"] = "true"
    return _answer(HeadView.of(created.head), 202, headers)


@router.get(
    "/v1/heads",
    response_model=HeadList,
    summary="List heads",
    responses=keyed(errors.FieldInvalid, errors.OptionInvalid),
)
async def list_heads(
    gateway: TheGateway,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=200, description="Heads on a page.")] = 50,
    cursor: Annotated[str | None, Query(max_length=500, description="`cursor` of the page before.")] = None,
    state: Annotated[list[HeadState] | None, Query(max_length=8, description="Only heads in these states.")] = None,
) -> Response:
    """Your heads, newest first."""
    page = await gateway.jobs.list_heads(caller.owner, limit=limit, cursor=cursor, states=tuple(state or ()))
    return _answer(HeadList.of(page))


@router.get(
    "/v1/heads/{head_id}", response_model=HeadView, summary="Look at a head", responses=keyed(errors.HeadNotFound)
)
async def get_head(head_id: HeadId, gateway: TheGateway, caller: Reader) -> Response:
    """A head as it stands: state, progress, warnings and files."""
    return _answer(HeadView.of(await gateway.jobs.get_head(caller.owner, head_id)))


@router.get(
    "/v1/heads/{head_id}/events",
    response_class=Response,
    summary="Follow a head",
    response_description="Events, as they happen.",
    responses={
        200: {
            "content": {
                MEDIA_TYPE: {
                    "itemSchema": _EVENT,
                    "example": "retry: 2000\n\nid: 1\nevent: state\n"
                    'data: {"state":"queued","at":"2026-03-01T12:00:00.000Z"}\n\n: alive\n\n',
                }
            }
        },
        204: {"description": "It is over, and the caller has been told everything."},
        **keyed(errors.HeadNotFound, errors.FieldInvalid, errors.QuotaExceeded, errors.Overloaded),
    },
)
async def follow_head(
    head_id: HeadId,
    gateway: TheGateway,
    caller: Reader,
    last_event_id: Annotated[
        int | None,
        Header(alias="Last-Event-ID", ge=0, lt=2**63, description="Number of the last event that the caller has."),
    ] = None,
    after: Annotated[
        int, Query(ge=0, lt=2**63, description="The same, for callers that cannot set the header, which counts first.")
    ] = 0,
) -> Response:
    """Server-sent events `state`, `progress`, `product`, `warning` and `export`, numbered within the head.

    The stream begins with all that has happened, or after `Last-Event-ID`, and ends when the head is over. If it ends
    before, go on with another; `problem` says why, if there is a reason. Lines that begin with a colon only say that it
    is alive.
    """
    head = await gateway.jobs.get_head(caller.owner, head_id)
    last = after if last_event_id is None else last_event_id
    if told(head, last):
        return Response(status_code=204)
    return EventStream(gateway, caller.owner, head, last)


@router.post(
    "/v1/heads/{head_id}/cancel",
    response_model=HeadView,
    summary="Cancel a head",
    response_description="It is cancelled.",
    responses={
        202: {
            "model": HeadView,
            "description": "A worker has been told to stop, and `cancelling` says so until it has.",
        },
        **keyed(errors.HeadNotFound, errors.JobConflict),
    },
)
async def cancel_head(head_id: HeadId, gateway: TheGateway, caller: Writer) -> Response:
    """End what is being made of a head, exports included; files that are ready stay."""
    head = await gateway.jobs.cancel_head(caller.owner, head_id)
    return _answer(HeadView.of(head), 202 if head.cancelling else 200)


@router.delete(
    "/v1/heads/{head_id}",
    response_model=ReceiptView,
    summary="Delete a head",
    response_description="Nothing is left.",
    responses={
        202: {"model": ReceiptView, "description": "The records are gone, and the rest is removed as soon as can be."},
        **keyed(errors.HeadNotFound),
    },
)
async def delete_head(head_id: HeadId, gateway: TheGateway, caller: Deleter) -> Response:
    """Remove the photos, the files and everything that was recorded about a head; what is being made is ended."""
    try:
        head = await gateway.jobs.get_head(caller.owner, head_id)
        # Whoever is at it learns of the end a little later, and what it still writes is removed after that.
        quiet = not head.state.working and not any(e.state is JobState.RUNNING for e in head.exports)
    except HeadNotFound:
        # Perhaps it was deleted before, by a process that died over it: then there is a receipt still to be had.
        quiet = True
    receipt = await gateway.jobs.delete_head(caller.owner, head_id)
    found, cleared = await _remove_objects(gateway, receipt)
    complete = quiet and cleared
    photos = [e for e in found if e.key.startswith(photo_scope(head_id)) or e.unfinished]
    view = ReceiptView(
        id=receipt.head_id,
        deleted=time_of(receipt.deleted),
        rows=True,
        photos=_removed(photos),
        products=_removed([e for e in found if e not in photos]),
        complete=complete,
    )
    return _answer(view, 200 if complete else 202)


async def _new_head(form: Form, gateway: Gateway, caller: Caller, head_id: str, key: str | None) -> NewHead:
    name, options = await head_form(form, gateway)
    stored = options.stored()
    photos = tuple(_record(photo) for photo in form.photos)
    idempotency = None if key is None else Idempotency(key, request_digest(name, stored, photos))
    return NewHead(
        head_id, name, stored, photos, idempotency, daily_quota=caller.quota, trace=telemetry.trace_headers()
    )


def _record(photo: Received) -> PhotoRecord:
    # Nothing of a plan that keeps nothing in memory is left there.
    assert photo.stored is not None
    return PhotoRecord(photo.name, photo.stored.key, photo.stored.size, photo.stored.sha256, photo.media_type)


async def _remove_objects(gateway: Gateway, receipt: Receipt) -> tuple[list[Entry], bool]:
    """Remove the objects of a deleted head; returns what was there, and whether nothing is left."""
    found: list[Entry] = []
    try:
        for scope in receipt.scopes:
            found += await gateway.in_thread(gateway.store.delete_scope, scope)
        await gateway.jobs.removed(receipt.scopes)
    except MaquetteError as error:
        _log.warning("objects of a deleted head are left to the sweep", extra=fields(code=error.code))
        return found, False
    return found, True


def _removed(entries: list[Entry]) -> Removed:
    return Removed(objects=len(entries), bytes=sum(e.size for e in entries))


def _answer(view: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(view.model_dump(mode="json"), status, headers)
