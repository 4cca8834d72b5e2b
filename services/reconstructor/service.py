"""The reconstructor service in this process: photos and faces to a head, by an engine here or behind Triton."""

from collections.abc import Sequence

from maquette.errors import DependencyMissing, OptionInvalid, ServiceError, SetupError
from maquette.options import check_options
from maquette.pool import RoomPool
from maquette.rooms import PhotoView, ReconstructOptions, ReconstructorRoom
from maquette.rpc.work import checkpoint
from maquette.sanity import check_head, check_view
from maquette.store import ObjectStore, check_scope
from maquette.v1 import common_pb2
from maquette.v1.reconstructor_pb2 import (
    CoarseRequest,
    CoarseResponse,
    CompleteRequest,
    CompleteResponse,
    ListEnginesRequest,
    ListEnginesResponse,
)
from maquette.wire import head_message, head_of, options_of, views_of
from services.reconstructor.engines.registry import ENGINES, Engine, find_engine
from services.reconstructor.settings import ReconstructorSettings


class _Room:
    """The engines of one thread, each made when it is first asked for."""

    def __init__(self, settings: ReconstructorSettings) -> None:
        self._settings = settings
        self._made: dict[str, ReconstructorRoom] = {}

    def engine(self, name: str) -> ReconstructorRoom:
        """An engine by its name.

        Raises:
            OptionInvalid: There is none of that name.
            SetupError: It cannot be made here.
        """
        if name not in self._made:
            self._made[name] = self._make(find_engine(name))
        return self._made[name]

    def why_not(self, engine: Engine) -> str:
        """One sentence on why an engine cannot be used here and now; empty when it can."""
        try:
            room = self.engine(engine.name)
            check = getattr(room, "check", None)
            if check is not None:
                check()
        except (SetupError, ServiceError) as error:
            return str(error)
        return ""

    def close(self) -> None:
        """Let go of what engines hold."""
        for room in self._made.values():
            close = getattr(room, "close", None)
            if close is not None:
                close()

    def _make(self, engine: Engine) -> ReconstructorRoom:
        if self._settings.triton_url is None:
            return engine.make()
        try:
            from services.reconstructor.triton import TritonEngine, TritonSettings
        except ModuleNotFoundError as error:
            if error.name is None or not error.name.startswith(("grpc", "tritonclient")):
                raise
            raise DependencyMissing(
                f"calling Triton needs the package {error.name}: pip install 'maquette[reconstructor]'"
            ) from error
        return TritonEngine(TritonSettings(target=self._settings.triton_url), engine.name)


class LocalReconstructorService:
    """A ``ReconstructorService`` in this process."""

    def __init__(self, store: ObjectStore, settings: ReconstructorSettings | None = None, *, threads: int = 1) -> None:
        """Prepare the service; no engine is loaded yet.

        Args:
            store: Where large payloads lie.
            settings: Where engines run; read from the environment when None.
            threads: Calls that are worked on at once.
        """
        self._store = store
        own = settings or ReconstructorSettings()
        self._pool = RoomPool(lambda: _Room(own), threads, "reconstructor")

    async def warm_up(self) -> None:
        """Load the engines, so that the first call need not wait for that; of Triton nothing is asked yet.

        Raises:
            SetupError: None of them can be made here.
        """
        await self._pool.run(self._load)

    def close(self) -> None:
        """Let work end; blocks."""
        self._pool.close()

    async def coarse(self, request: CoarseRequest) -> CoarseResponse:
        """See ``maquette.services``.

        Raises:
            FaceUnusable: A face cannot be reconstructed well enough.
            PeopleMixed: The photos do not show one person.
            OptionInvalid: An option is out of its range, or there are too few or too many photos.
            MessageInvalid: A view is none.
            SetupError: The engine cannot be used here.
            StoreError: The store failed.
        """
        return await self._pool.run(self._coarse, request)

    async def complete(self, request: CompleteRequest) -> CompleteResponse:
        """See ``maquette.services``.

        Raises:
            OptionInvalid: An option is out of its range, or the views are not those of the head.
            MessageInvalid: The head or a view is none.
            SetupError: The engine cannot be used here.
            StoreError: The store failed.
        """
        return await self._pool.run(self._complete, request)

    async def list_engines(self, request: ListEnginesRequest) -> ListEnginesResponse:
        """See ``maquette.services``."""
        return await self._pool.run(self._list_engines)

    def _load(self, room: _Room) -> None:
        failures = []
        for name in ENGINES:
            try:
                room.engine(name)
            except SetupError as error:
                failures.append(error)
        if len(failures) == len(ENGINES):
            raise failures[0]

    def _coarse(self, room: _Room, request: CoarseRequest) -> CoarseResponse:
        options, engine = self._asked(room, request)
        views = self._views(request.views)
        head = engine.coarse(views, options)
        checkpoint()
        return CoarseResponse(head=head_message(head, self._store, request.scope))

    def _complete(self, room: _Room, request: CompleteRequest) -> CompleteResponse:
        options, engine = self._asked(room, request)
        views, coarse = self._views(request.views), head_of(request.coarse, self._store)
        check_head(coarse)
        checkpoint()
        head = engine.complete(views, coarse, options)
        checkpoint()
        return CompleteResponse(head=head_message(head, self._store, request.scope))

    def _list_engines(self, room: _Room) -> ListEnginesResponse:
        return ListEnginesResponse(engines=[_info(engine, room.why_not(engine)) for engine in ENGINES.values()])

    def _asked(
        self, room: _Room, request: CoarseRequest | CompleteRequest
    ) -> tuple[ReconstructOptions, ReconstructorRoom]:
        """What a request asks for, checked before anything is fetched."""
        if request.scope:
            check_scope(request.scope)
        options, views = options_of(request.options), len(request.views)
        check_options(options)
        most = find_engine(options.engine).max_views
        if not 1 <= views <= most:
            raise OptionInvalid(f"expected 1 to {most} photos of one person, found {views}", field="views")
        return options, room.engine(options.engine)

    def _views(self, messages: Sequence[common_pb2.View]) -> tuple[PhotoView, ...]:
        views = views_of(messages, self._store)
        for view in views:
            check_view(view)
        checkpoint()
        return views


def _info(engine: Engine, why_not: str) -> common_pb2.EngineInfo:
    topology = engine.topology()
    return common_pb2.EngineInfo(
        name=engine.name,
        version=engine.version,
        licence=engine.licence(),
        commercial_use=engine.commercial_use,
        available=not why_not,
        unavailable_reason=why_not,
        topology=topology.name,
        topology_version=topology.version,
        max_views=engine.max_views,
    )
