"""Which kinds of mesh files there are."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from maquette.errors import MeshInvalid
from services.meshproc.files import glb, obj, ply, stl
from services.meshproc.files.mesh import MeshLimits, TriangleMesh

GLB, OBJ, PLY, STL = "model/gltf-binary", "model/obj", "application/vnd.ply", "model/stl"


@dataclass(frozen=True)
class _Format:
    read: Callable[[bytes, MeshLimits], TriangleMesh]
    write: Callable[[TriangleMesh], bytes]


_FORMATS: dict[str, _Format] = {
    STL: _Format(stl.read_stl, stl.write_stl),
    OBJ: _Format(obj.read_obj, obj.write_obj),
    GLB: _Format(glb.read_glb, glb.write_glb),
    PLY: _Format(ply.read_ply, ply.write_ply),
}

MEDIA_TYPES = tuple(_FORMATS)


def read_mesh(data: bytes, media_type: str, limits: MeshLimits) -> TriangleMesh:
    """Read a mesh file.

    Args:
        data: The file.
        media_type: One of ``MEDIA_TYPES``. GLB is in metres, as glTF says; the others count as millimetres.
        limits: What is still worked on.

    Raises:
        MeshInvalid: It is no such file, damaged, beyond the limits, or its numbers make no mesh.
    """
    kind = _format(media_type)
    limits.require_bytes(len(data))
    # Numbers that are none, or grow beyond all bounds, are found among the coordinates.
    with np.errstate(over="ignore", invalid="ignore"):
        return kind.read(data, limits)


def write_mesh(mesh: TriangleMesh, media_type: str) -> bytes:
    """Write a mesh file; the same mesh makes the same bytes.

    Raises:
        MeshInvalid: There is no such kind.
    """
    return _format(media_type).write(mesh)


def _format(media_type: str) -> _Format:
    if media_type not in _FORMATS:
        found = media_type[:120] or "none"
        raise MeshInvalid(f"expected a mesh of the media type {', '.join(MEDIA_TYPES)}, found {found}")
    return _FORMATS[media_type]
