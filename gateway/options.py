"""What a customer asks for: from fields of a form or a JSON object, as the jobs keep it, and back for a worker."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from gateway.jobs import Json
from maquette.errors import BodyInvalid, FieldInvalid
from maquette.options import ENGINES, SIZE_LIMITS_MM, TEXTURE_SIZES, check_options
from maquette.provenance import options_json
from maquette.rooms import FORMATS, ReconstructOptions

FaceChoice = Annotated[int, Field(ge=1, le=10_000)] | Literal["largest"]
"""A face by its number, 1 for the most prominent, or the one that is largest in the picture."""


def _split(formats: object) -> object:
    return [part.strip() for part in formats.split(",")] if isinstance(formats, str) else formats


_DEFAULT = ReconstructOptions()
_Formats = Annotated[
    list[Annotated[str, Field(json_schema_extra={"enum": list(FORMATS)})]],
    BeforeValidator(_split),
    Field(
        min_length=1,
        max_length=len(FORMATS),
        description="Mesh formats, each once, in the order wanted.",
        json_schema_extra={"uniqueItems": True},
    ),
]
_Size = Annotated[
    float | None,
    Field(
        ge=SIZE_LIMITS_MM[0],
        le=SIZE_LIMITS_MM[1],
        allow_inf_nan=False,
        description="Height of the printed solid in millimetres; life size when absent.",
    ),
]


class HeadOptions(BaseModel):
    """What can be chosen for a head."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str = Field(
        default=_DEFAULT.engine, description="Engine; see /v1/engines.", json_schema_extra={"enum": list(ENGINES)}
    )
    texture: Literal["albedo", "photo"] = Field(
        default=_DEFAULT.texture, description="Colour map: with the photo's light taken out, or left in."
    )
    texture_size: int = Field(
        default=_DEFAULT.texture_size,
        description="Side of the colour map in texels.",
        json_schema_extra={"enum": list(TEXTURE_SIZES)},
    )
    detail: bool = Field(default=_DEFAULT.detail, description="Add displacement, normal map and the detailed mesh.")
    hair: str = Field(
        default=_DEFAULT.hair,
        max_length=100,
        pattern="^[A-Za-z0-9_-]+$",
        description="auto, none or a style of the hair library.",
    )
    expression: Literal["photo", "neutral"] = Field(
        default=_DEFAULT.expression, description="Keep the photo's expression or remove it; GLB rests in neutral."
    )
    formats: _Formats = Field(default=list(FORMATS))
    size_mm: _Size = None
    face: FaceChoice = Field(default=1, description="Which face of each photo: its number, or the largest.")

    def reconstruct_options(self) -> ReconstructOptions:
        """As the rooms take them.

        Raises:
            OptionInvalid: An option is out of its range.
        """
        values = self.model_dump(exclude={"face"})
        options = ReconstructOptions(**{**values, "formats": tuple(self.formats)})
        check_options(options)
        return options

    def stored(self) -> Json:
        """As the jobs keep it and reports show it: the members of ``ReconstructOptions``, and ``face``.

        Raises:
            OptionInvalid: An option is out of its range.
        """
        return options_json(self.reconstruct_options(), self.face)


class ExportOptions(BaseModel):
    """What can be chosen for further files of a head; what is left out is as it was for the head."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"example": {"formats": ["stl"], "size_mm": 120}}
    )

    formats: _Formats
    texture: Literal["albedo", "photo"] | None = None
    expression: Literal["photo", "neutral"] | None = None
    size_mm: _Size = None

    def stored(self) -> Json:
        """As the jobs keep it: only what was chosen.

        Raises:
            OptionInvalid: An option is out of its range.
        """
        chosen: Json = self.model_dump(exclude_none=True)
        check_options(replace(_DEFAULT, **{**chosen, "formats": tuple(self.formats)}))
        return chosen


def read_options(stored: Json) -> tuple[ReconstructOptions, FaceChoice]:
    """What a head's ``options`` stand for, for the worker that has its job."""
    known = {f.name for f in fields(ReconstructOptions)}
    values = {name: value for name, value in stored.items() if name in known}
    return ReconstructOptions(**{**values, "formats": tuple(values["formats"])}), stored.get("face", 1)


def read_export(head: Json, payload: Json) -> ReconstructOptions:
    """What an export's ``payload`` stands for, the rest being as in its head's ``options``."""
    options, _ = read_options(head)
    return replace(options, **{**payload, "formats": tuple(payload["formats"])})


_HEAD = TypeAdapter(HeadOptions)
_EXPORT = TypeAdapter(ExportOptions)


def parse_head_options(values: Mapping[str, Any], *, where: str) -> HeadOptions:
    """Check what came as the options of a head; texts stand for numbers and truths, as a form has nothing else.

    Args:
        values: By name.
        where: Where they came from, for messages: ``form`` or ``options``.

    Raises:
        FieldInvalid: One is unknown or out of its range.
    """
    try:
        return _HEAD.validate_python(values)
    except ValidationError as error:
        raise _field_errors(error, where) from error


def parse_export_options(text: bytes) -> ExportOptions:
    """Check what came as an export's options.

    Raises:
        BodyInvalid: It is no JSON.
        FieldInvalid: It is another object, or none.
    """
    try:
        return _EXPORT.validate_json(text)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise BodyInvalid("expected a JSON object, found what cannot be parsed") from error
        raise _field_errors(error, "body") from error


def _field_errors(error: ValidationError, where: str) -> FieldInvalid:
    """What a validation says, without repeating what came."""
    listed = [
        {"where": where, "field": ".".join(map(str, e["loc"])) or where, "message": e["msg"]}
        for e in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    names = ", ".join(dict.fromkeys(e["field"] for e in listed))
    return FieldInvalid(f"expected valid options, found fault with {names}: {listed[0]['message']}", errors=listed)
