"""The named tensors that NVIDIA Triton carries: what both of its ends agree on (``packing`` fills and reads them).

A request has the tensors of ``VIEWS``, one for the textures the tensors of ``HEAD`` too, with the coarse head; an
answer has those of ``HEAD``. Each has a leading dimension of 1 (Triton's batch). What is no array travels as a JSON
header in a UINT8 tensor: Triton's Python backend cannot carry text beside a recent NumPy. Photos lie one after the
other in one flat tensor, as do masks and the colours of hair meshes; their sizes are in the header. An array without
elements is left out, for Triton carries none.

Frames and units are those of ``maquette.types``. N photos, K identity modes, V vertices, H, T and P vertices, triangles
and colour bytes of all hair meshes together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.errors import MessageInvalid

FORMAT = "maquette-tensors/1"

Array = NDArray[Any]


@dataclass(frozen=True)
class Tensor:
    """What a tensor has to be, its batch dimension left away.

    Attributes:
        datatype: Triton's name, e.g. ``FP32``.
        shape: Sizes; equal letters are equal sizes throughout a set of tensors.
        optional: Whether it may be absent.
    """

    datatype: str
    shape: tuple[int | str, ...]
    optional: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's type."""
        return np.dtype(_DTYPES[self.datatype])

    @property
    def dims(self) -> list[int]:
        """Sizes as Triton's configuration has them: -1 where any will do."""
        return [n if isinstance(n, int) else -1 for n in self.shape]

    def __str__(self) -> str:
        return f"{self.datatype} [{', '.join(map(str, self.shape))}]"


_DTYPES = {"UINT8": np.uint8, "INT32": np.int32, "FP32": np.float32, "FP64": np.float64}
DATATYPES: dict[np.dtype[Any], str] = {np.dtype(t): name for name, t in _DTYPES.items()}
"""Triton's names of the types that travel."""

VIEWS: dict[str, Tensor] = {
    "views_header": Tensor("UINT8", ("header",)),
    "pixels": Tensor("UINT8", ("pixel bytes",)),
    "boxes": Tensor("FP32", ("N", 4)),
    "landmarks": Tensor("FP32", ("N", 478, 3)),
    "plain_landmarks": Tensor("FP32", ("N", 478, 3)),
    "canonical": Tensor("FP32", ("N", 478, 3)),
    "masks": Tensor("FP32", ("mask pixels",)),
    "mask_crops": Tensor("FP64", ("N", 2, 3)),
}

HEAD: dict[str, Tensor] = {
    "head_header": Tensor("UINT8", ("header",)),
    "identity": Tensor("FP32", ("K",)),
    "neutral": Tensor("FP32", ("V", 3)),
    "posed": Tensor("FP32", ("V", 3)),
    "uncertainty": Tensor("FP32", ("V",)),
    "determined": Tensor("FP32", ("V",)),
    "expressions": Tensor("FP32", ("N", 52)),
    "gazes": Tensor("FP32", ("N", 2, 2)),
    "residuals": Tensor("FP32", ("N", 478, 2)),
    "centres": Tensor("FP64", ("N", 2)),
    "rotations": Tensor("FP64", ("N", 3, 3)),
    "translations": Tensor("FP64", ("N", 3)),
    "texture_photo": Tensor("UINT8", ("S", "S", 3), optional=True),
    "texture_albedo": Tensor("UINT8", ("S", "S", 3), optional=True),
    "texture_weight": Tensor("FP32", ("S", "S"), optional=True),
    "lighting": Tensor("FP64", (9, 3), optional=True),
    "displacement": Tensor("FP32", ("M", "M"), optional=True),
    "normal": Tensor("UINT8", ("M", "M", 3), optional=True),
    "hair_vertices": Tensor("FP32", ("H", 3), optional=True),
    "hair_triangles": Tensor("INT32", ("T", 3), optional=True),
    "hair_uv": Tensor("FP32", ("H", 2), optional=True),
    "hair_colours": Tensor("UINT8", ("P",), optional=True),
}

COARSE_HEAD: dict[str, Tensor] = {n: t for n, t in HEAD.items() if not t.optional}
"""What a coarse head has."""

COMPLETE: dict[str, Tensor] = {**VIEWS, **COARSE_HEAD}
"""What a request for a whole head has."""


def shape_of(parts: Sequence[Array]) -> tuple[int, ...]:
    """Shape of a tensor that lies in several parts along its first dimension."""
    return (sum(p.shape[0] for p in parts), *parts[0].shape[1:])


def check(tensors: Mapping[str, Array], expected: Mapping[str, Tensor]) -> None:
    """Compare names, types and shapes with what is expected.

    Raises:
        MessageInvalid: They differ; says which tensor, what was expected and what came.
    """
    check_parts({name: (t,) for name, t in tensors.items()}, expected)


def check_parts(tensors: Mapping[str, Sequence[Array]], expected: Mapping[str, Tensor]) -> None:
    """The same for tensors of which each lies in several parts along its first dimension.

    Raises:
        MessageInvalid: They differ.
    """
    missing = [n for n, t in expected.items() if not t.optional and n not in tensors]
    unknown = sorted(tensors.keys() - expected.keys())
    if missing or unknown:
        raise MessageInvalid(
            f"expected the tensors of {FORMAT}, found {', '.join(missing) or 'none'} missing and "
            f"{', '.join(unknown)[:200] or 'none'} unknown"
        )
    sizes: dict[str, int] = {}
    for name, parts in tensors.items():
        wanted, shape = expected[name], shape_of(parts)
        fits = len(shape) == len(wanted.shape) and all(p.dtype == wanted.dtype for p in parts)
        fits = fits and all(p.shape[1:] == shape[1:] for p in parts)
        for letter, size in zip(wanted.shape, shape, strict=False):
            fits = fits and size == (letter if isinstance(letter, int) else sizes.setdefault(letter, size))
        if not fits:
            where = ", ".join(f"{k} = {v}" for k, v in sizes.items() if k in wanted.shape)
            found = f"{parts[0].dtype} [{', '.join(map(str, shape))}]"
            raise MessageInvalid(
                f"expected tensor {name} to be {wanted}{where and f' with {where}'}, found {found}", field=name
            )
