"""The process that works on meshes of unknown origin, see ``services.meshproc.workshop``.

It reads a name and a request, its mesh within it, from a pipe, and writes a mark and an answer, until that is closed.
"""

import json
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

from google.protobuf.message import Message

from maquette.errors import MaquetteError, MeshInvalid
from maquette.v1 import common_pb2, meshproc_pb2
from services.meshproc.files import MeshLimits, TriangleMesh, read_mesh, write_mesh
from services.meshproc.inspection import MeshFigures, inspect
from services.meshproc.repair import RepairOptions, repair
from services.meshproc.simplification import simplify

DONE, REFUSED, FAILED = b"d", b"r", b"f"


def answer_inspect(request: meshproc_pb2.InspectRequest, limits: MeshLimits) -> meshproc_pb2.InspectResponse:
    """Look at a mesh."""
    return meshproc_pb2.InspectResponse(report=_report(inspect(_mesh(request.mesh, limits))))


def answer_repair(request: meshproc_pb2.RepairRequest, limits: MeshLimits) -> meshproc_pb2.RepairResponse:
    """Mend a mesh."""
    mesh = _mesh(request.mesh, limits)
    most = request.max_hole_edges if request.HasField("max_hole_edges") else None
    mended = repair(mesh, RepairOptions(request.merge_mm, most, request.min_component_triangles), limits)
    return meshproc_pb2.RepairResponse(
        mesh=_blob(mended.mesh, request.media_type or request.mesh.media_type),
        before=_report(inspect(mesh)),
        after=_report(inspect(mended.mesh)),
        actions=mended.actions,
    )


def answer_simplify(request: meshproc_pb2.SimplifyRequest, limits: MeshLimits) -> meshproc_pb2.SimplifyResponse:
    """Make coarser versions of a mesh."""
    mesh = _mesh(request.mesh, limits)
    media_type = request.media_type or request.mesh.media_type
    levels = [
        meshproc_pb2.MeshLevel(
            mesh=_blob(level.mesh, media_type), report=_report(inspect(level.mesh)), deviation_mm=level.deviation_mm
        )
        for level in simplify(mesh, list(request.triangles))
    ]
    return meshproc_pb2.SimplifyResponse(levels=levels, before=_report(inspect(mesh)))


def answer(name: str, data: bytes, limits: MeshLimits) -> Message:
    """Answer a request by its name.

    Raises:
        MeshInvalid: The mesh cannot be worked on.
        OptionInvalid: An option is out of its range.
        DependencyMissing: Open3D is wanted, and cannot be used here.
    """
    match name:
        case "Inspect":
            return answer_inspect(meshproc_pb2.InspectRequest.FromString(data), limits)
        case "Repair":
            return answer_repair(meshproc_pb2.RepairRequest.FromString(data), limits)
        case "Simplify":
            return answer_simplify(meshproc_pb2.SimplifyRequest.FromString(data), limits)
    raise AssertionError(name)


def serve(pipe: Connection, limits: MeshLimits, answer: Callable[[str, bytes, MeshLimits], Message] = answer) -> None:
    """Answer requests until the pipe is closed."""
    while True:
        try:
            name, data = pipe.recv_bytes().decode(), pipe.recv_bytes()
        except EOFError:
            return
        try:
            mark, reply = DONE, answer(name, data, limits).SerializeToString()
        except MemoryError:
            too_large = MeshInvalid("expected a mesh that fits into the memory here, found a larger one")
            mark, reply = REFUSED, _refusal(too_large)
        except MaquetteError as error:
            mark, reply = REFUSED, _refusal(error)
        except Exception as error:
            # What a library says may hold anything; where it happened does not.
            mark, reply = FAILED, type(error).__name__.encode()
        pipe.send_bytes(mark)
        pipe.send_bytes(reply)


def _mesh(blob: common_pb2.Blob, limits: MeshLimits) -> TriangleMesh:
    return read_mesh(blob.inline, blob.media_type, limits)


def _blob(mesh: TriangleMesh, media_type: str) -> common_pb2.Blob:
    return common_pb2.Blob(inline=write_mesh(mesh, media_type), media_type=media_type)


def _report(figures: MeshFigures) -> meshproc_pb2.MeshReport:
    return meshproc_pb2.MeshReport(
        vertices=figures.vertices,
        triangles=figures.triangles,
        components=figures.components,
        boundary_edges=figures.boundary_edges,
        non_manifold_edges=figures.non_manifold_edges,
        degenerate_triangles=figures.degenerate_triangles,
        watertight=figures.watertight,
        oriented=figures.oriented,
        solid=figures.solid,
        area_mm2=figures.area_mm2,
        volume_mm3=figures.volume_mm3,
        lower_mm=figures.lower_mm,
        upper_mm=figures.upper_mm,
    )


def _refusal(error: MaquetteError) -> bytes:
    return json.dumps({"code": error.code, "message": str(error), "detail": error.detail}, default=str).encode()


if __name__ == "__main__":
    handle, max_bytes, max_triangles = map(int, sys.argv[1:])
    serve(Connection(handle), MeshLimits(max_bytes, max_triangles))
