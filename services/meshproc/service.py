"""The mesh service in this process: head to products, meshes to better meshes."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TypeVar

from maquette.errors import MeshInvalid
from maquette.events import Stage
from maquette.headmodel import load_head_model
from maquette.options import check_options
from maquette.pool import RoomPool
from maquette.rooms import Product, ReconstructOptions
from maquette.rpc.work import checkpoint
from maquette.sanity import check_head, check_view
from maquette.store import ObjectStore, check_scope
from maquette.types import Caution
from maquette.v1 import common_pb2
from maquette.v1.meshproc_pb2 import (
    ExportRequest,
    ExportResponse,
    InspectRequest,
    InspectResponse,
    PreviewRequest,
    PreviewResponse,
    RepairRequest,
    RepairResponse,
    SimplifyRequest,
    SimplifyResponse,
)
from maquette.wire import (
    blob_message,
    bytes_of,
    head_of,
    options_of,
    product_message,
    progress_message,
    views_of,
    warning_message,
)
from services.meshproc.exports import STL_NAME, Meshproc
from services.meshproc.files import MEDIA_TYPES
from services.meshproc.preview_glb import PREVIEW_NAME, write_preview
from services.meshproc.settings import MeshprocSettings
from services.meshproc.workshop import Workshop

GLB_TYPE = "model/gltf-binary"

_FIRST_FILES = {"obj": "head.obj", "glb": "head.glb", "ply": "head.ply", "stl": STL_NAME}
_PICTURES = ("preview.png", "overlay.png")

R = TypeVar("R", InspectRequest, RepairRequest, SimplifyRequest)


@dataclass(frozen=True)
class _Room:
    """What a thread works with."""

    exports: Meshproc
    workshop: Workshop

    def close(self) -> None:
        """End the workshop's process."""
        self.workshop.close()


