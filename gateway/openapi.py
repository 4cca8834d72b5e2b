"""The description of the API: what FastAPI cannot know by itself."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from gateway import models, problems
from gateway.options import ExportOptions, HeadOptions
from gateway.uploads import MOST_FIELD_BYTES
from maquette import errors
from maquette.errors import MaquetteError

Responses = dict[int | str, dict[str, Any]]

SUMMARY = "One photo of a face in, one textured 3D head out."
DESCRIPTION = """\
Send photos of one person, follow the work by server-sent events, fetch the files. `docs/http.md` of the project shows
each call with curl.

Every failure is a problem document (RFC 9457) whose `code` is stable. What is another customer's answers as what does
not exist. Members and codes may be added within `/v1`.
"""
TAGS = [
    {"name": "heads", "description": "Heads, their events and exports."},
    {"name": "files", "description": "Files of heads."},
    {"name": "detection", "description": "Faces in a photo that is not kept."},
    {"name": "installation", "description": "What there is, and how it is."},
]

_SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer mq_…`"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "`X-API-Key: mq_…`"},
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}}
_EXAMPLES: dict[type[MaquetteError], tuple[str, dict[str, Any]]] = {
    errors.KeyInvalid: ("expected an API key, as Authorization: Bearer mq_… or X-API-Key: mq_…, found none", {}),
    errors.ScopeMissing: ("expected a key with the scope heads:write, found one with heads:read", {}),
    errors.HeadNotFound: ("there is no head head_oeq2sltw6fxfjkpwtwcnqkexxa", {}),
    errors.ProductNotFound: ("there is no file of that name; there are: preview.glb", {"state": "meshing"}),
    errors.JobConflict: ("expected a head that is done, found one that is meshing", {"state": "meshing"}),
    errors.IdempotencyMismatch: (
        "expected the request that this idempotency key was first used for, found another",
        {},
    ),
    errors.RateExceeded: ("expected at most 50 requests in 1 s, found one more", {"retry_after_seconds": 1}),
    errors.QuotaExceeded: ("expected at most 100 heads a day, found one more", {"retry_after_seconds": 41_000}),
    errors.Overloaded: ("expected fewer than 10000 jobs that wait, found 10000", {"retry_after_seconds": 10}),
    errors.BodyInvalid: ("expected a form that ends with its boundary, found one that is cut short", {}),
    errors.BodyTooLarge: ("expected a body of at most 400,132,096 bytes, found more", {"limit": 400_132_096}),
    errors.BodyTooSlow: ("expected a pause of at most 30 s, found a longer one", {"limit_seconds": 30}),
    errors.BodyTypeUnknown: ("expected a body of multipart/form-data, found another or none", {}),
    errors.PhotoTooLarge: ("me.jpg has 30,000 × 20,000 pixels, at most 100,000,000 are taken", {"photo": "me.jpg"}),
    errors.PhotoUnreadable: ("notes.txt is no picture of a known kind", {"photo": "notes.txt"}),
    errors.NoFaceFound: ("no face was found in wall.jpg", {"photo": "wall.jpg"}),
    errors.FieldInvalid: (
        "expected valid options, found fault with texture: Input should be 'albedo' or 'photo'",
        {"errors": [{"where": "form", "field": "texture", "message": "Input should be 'albedo' or 'photo'"}]},
    ),
    errors.OptionInvalid: ("expected engine to be one of open, found deca", {}),
    errors.RangeInvalid: ("expected a range that begins within the file of 812345 bytes, found another", {}),
}
_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def refusals(*kinds: type[MaquetteError]) -> Responses:
    """Answers of a route besides those that it is for: one example for each kind of error, by status."""
    found: Responses = {}
    everywhere: tuple[type[MaquetteError], ...] = (MaquetteError, errors.ServiceUnavailable)
    for kind in (*kinds, *everywhere):
        status = problems.STATUS.get(kind) or problems.status_of(kind(""))
        entry = found.setdefault(status, {"description": "", "content": {problems.MEDIA_TYPE: {"examples": {}}}})
        entry["description"] = "; ".join(filter(None, (entry["description"], problems.title_of(kind.code))))
        content = entry["content"][problems.MEDIA_TYPE]
        content["schema"] = {"$ref": "#/components/schemas/Problem"}
        content["examples"][kind.code] = {"value": _example(kind)}
        if status in (429, 503):
            entry["headers"] = _RETRY_AFTER
    return found


def keyed(*kinds: type[MaquetteError], scope: bool = True) -> Responses:
    """As ``refusals``, with those of a route that wants a key."""
    scoped: tuple[type[MaquetteError], ...] = (errors.ScopeMissing,) if scope else ()
    return refusals(errors.KeyInvalid, *scoped, errors.RateExceeded, *kinds)


def form_body(file_field: str, most: int, options: bool) -> dict[str, Any]:
    """What ``openapi_extra`` says of a form with photos.

    Args:
        file_field: Name of the field with photos.
        most: Most photos.
        options: Whether options and a name may come with them.
    """
    picture = {"type": "string", "contentMediaType": "application/octet-stream", "format": "binary"}
    files: dict[str, Any] = picture
    if most > 1:
        files = {"type": "array", "items": picture, "minItems": 1, "maxItems": most}
    properties: dict[str, Any] = {
        file_field: {**files, "description": "JPEG, PNG, WebP, TIFF, HEIC, AVIF, BMP or GIF."}
    }
    if options:
        described = HeadOptions.model_json_schema()["properties"]
        properties |= {
            "name": {"type": "string", "maxLength": 200, "default": "", "description": "Your own name for the head."},
            **described,
            "options": {
                "type": "string",
                "contentMediaType": "application/json",
                "maxLength": MOST_FIELD_BYTES,
                "description": "The options as one JSON object instead of a field each.",
            },
        }
    schema = {"type": "object", "properties": properties, "required": [file_field], "additionalProperties": False}
    encoding = {file_field: {"contentType": "image/*, application/octet-stream"}}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema, "encoding": encoding}}}
    }


def json_body(schema: str) -> dict[str, Any]:
    """What ``openapi_extra`` says of a JSON body that the route reads itself."""
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def describe(app: FastAPI, version: str) -> None:
    """Give an application its description, made when it is first asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app, version)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _build(app: FastAPI, version: str) -> dict[str, Any]:
    schema = get_openapi(
        title="Maquette",
        version=version,
        summary=SUMMARY,
        description=DESCRIPTION,
        routes=app.routes,
        tags=TAGS,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        servers=[{"url": "/"}],
    )
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        components.pop(unused, None)
    schema["components"]["securitySchemes"] = _SECURITY_SCHEMES
    components["Problem"] = _problem_schema()
    components["ExportOptions"] = ExportOptions.model_json_schema()
    for name, model in vars(models).items():
        if name in components and issubclass(model, BaseModel):
            # FastAPI leaves the nulls of examples out.
            components[name] |= model.model_config.get("json_schema_extra", {})
    for path in schema["paths"].values():
        for operation in path.values():
            _only_problems(operation)
            if "401" in operation["responses"]:
                operation["security"] = [{name: []} for name in _SECURITY_SCHEMES]
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _not_null(parameter["schema"])
    return schema


