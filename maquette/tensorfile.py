"""Arrays with a JSON header in one safetensors file, checked against a list of what has to be in it.

The header lies in the file's metadata under the single key ``maquette``. Arrays and header are written in a fixed
order, so that the same contents make the same bytes. Nothing is unpickled, and nothing is trusted: a file from
elsewhere is checked array by array before anybody computes with it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from maquette.errors import MessageInvalid

_KEY = "maquette"
_LENGTH_BYTES = 8


class Header(BaseModel):
    """Base of headers: every field is there, of its type, and no other.

    Attributes:
        format: Name and version of the layout, e.g. ``maquette-head/1``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    format: str


H = TypeVar("H", bound=Header)


@dataclass(frozen=True)
class Spec:
    """What an array has to be.

    Attributes:
        dtype: NumPy name, e.g. ``float32``.
        shape: Sizes; equal letters are equal sizes throughout a file.
    """

    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.dtype} ({', '.join(map(str, self.shape))})"


def pack(header: Header, arrays: Mapping[str, NDArray[Any]], specs: Mapping[str, Spec]) -> bytes:
    """One safetensors file.

    Args:
        header: Its header.
        arrays: Its arrays by name.
        specs: What they have to be.

    Raises:
        MessageInvalid: They are not.
    """
    _check(header.format, arrays, specs)
    in_order = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    return bytes(save(in_order, {_KEY: header.model_dump_json()}))


def read_header(data: bytes, kind: type[H], layout: str) -> H:
    """The header of a file, its arrays left alone.

    Args:
        data: The file.
        kind: Class of the header.
        layout: Value that ``format`` has to have.

    Raises:
        MessageInvalid: It is no such file.
    """
    text = _metadata(data, layout)
    try:
        found = json.loads(text).get("format")
        if found != layout:
            raise MessageInvalid(f"expected a file of format {layout}, found {str(found)[:80]}")
        return kind.model_validate_json(text)
    except (ValueError, AttributeError, RecursionError) as error:
        raise MessageInvalid(f"expected a {layout} header, found one with {_first(error)}") from error


def unpack(data: bytes, layout: str, specs: Mapping[str, Spec]) -> dict[str, NDArray[Any]]:
    """The arrays of a file, writable and in the machine's byte order.

    Args:
        data: The file.
        layout: Its format, for messages.
        specs: What its arrays have to be.

    Raises:
        MessageInvalid: They are not.
    """
    try:
        arrays: dict[str, NDArray[Any]] = load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise MessageInvalid(f"expected a {layout} file, found damage: {error}") from error
    _check(layout, arrays, specs)
    return arrays


def _metadata(data: bytes, layout: str) -> str:
    """The header's JSON text, from the safetensors layout: 8 bytes little-endian length, then JSON of that length."""
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    try:
        if not 0 < length <= len(data) - _LENGTH_BYTES:
            raise ValueError(f"a length of {length} in {len(data)} bytes")
        text = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])["__metadata__"][_KEY]
        if not isinstance(text, str):
            raise ValueError("a header that is no text")
        return text
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise MessageInvalid(f"expected a {layout} file, found none ({type(error).__name__})") from error


def _first(error: Exception) -> str:
    """What is wrong, without what the header says: it may name a person."""
    if isinstance(error, ValidationError):
        what = error.errors(include_url=False, include_input=False, include_context=False)[0]
        return f"{'.'.join(map(str, what['loc'])) or 'all of it'}: {what['msg']}"
    return type(error).__name__


def _check(layout: str, arrays: Mapping[str, NDArray[Any]], specs: Mapping[str, Spec]) -> None:
    if arrays.keys() != specs.keys():
        missing, extra = sorted(specs.keys() - arrays.keys()), sorted(arrays.keys() - specs.keys())
        raise MessageInvalid(
            f"expected the arrays of {layout}, found {_listed(missing) or 'none'} missing and "
            f"{_listed(extra) or 'none'} unknown"
        )
    sizes: dict[str, int] = {}
    for name in sorted(specs):
        spec, array = specs[name], arrays[name]
        if array.dtype != np.dtype(spec.dtype) or array.ndim != len(spec.shape):
            raise _wrong(layout, name, spec, array)
        for wanted, size in zip(spec.shape, array.shape, strict=True):
            expected = wanted if isinstance(wanted, int) else sizes.setdefault(wanted, size)
            if size != expected:
                raise _wrong(layout, name, spec, array, sizes)


def _wrong(
    layout: str, name: str, spec: Spec, array: NDArray[Any], sizes: Mapping[str, int] | None = None
) -> MessageInvalid:
    where = ", ".join(f"{k} = {v}" for k, v in (sizes or {}).items() if k in spec.shape)
    found = f"{array.dtype} ({', '.join(map(str, array.shape))})"
    return MessageInvalid(f"expected {name} of {layout} to be {spec}{where and f' with {where}'}, found {found}")


def _listed(names: list[str]) -> str:
    shown = ", ".join(n[:40] for n in names[:4])
    return shown + (", …" if len(names) > 4 else "")