class LocalMeshprocService:
    """A ``MeshprocService`` in this process."""

    def __init__(self, store: ObjectStore, settings: MeshprocSettings | None = None, *, threads: int = 1) -> None:
        """Prepare the service; nothing is loaded yet.

        Args:
            store: Where large payloads lie.
            settings: Limits on meshes; read from the environment when None.
            threads: Calls that are worked on at once.
        """
        self._store = store
        self._limits = (settings or MeshprocSettings()).limits
        self._pool = RoomPool(lambda: _Room(Meshproc(), Workshop(self._limits)), threads, "meshproc")

    async def warm_up(self) -> None:
        """Load what the first call would have to wait for.

        Raises:
            ModelFileInvalid: The head model is damaged.
        """
        await self._pool.warm_up()

    def close(self) -> None:
        """Let work end; blocks."""
        self._pool.close()

    async def preview(self, request: PreviewRequest) -> PreviewResponse:
        """See ``maquette.services``.

        Raises:
            MeshInvalid: The head is not of this service's model.
            MessageInvalid: The head is none.
            StoreError: The store failed.
        """
        return await self._pool.run(self._preview, request)

    def export(self, request: ExportRequest) -> AsyncIterator[ExportResponse]:
        """See ``maquette.services``.

        Progress counts the formats and pictures that are done; it begins with 0 and ends with 1.

        Raises:
            MeshInvalid: The head is not of this service's model, or bounds no solid where that alone is asked for.
            OptionInvalid: An option or a format is none.
            MessageInvalid: The head or a view is none.
            StoreError: The store failed.
        """
        return self._pool.stream(self._export, request)

    async def inspect(self, request: InspectRequest) -> InspectResponse:
        """See ``maquette.services``.

        Raises:
            MeshInvalid: The mesh cannot be read, or is too large.
            StoreError: The store failed.
        """
        return await self._pool.run(self._inspect, request)

    async def repair(self, request: RepairRequest) -> RepairResponse:
        """See ``maquette.services``.

        Raises:
            MeshInvalid: The mesh cannot be read, is too large, or nothing would be left of it.
            OptionInvalid: An option is out of its range.
            DependencyMissing: Open3D is wanted, and cannot be used here.
            StoreError: The store failed.
        """
        return await self._pool.run(self._repair, request)

    async def simplify(self, request: SimplifyRequest) -> SimplifyResponse:
        """See ``maquette.services``.

        Raises:
            MeshInvalid: The mesh cannot be read, or is too large.
            OptionInvalid: The levels do not fall, or are not below what the mesh has.
            DependencyMissing: Open3D cannot be used here.
            StoreError: The store failed.
        """
        return await self._pool.run(self._simplify, request)

    def _preview(self, _room: _Room, request: PreviewRequest) -> PreviewResponse:
        _check_scope(request.scope)
        head = head_of(request.head, self._store)
        check_head(head)
        checkpoint()
        product = Product(PREVIEW_NAME, GLB_TYPE, write_preview(load_head_model(), head))
        return PreviewResponse(product=product_message(product, self._store, request.scope))

    def _export(self, room: _Room, request: ExportRequest) -> Iterator[ExportResponse]:
        _check_scope(request.scope)
        options = options_of(request.options, tuple(request.formats))
        check_options(options)
        head, views = head_of(request.head, self._store), views_of(request.views, self._store)
        check_head(head)
        for view in views:
            check_view(view)
        checkpoint()
        progress = _Progress(options, pictures=2 if views else 1)
        yield progress.start()
        for made in room.exports.products(head, views, options):
            if isinstance(made, Caution):
                yield ExportResponse(warning=warning_message(made))
                continue
            yield from progress.until(made.name)
            yield ExportResponse(product=product_message(made, self._store, request.scope))
        yield progress.end()

    def _inspect(self, room: _Room, request: InspectRequest) -> InspectResponse:
        return room.workshop.work("Inspect", self._with_mesh(request), InspectResponse)

    def _repair(self, room: _Room, request: RepairRequest) -> RepairResponse:
        _check_scope(request.scope)
        _check_media_type(request.media_type)
        answer = room.workshop.work("Repair", self._with_mesh(request), RepairResponse)
        answer.mesh.CopyFrom(self._put(answer.mesh, request.scope))
        return answer

    def _simplify(self, room: _Room, request: SimplifyRequest) -> SimplifyResponse:
        _check_scope(request.scope)
        _check_media_type(request.media_type)
        answer = room.workshop.work("Simplify", self._with_mesh(request), SimplifyResponse)
        for level in answer.levels:
            level.mesh.CopyFrom(self._put(level.mesh, request.scope))
        return answer

    def _with_mesh(self, request: R) -> R:
        """A request with its mesh in it, wherever that was."""
        blob = request.mesh
        self._limits.require_bytes(len(blob.inline) or blob.reference.size)
        data = bytes_of(blob, self._store)
        checkpoint()
        filled = type(request)()
        filled.CopyFrom(request)
        filled.mesh.CopyFrom(common_pb2.Blob(inline=data, media_type=blob.media_type))
        return filled

    def _put(self, blob: common_pb2.Blob, scope: str) -> common_pb2.Blob:
        return blob_message(blob.inline, blob.media_type, self._store, scope)


class _Progress:
    """How far an export has come: which formats and pictures are done, told by the files that follow them."""

    def __init__(self, options: ReconstructOptions, pictures: int) -> None:
        self._steps = [*(_FIRST_FILES[f] for f in options.formats), *_PICTURES[:pictures]]
        self._done = 0

    def start(self) -> ExportResponse:
        """Nothing is done."""
        return self._message(0)

    def until(self, name: str) -> Iterator[ExportResponse]:
        """A file is ready: what comes before the step that it begins is done."""
        if name in self._steps[self._done + 1 :]:
            self._done = self._steps.index(name)
            yield self._message(self._done)

    def end(self) -> ExportResponse:
        """All is done."""
        return self._message(len(self._steps))

    def _message(self, done: int) -> ExportResponse:
        return ExportResponse(progress=progress_message(Stage.EXPORT, done / len(self._steps)))


def _check_scope(scope: str) -> None:
    """Refuse early where an answer cannot be put; empty means that it is small."""
    if scope:
        check_scope(scope)


def _check_media_type(media_type: str) -> None:
    """Refuse early what an answer cannot be written as; empty means that of the mesh that came."""
    if media_type and media_type not in MEDIA_TYPES:
        raise MeshInvalid(f"expected a media type of {', '.join(MEDIA_TYPES)}, found {media_type[:120]}")