def _only_problems(operation: dict[str, Any]) -> None:
    """Take out what FastAPI adds by itself: answers in JSON beside ours, and validation errors where there are none."""
    answers = operation["responses"]
    for status, answer in list(answers.items()):
        content = answer.get("content", {})
        if problems.MEDIA_TYPE in content:
            answer["content"] = {problems.MEDIA_TYPE: content[problems.MEDIA_TYPE]}
        elif status == "422":
            del answers[status]


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be absent can still not be null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) != 1:
        return schema
    return {**{k: v for k, v in schema.items() if k != "anyOf"}, **choices[0]}


def _problem_schema() -> dict[str, Any]:
    return {
        "title": "Problem",
        "description": "A failure (RFC 9457). Further members are facts about it, such as `retry_after_seconds`.",
        "type": "object",
        "properties": {
            "type": {"type": "string", "format": "uri", "pattern": f"^{problems.TYPE_PREFIX}[a-z_]+$"},
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string", "description": "What was expected and what came."},
            "code": {"type": "string", "pattern": "^[a-z_]+$", "description": "Stable name."},
            "trace_id": {"type": "string", "description": "Under which the server's log has more."},
        },
        "required": ["type", "title", "status", "detail", "code"],
        "additionalProperties": True,
        "example": _example(errors.HeadNotFound),
    }


def _example(kind: type[MaquetteError]) -> dict[str, Any]:
    message, facts = _EXAMPLES.get(kind, ("expected something else", {}))
    return {**problems.document(kind(message, **facts)), "trace_id": _TRACE}
