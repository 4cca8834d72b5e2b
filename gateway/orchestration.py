"""A head's way through the services, step by step: each step is done once, whoever does it and however often.

A reconstruction's steps are ``photo-0``, ``photo-1``, … (find the faces, choose one, mask its person), ``coarse``,
``preview``, ``head``, ``files`` and ``report``; an export's are ``files`` and ``report``. What a step brings lies in
the object store, named after its bytes, and the jobs' database has the reference: a worker that takes a job over goes
on after the last step, and one that repeats a step writes the same bytes to the same names. The files that come out
are, byte for byte, those of ``maquette reconstruct``; ``preview.glb`` is one more.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from google.protobuf.message import DecodeError, Message

from gateway.jobs import Claim, HeadState, JobKind, JobStore, Json, ProductRecord, Step, head_scope, photo_scope
from gateway.options import read_export, read_options
from gateway.patience import insist
from gateway.workfigures import WorkMetrics
from gateway.worksettings import WorkerSettings
from maquette import telemetry, wire
from maquette.errors import DeadlineExceeded, MessageInvalid, ObjectCorrupt, ObjectMissing
from maquette.photofile import PHOTO_FORMAT, PhotoHeader
from maquette.pipeline import choose_face, face_cautions
from maquette.report import REPORT_NAME, Choice, build_report, file_json, to_json
from maquette.rooms import ReconstructOptions
from maquette.rpc.deadline import within
from maquette.services import DetectorService, MeshprocService, ReconstructorService
from maquette.store import ObjectStore, split_key
from maquette.tensorfile import read_header
from maquette.types import Caution, Face, Head
from maquette.v1 import common_pb2 as pb
from maquette.v1 import detector_pb2 as dp
from maquette.v1 import meshproc_pb2 as mp
from maquette.v1 import reconstructor_pb2 as rp

T = TypeVar("T")
M = TypeVar("M", bound=Message)

PICTURES = ("preview.png", "overlay.png")
"""Files that an export does not replace: they show the head as it was asked for first."""

_STEP_TYPE = "application/x-protobuf"
_JSON_TYPE = "application/json"
_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 1 << 20

_DETECTED, _SHAPED, _COMPLETE, _FILED = 0.1, 0.3, 0.7, 0.97
"""How far a head is when a part of the work is done."""


@dataclass(frozen=True)
class Services:
    """The services, wherever they are."""

    detector: DetectorService
    reconstructor: ReconstructorService
    meshproc: MeshprocService


@dataclass(frozen=True)
class _PhotoFacts:
    """What is known of a photo without its pixels; see ``maquette.types.Photo``."""

    name: str
    sha256: str
    width: int
    height: int
    focal_px: float | None


@dataclass(frozen=True)
class _Sitting:
    photo: _PhotoFacts
    face: Face


@dataclass(frozen=True)
class _Seen:
    """A photo after the detector."""

    view: pb.View
    facts: _PhotoFacts
    choice: Choice


@dataclass(frozen=True)
class _Files:
    """What the mesh service has made."""

    products: tuple[ProductRecord, ...]
    cautions: tuple[Caution, ...]


class Orchestration:
    """Takes jobs through the services."""

    def __init__(
        self, jobs: JobStore, store: ObjectStore, services: Services, settings: WorkerSettings, metrics: WorkMetrics
    ) -> None:
        """Work with these; nothing is asked yet."""
        self.jobs, self.store, self.services, self.settings, self.metrics = jobs, store, services, settings, metrics

    async def perform(self, claim: Claim, *, afresh: bool = False) -> None:
        """Do what is left of a job, up to but not including ``JobStore.finish``.

        Args:
            claim: The job.
            afresh: Whether to do without what earlier tries have recorded.

        Raises:
            LeaseLost: The job is no longer ours.
            MaquetteError: What ended this try; ``gateway.patience`` says what it means.
        """
        work = _Work(self, claim, {} if afresh else claim.steps)
        if claim.job.kind is JobKind.EXPORT:
            await work.export()
        else:
            await work.reconstruct()


class _Work:
    """One try of one job."""

    def __init__(self, tools: Orchestration, claim: Claim, steps: dict[str, Json]) -> None:
        self._tools, self._claim, self._steps = tools, claim, steps
        self._services = tools.services
        self._photos, self._heads = photo_scope(claim.head.id), head_scope(claim.head.id)

    async def reconstruct(self) -> None:
        """Photos to a head and its files."""
        options, face = read_options(self._claim.head.options)
        seen = await self._look(face)
        views = [s.view for s in seen]
        head = await self._kept(self._steps.get("head"), pb.Head)
        if head is None:
            head = await self._complete(views, await self._shape(views, options), options)
        if "report" in self._steps:
            return
        # The report needs all of the head, which is large: it is fetched while the files are made.
        fetching = asyncio.ensure_future(self._insist(lambda: asyncio.to_thread(wire.head_of, head, self._tools.store)))
        try:
            files = await self._make(head, views, options)
            cautions = (*face_cautions([s.facts for s in seen], [s.choice for s in seen]), *files.cautions)
            await self._report(await fetching, seen, options, face, files.products, cautions)
        finally:
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)

    async def export(self) -> None:
        """Further files of a head."""
        options = read_export(self._claim.head.options, self._claim.job.payload)
        head = await self._kept(self._claim.made.get("head"), pb.Head)
        if head is None:
            raise ObjectMissing("expected the head that the files are to be made of, found it gone")
        files = await self._make(head, (), options)
        await self._amend(files)

    async def _look(self, face: Any) -> list[_Seen]:
        """Find the face in each photo."""
        names = [f"photo-{number}" for number in range(len(self._claim.head.photos))]
        if not all(name in self._steps for name in names):
            await self._advance(state=HeadState.DETECTING)
        seen = []
        for number, name in enumerate(names):
            recorded = self._steps.get(name)
            view = await self._kept(recorded, pb.View)
            if recorded is None or view is None:
                view, choice = await self._detect(number, face)
                recorded = {**await self._keep(self._photos, view), "number": choice.number, "count": choice.count}
                recorded = await self._record(name, recorded, progress=_DETECTED * (number + 1) / len(names))
                # What counts may be what another release has recorded.
                view = await self._kept(recorded, pb.View) or view
            choice = Choice(recorded["number"], recorded["count"])
            seen.append(_Seen(view, await self._facts(view.photo), choice))
        return seen

    async def _detect(self, number: int, face: Any) -> tuple[pb.View, Choice]:
        photo = self._claim.head.photos[number]
        reference = pb.Reference(key=photo.key, size=photo.size)
        blob = pb.Blob(reference=reference, sha256=photo.sha256, media_type=photo.media_type)
        request = dp.DetectRequest(photo=blob, name=photo.name, scope=self._photos)
        found = await self._call("detect", lambda: self._services.detector.detect(request))
        facts = _PhotoFacts(photo.name, photo.sha256, found.width, found.height, None)
        choice = choose_face([wire.face_of(f) for f in found.faces], face, facts)
        chosen = found.faces[choice.number - 1]
        wanted = dp.MaskRequest(photo=found.photo, face=chosen, scope=self._photos)
        mask = await self._call("mask", lambda: self._services.detector.mask(wanted))
        return pb.View(photo=found.photo, face=chosen, mask=mask.mask), choice

    async def _shape(self, views: Sequence[pb.View], options: ReconstructOptions) -> pb.Head:
        """Fit the shape."""
        recorded = await self._kept(self._steps.get("coarse"), pb.Head)
        if recorded is not None:
            return recorded
        await self._advance(state=HeadState.RECONSTRUCTING, progress=_DETECTED)
        request = rp.CoarseRequest(views=views, options=wire.options_message(options), scope=self._photos)
        answer = await self._call("coarse", lambda: self._services.reconstructor.coarse(request))
        warnings = [wire.caution_of(w) for w in answer.head.warnings]
        output = await self._keep(self._photos, answer.head)
        await self._record("coarse", output, progress=_SHAPED, warnings=warnings)
        return answer.head

    async def _complete(self, views: Sequence[pb.View], coarse: pb.Head, options: ReconstructOptions) -> pb.Head:
        """Complete the head, and meanwhile show what there is of it: the preview is announced first."""
        await self._advance(state=HeadState.RECONSTRUCTING, progress=_SHAPED)
        request = rp.CompleteRequest(
            views=views, coarse=coarse, options=wire.options_message(options), scope=self._heads
        )
        completing = asyncio.ensure_future(
            self._call("complete", lambda: self._services.reconstructor.complete(request))
        )
        try:
            await self._preview(coarse)
            head = (await completing).head
        finally:
            completing.cancel()
            await asyncio.gather(completing, return_exceptions=True)
        warnings = [wire.caution_of(w) for w in head.warnings]
        await self._record("head", await self._keep(self._heads, head), progress=_COMPLETE, warnings=warnings)
        return head

    async def _preview(self, coarse: pb.Head) -> None:
        if "preview" in self._steps:
            return
        request = mp.PreviewRequest(head=coarse, scope=self._heads)
        answer = await self._call("preview", lambda: self._services.meshproc.preview(request))
        product = await self._stored(answer.product)
        await self._record("preview", {}, products=[product])

    async def _make(self, head: pb.Head, views: Sequence[pb.View], options: ReconstructOptions) -> _Files:
        """Make the files; each is announced as it is ready."""
        recorded = self._steps.get("files")
        if recorded is not None:
            return _Files(
                tuple(ProductRecord(**p) for p in recorded["products"]),
                tuple(Caution(**c) for c in recorded["cautions"]),
            )
        reconstructing = self._claim.job.kind is JobKind.RECONSTRUCT
        if reconstructing:
            await self._advance(state=HeadState.MESHING, progress=_COMPLETE)
        request = mp.ExportRequest(
            head=head,
            views=views,
            options=wire.options_message(options),
            formats=options.formats,
            scope=self._heads,
        )
        files = await self._call("export", lambda: self._export(request, reconstructing))
        output = {"products": [vars(p) for p in files.products], "cautions": [vars(c) for c in files.cautions]}
        await self._record("files", output, warnings=files.cautions)
        return files

    async def _export(self, request: mp.ExportRequest, reconstructing: bool) -> _Files:
        products: list[ProductRecord] = []
        cautions: list[Caution] = []
        # The Protocol has any iterator; those that there are can be closed, which is what stops the work.
        events = cast("Any", self._services.meshproc.export(request))
        async with aclosing(events):
            async for event in events:
                kind = event.WhichOneof("event")
                if kind == "progress":
                    done = _COMPLETE + (_FILED - _COMPLETE) * wire.progress_of(event.progress)[1]
                    await self._advance(progress=round(done, 4) if reconstructing else None)
                elif kind == "warning":
                    cautions.append(wire.caution_of(event.warning))
                elif kind == "product" and (reconstructing or event.product.name not in PICTURES):
                    product = await self._stored(event.product)
                    products.append(product)
                    await self._advance(products=[product])
        return _Files(tuple(products), tuple(cautions))

    async def _report(
        self,
        head: Head,
        seen: Sequence[_Seen],
        options: ReconstructOptions,
        face: Any,
        products: Sequence[ProductRecord],
        cautions: Sequence[Caution],
    ) -> None:
        """Write down what was done."""
        sittings = [_Sitting(s.facts, wire.face_of(s.view.face)) for s in seen]
        choices = [s.choice for s in seen]

        def write() -> bytes:
            return to_json(build_report(head, sittings, choices, options, face, products, cautions)).encode()

        await self._finish_report(await asyncio.to_thread(write))

    async def _amend(self, files: _Files) -> None:
        """Let the report list an export's files, so that whoever has a report has all that it names."""
        if "report" in self._steps:
            return
        old = next((p for p in self._claim.head.products if p.name == REPORT_NAME), None)
        if old is None:
            raise ObjectMissing("expected the report of the head, found none")
        report = json.loads(await self._insist(lambda: asyncio.to_thread(self._read, old.key)))
        listed = {entry["name"]: entry for entry in report["products"]}
        report["products"] = list((listed | {p.name: file_json(p) for p in files.products}).values())
        said = [*report["cautions"], *(vars(c) for c in files.cautions)]
        report["cautions"] = [c for number, c in enumerate(said) if c not in said[:number]]
        await self._finish_report(to_json(report).encode())

    async def _finish_report(self, text: bytes) -> None:
        info = await self._put(self._heads, text, _JSON_TYPE)
        product = ProductRecord(REPORT_NAME, info.key, info.size, info.sha256, _JSON_TYPE)
        await self._record("report", {}, products=[product])

    async def _facts(self, photo: pb.Blob) -> _PhotoFacts:
        """What a normalised photo's file says of it, of whose pixels nothing is read."""
        start = await self._insist(lambda: asyncio.to_thread(self._start_of, photo))
        header = read_header(start, PhotoHeader, PHOTO_FORMAT)
        height, width, _ = _shape_of(start)
        return _PhotoFacts(header.name, header.sha256, width, height, header.focal_px)

    def _start_of(self, blob: pb.Blob) -> bytes:
        """The header of a safetensors file: 8 bytes little-endian length, then as many of JSON."""
        if blob.WhichOneof("payload") == "inline":
            return blob.inline
        store, key = self._tools.store, blob.reference.key
        with store.open(key, 0, _LENGTH_BYTES) as stream:
            length = int.from_bytes(stream.read(), "little")
        if not 0 < length <= min(_MOST_HEADER_BYTES, blob.reference.size - _LENGTH_BYTES):
            raise ObjectCorrupt(f"expected the file of a photo, found one with a header of {length} bytes", key=key)
        with store.open(key, 0, _LENGTH_BYTES + length) as stream:
            return stream.read()

    async def _stored(self, product: pb.Product) -> ProductRecord:
        """A file that is in the store, wherever its bytes came from."""
        blob = product.data
        if blob.WhichOneof("payload") == "inline":
            info = await self._put(self._heads, blob.inline, blob.media_type, blob.sha256)
            return ProductRecord(product.name, info.key, info.size, info.sha256, blob.media_type)
        key = blob.reference.key
        if split_key(key) != (self._heads, blob.sha256):
            raise MessageInvalid(f"expected the file {product.name[:100]} in the scope of its head, found it elsewhere")
        return ProductRecord(product.name, key, blob.reference.size, blob.sha256, blob.media_type)

    async def _keep(self, scope: str, message: Message) -> Json:
        """Put what a step has brought into the store; gives what the jobs are to record."""
        info = await self._put(scope, message.SerializeToString(deterministic=True), _STEP_TYPE)
        return {"key": info.key}

    async def _kept(self, output: Json | None, kind: type[M]) -> M | None:
        """What an earlier try has brought; None when it has not, or when it is gone or damaged."""
        if output is None:
            return None
        try:
            data = await self._insist(lambda: asyncio.to_thread(self._read, output["key"]))
            return kind.FromString(data)
        except (ObjectMissing, ObjectCorrupt, DecodeError):
            return None

    async def _put(self, scope: str, data: bytes, media_type: str, sha256: str | None = None) -> Any:
        store = self._tools.store
        return await self._insist(lambda: asyncio.to_thread(store.put, scope, data, media_type, expected_sha256=sha256))

    def _read(self, key: str) -> bytes:
        with self._tools.store.open(key) as stream:
            return stream.read()

    async def _record(self, name: str, output: Json, **news: Any) -> Json:
        counts = await self._advance(step=Step(name, output), **news)
        return output if counts is None else counts

    async def _advance(self, **news: Any) -> Json | None:
        return await self._insist(lambda: self._tools.jobs.advance(self._claim.lease, **news))

    async def _call(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        """Call a service, within the time that a call may take, and again while it is away."""
        seconds = self._tools.settings.call_s

        async def once() -> T:
            try:
                async with asyncio.timeout(seconds):
                    with within(seconds):
                        return await call()
            except TimeoutError:
                raise DeadlineExceeded(f"expected {name} to take at most {seconds:g} s, found it took longer") from None

        with telemetry.span(f"step/{name}"), self._tools.metrics.step(name):
            return await self._insist(once)

    async def _insist(self, what: Callable[[], Awaitable[T]]) -> T:
        return await insist(what, self._tools.settings.patience_s)


def _shape_of(start: bytes) -> tuple[int, int, int]:
    """Rows, columns and channels of a photo, from the header of its file, which has been checked."""
    length = int.from_bytes(start[:_LENGTH_BYTES], "little")
    try:
        rows, columns, channels = json.loads(start[_LENGTH_BYTES : _LENGTH_BYTES + length])["pixels"]["shape"]
        return int(rows), int(columns), int(channels)
    except (ValueError, LookupError, TypeError) as error:
        raise MessageInvalid("expected the file of a photo with its size, found one without") from error
