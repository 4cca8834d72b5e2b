"""Further files of a head that is done."""

import hashlib
import json

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from gateway.auth import Writer
from gateway.bodies import read_json
from gateway.context import TheGateway
from gateway.jobs import Idempotency
from gateway.models import ExportView, head_url
from gateway.openapi import json_body, keyed
from gateway.options import parse_export_options
from gateway.routes.heads import LOCATION, REPLAYED, HeadId, IdempotencyKey
from maquette import errors

router = APIRouter(tags=["heads"])


@router.post(
    "/v1/heads/{head_id}/exports",
    status_code=202,
    response_model=ExportView,
    summary="Ask for further files",
    response_description="They will be made, and appear among the head's files; its events tell of it.",
    responses={
        202: {"headers": {**LOCATION, **REPLAYED}},
        **keyed(
            errors.HeadNotFound,
            errors.JobConflict,
            errors.BodyInvalid,
            errors.BodyTooLarge,
            errors.BodyTooSlow,
            errors.BodyTypeUnknown,
            errors.FieldInvalid,
            errors.OptionInvalid,
            errors.IdempotencyMismatch,
            errors.Overloaded,
        ),
    },
    openapi_extra=json_body("ExportOptions"),
)
async def create_export(
    request: Request, head_id: HeadId, gateway: TheGateway, caller: Writer, key: IdempotencyKey = None
) -> Response:
    """Ask for further formats of a head that is done, or for the same ones with other options.

    A file of a name that is there already is replaced when the new one is ready, and then has another address.
    """
    # Whose head it is, is said before what is wrong with the body.
    await gateway.jobs.get_head(caller.owner, head_id)
    chosen = parse_export_options(await read_json(request, gateway.settings)).stored()
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True, allow_nan=False).encode()).hexdigest()
    idempotency = None if key is None else Idempotency(key, digest)
    created = await gateway.jobs.create_export(caller.owner, head_id, chosen, idempotency=idempotency)
    headers = {"location": head_url(head_id)}
    if not created.created:
        headers["idempotency-replayed"] = "true"
    return JSONResponse(ExportView.of(created.job).model_dump(mode="json"), 202, headers)
