"""Files of heads."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from gateway.auth import Caller, Reader
from gateway.context import Gateway, TheGateway
from gateway.files import asked_range, file_headers, known_already, open_file
from gateway.jobs import ProductRecord
from gateway.models import SHA256, VERSION_DIGITS
from gateway.openapi import keyed
from gateway.routes.heads import HeadId
from maquette import errors
from maquette.errors import ObjectMissing, ProductNotFound

router = APIRouter(tags=["files"])

FileName = Annotated[str, Path(description="Name of a file.", examples=["head.glb"])]
Version = Annotated[
    str | None,
    Query(
        alias="v",
        pattern=f"^[0-9a-f]{{{VERSION_DIGITS}}}$",
        description="Beginning of its sha256: then the answer may be kept for ever.",
        examples=[SHA256[:VERSION_DIGITS]],
    ),
]

_PARAMETERS = {
    "parameters": [
        {
            "in": "header",
            "name": name,
            "required": False,
            "schema": {"type": "string"},
            "description": text,
        }
        for name, text in (
            ("Range", "A range `bytes=FIRST-LAST`."),
            ("If-Range", "The range is meant only while the file has this entity tag."),
            ("If-None-Match", "Entity tags that the caller has."),
        )
    ]
}
_TAG = {"ETag": {"description": "Digest of the file, in quotes.", "schema": {"type": "string"}}}
_CACHE = {"Cache-Control": {"description": "How long it may be kept.", "schema": {"type": "string"}}}
_PART = {"Content-Range": {"description": "Where the part lies.", "schema": {"type": "string"}}}
_BYTES = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": _BYTES, "headers": {**_TAG, **_CACHE}},
    206: {"description": "A part of it.", "content": _BYTES, "headers": {**_TAG, **_CACHE, **_PART}},
    304: {"description": "The caller has it already.", "headers": {**_TAG, **_CACHE}},
    307: {
        "description": "It is to be fetched from the object store, where the installation says so.",
        "headers": {"Location": {"description": "Link that lasts for a while.", "schema": {"type": "string"}}},
    },
    **keyed(errors.HeadNotFound, errors.ProductNotFound, errors.FieldInvalid, errors.RangeInvalid),
}


@router.get(
    "/v1/heads/{head_id}/files/{name}",
    response_class=Response,
    summary="Fetch a file",
    responses=_RESPONSES,
    openapi_extra=_PARAMETERS,
)
async def get_file(
    request: Request, head_id: HeadId, name: FileName, gateway: TheGateway, caller: Reader, version: Version = None
) -> Response:
    """A file of a head, or a range of it.

    At the address that a head's `products` give, with `v`, there is never anything else.
    """
    product = await _find(gateway, caller, head_id, name, version)
    headers = file_headers(product, immutable=version is not None)
    if known_already(request.headers, product):
        return Response(status_code=304, headers=headers)
    if gateway.settings.files == "redirect":
        link = gateway.store.presign(product.key, gateway.settings.link_s, product.name, product.media_type)
        if link is not None:
            return RedirectResponse(link, 307)
    span = asked_range(request.headers, product)
    try:
        return await open_file(gateway, product, span, headers)
    except ObjectMissing:
        # Perhaps the head was deleted, or the file replaced, between the two looks; otherwise it is the store's fault.
        again = await _find(gateway, caller, head_id, name, version)
        if again.key == product.key:
            raise
        return await open_file(gateway, again, asked_range(request.headers, again), headers)


@router.head(
    "/v1/heads/{head_id}/files/{name}",
    response_class=Response,
    summary="Look a file up",
    responses={**_RESPONSES, 200: {"description": "It is there.", "headers": {**_TAG, **_CACHE}}},
)
async def look_up_file(
    request: Request, head_id: HeadId, name: FileName, gateway: TheGateway, caller: Reader, version: Version = None
) -> Response:
    """The headers of `GET`, without ranges."""
    product = await _find(gateway, caller, head_id, name, version)
    headers = file_headers(product, immutable=version is not None)
    if known_already(request.headers, product):
        return Response(status_code=304, headers=headers)
    return Response(headers={**headers, "content-length": str(product.size)}, media_type=product.media_type)


async def _find(gateway: Gateway, caller: Caller, head_id: str, name: str, version: str | None) -> ProductRecord:
    product = await gateway.jobs.get_product(caller.owner, head_id, name)
    if version is not None and not product.sha256.startswith(version):
        raise ProductNotFound("the file of this name has been replaced: the head's products give its address")
    return product
