"""What a form asks for: fields, or one JSON object, or some of each."""

import json
from typing import Any

from gateway.context import Gateway
from gateway.options import HeadOptions, parse_head_options
from gateway.uploads import Form
from maquette.errors import FieldInvalid

_LONGEST_NAME = 200
_OPTIONS = "options"
_NAME = "name"
_BUILT_IN_HAIR = ("auto", "none")


async def head_form(form: Form, gateway: Gateway) -> tuple[str, HeadOptions]:
    """The customer's name for a head, and its options.

    Raises:
        FieldInvalid: A field is unknown, given twice or out of its range.
        OptionInvalid: An option is out of its range.
    """
    values: dict[str, Any] = {}
    name = ""
    for field, given in form.fields.items():
        if field == "formats":
            values[field] = ",".join(given)
            continue
        if len(given) > 1:
            raise _fault(field, "given more than once")
        if field == _NAME:
            name = _checked_name(given[0])
        elif field != _OPTIONS:
            values[field] = given[0]
    for field, value in _json_options(form).items():
        if field in values:
            raise _fault(field, "given as a field and in options")
        values[field] = value
    options = parse_head_options(values, where="form")
    if options.hair not in _BUILT_IN_HAIR:
        await gateway.in_thread(_check_hair, options.hair)
    return name, options


def no_fields(form: Form) -> None:
    """Make sure that nothing came beside the photo.

    Raises:
        FieldInvalid: Something did.
    """
    for field in form.fields:
        raise _fault(field, "not known here")


def _json_options(form: Form) -> dict[str, Any]:
    texts = form.fields.get(_OPTIONS)
    if not texts:
        return {}
    try:
        value = json.loads(texts[0])
    except (ValueError, RecursionError):
        raise _fault(_OPTIONS, "not JSON") from None
    if not isinstance(value, dict):
        raise _fault(_OPTIONS, "no JSON object")
    return value


def _checked_name(name: str) -> str:
    if len(name) > _LONGEST_NAME:
        raise _fault(_NAME, f"longer than {_LONGEST_NAME} characters")
    if not name.isprintable():
        raise _fault(_NAME, "with characters that cannot be shown")
    return name


def _check_hair(style: str) -> None:
    # The library is some megabytes, and most heads do without naming a style.
    from maquette.headmodel.hair import load_hair_library

    load_hair_library().style(style)


def _fault(field: str, found: str) -> FieldInvalid:
    shown = field[:100]
    listed = [{"where": "form", "field": shown, "message": f"is {found}"}]
    return FieldInvalid(f"expected a valid form, found the field {shown!r} {found}", errors=listed)
