"""The way of a photo through the rooms: faces, head, products.

Only this module knows which rooms there are; it imports them when they are first needed, so that what needs none of
them starts quickly.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from threadpoolctl import threadpool_limits

from maquette.errors import FaceNotFound, InputError, OptionInvalid
from maquette.events import HeadReady, Listener, ProductReady, Stage, StageFinished, StageStarted, ignore
from maquette.options import ENGINES as ENGINES
from maquette.options import check_engine
from maquette.options import check_options as check_options
from maquette.report import Choice, PhotoFacts, build_report
from maquette.result import Result
from maquette.rooms import (
    DetectorRoom,
    MeshprocRoom,
    PhotoView,
    Product,
    ReconstructOptions,
    ReconstructorRoom,
)
from maquette.settings import Settings
from maquette.types import Caution, Face, Photo

FaceChoice = int | Literal["largest"]
"""A face by its number, 1 for the most prominent, or the one that is largest in the picture."""

PhotoSource = Photo | Path | str | bytes
"""A photo already read, a path to a file, or a file's bytes."""


@dataclass(frozen=True)
class Rooms:
    """The three rooms, wherever they are.

    Attributes:
        detector: Photo to faces.
        reconstructor: Faces to a head.
        meshproc: Head to products.
    """

    detector: DetectorRoom
    reconstructor: ReconstructorRoom
    meshproc: MeshprocRoom


@dataclass
class _Clock:
    """Tells the listener of each stage and remembers how long it took."""

    listener: Listener
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        self.listener(StageStarted(stage))
        start = time.perf_counter()
        yield
        took = time.perf_counter() - start
        self.seconds[stage] = took
        self.listener(StageFinished(stage, took))


class _Local(threading.local):
    """Rooms of a thread: a network keeps its inputs and outputs, so that no two threads may share one."""

    def __init__(self) -> None:
        self.detectors: dict[Settings, DetectorRoom] = {}
        self.rooms: dict[tuple[Settings, str], Rooms] = {}


_local = _Local()


def local_detector(settings: Settings) -> DetectorRoom:
    """The detector in this process and thread.

    Raises:
        NetworkFilesMissing: The landmark networks are not set up.
    """
    from services.detector.detector import Detector

    if settings not in _local.detectors:
        _local.detectors[settings] = Detector(settings)
    return _local.detectors[settings]


def local_rooms(settings: Settings, engine: str = "open") -> Rooms:
    """All rooms in this process; in one thread the same ones when asked again.

    Args:
        settings: Of this installation.
        engine: One of ``ENGINES``.

    Raises:
        OptionInvalid: There is no such engine.
        SetupError: Something that a room needs is missing.
    """
    check_engine(engine)
    from services.meshproc.exports import Meshproc
    from services.reconstructor.engines.open.engine import OpenEngine

    key = (settings, engine)
    if key not in _local.rooms:
        _local.rooms[key] = Rooms(local_detector(settings), OpenEngine(), Meshproc())
    return _local.rooms[key]


def read_photos(sources: Sequence[PhotoSource], settings: Settings) -> tuple[Photo, ...]:
    """Read photos within the limits of the settings.

    Raises:
        OptionInvalid: There are none.
        PhotoError: One is no usable picture.
    """
    from services.detector.photo import load_photo

    if not sources:
        raise OptionInvalid("expected at least one photo, found none")
    return tuple(
        s if isinstance(s, Photo) else load_photo(Path(s) if isinstance(s, str) else s, settings=settings)
        for s in sources
    )


def detect(detector: DetectorRoom, photo: Photo) -> tuple[Face, ...]:
    """Faces of a photo, the most prominent first.

    Raises:
        NoFaceFound: There is none.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        return detector.detect(photo)


def choose_face(faces: Sequence[Face], face: FaceChoice, photo: PhotoFacts) -> Choice:
    """Which of a photo's faces is meant.

    Raises:
        FaceNotFound: The number is higher than there are faces.
    """
    if face == "largest":
        return Choice(max(range(len(faces)), key=lambda i: faces[i].size) + 1, len(faces))
    if not 1 <= face <= len(faces):
        raise FaceNotFound(
            f"expected a face number from 1 to {len(faces)} in {photo.name}, found {face}",
            photo=photo.name,
            faces=len(faces),
        )
    return Choice(face, len(faces))


def face_cautions(photos: Sequence[PhotoFacts], choices: Sequence[Choice]) -> tuple[Caution, ...]:
    """What to say of photos that show more than one face."""
    return tuple(
        Caution("several_faces", f"{photo.name}: there are {choice.count} faces; number {choice.number} was taken")
        for photo, choice in zip(photos, choices, strict=True)
        if choice.count > 1
    )


def reconstruct(
    sources: Sequence[PhotoSource],
    *,
    rooms: Rooms,
    settings: Settings,
    options: ReconstructOptions,
    face: FaceChoice = 1,
    listener: Listener = ignore,
) -> Result:
    """Photos of one person to a head and its files.

    The linear algebra library is held to one thread meanwhile: the sums of several threads come out in another order on
    another number of cores, and so do the last bits of the results.

    Args:
        sources: The photos; the first is the main one, whose expression and camera the head is shown with.
        rooms: Where the work is done.
        settings: Limits for reading photos.
        options: What to make.
        face: Which face to take in each photo.
        listener: Told of each stage, of the shape as soon as it is there, and of each file.

    Raises:
        MaquetteError: See ``maquette.errors``; nothing has been written then.
    """
    check_options(options)
    clock = _Clock(listener)
    start = time.perf_counter()
    with threadpool_limits(limits=1, user_api="blas"):
        with clock.stage(Stage.READ):
            photos = read_photos(sources, settings)
        with clock.stage(Stage.DETECT):
            views, choices = _views(rooms.detector, photos, face)
        with clock.stage(Stage.FIT):
            coarse = rooms.reconstructor.coarse(views, options)
        listener(HeadReady(coarse, complete=False))
        with clock.stage(Stage.TEXTURE):
            head = rooms.reconstructor.complete(views, coarse, options)
        listener(HeadReady(head, complete=True))
        products: list[Product] = []
        cautions = list(face_cautions(photos, choices))
        with clock.stage(Stage.EXPORT):
            for made in rooms.meshproc.products(head, views, options):
                if isinstance(made, Caution):
                    cautions.append(made)
                    continue
                products.append(made)
                listener(ProductReady(made))
    report = build_report(head, views, choices, options, face, products, cautions)
    seconds = {str(stage): round(s, 4) for stage, s in clock.seconds.items()}
    timings = {"seconds": seconds, "total_seconds": round(time.perf_counter() - start, 4)}
    return Result(head, views, tuple(products), report, timings)


def _views(
    detector: DetectorRoom, photos: Sequence[Photo], face: FaceChoice
) -> tuple[tuple[PhotoView, ...], tuple[Choice, ...]]:
    views, choices = [], []
    for photo in photos:
        try:
            faces = detector.detect(photo)
        except InputError as error:
            error.detail.setdefault("photo", photo.name)
            raise
        choice = choose_face(faces, face, photo)
        chosen = faces[choice.number - 1]
        views.append(PhotoView(photo, chosen, detector.mask(photo, chosen)))
        choices.append(choice)
    return tuple(views), tuple(choices)
