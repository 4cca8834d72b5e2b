"""The Python interface: the same power as the command line, on files, bytes and arrays."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from maquette import pipeline
from maquette.errors import InputError
from maquette.events import Listener, ignore
from maquette.pipeline import FaceChoice, PhotoSource
from maquette.result import Result
from maquette.rooms import ReconstructOptions
from maquette.settings import Settings
from maquette.types import Face, Photo


def reconstruct(
    photos: PhotoSource | Sequence[PhotoSource],
    *,
    face: FaceChoice = 1,
    options: ReconstructOptions | None = None,
    settings: Settings | None = None,
    progress: Listener = ignore,
) -> Result:
    """Turn one or several photos of one person into a 3D head.

    Args:
        photos: Paths, bytes of picture files, or photos already read. The first is the main one: the head is posed with
            its expression.
        face: Which face to take in each photo: a number, 1 for the most prominent, or ``largest``.
        options: What to make; see ``ReconstructOptions``.
        settings: Limits and folders; read from the environment when None.
        progress: Called with each ``Event``: stages, the shape before its texture, every file.

    Returns:
        The head with its files in memory; ``save(folder)`` writes them.

    Raises:
        InputError: The photos or options cannot be used; the subclass and the message say why.
        SetupError: This installation lacks something.
    """
    settings = settings or Settings()
    options = options or ReconstructOptions()
    pipeline.check_options(options)
    return pipeline.reconstruct(
        _several(photos),
        rooms=pipeline.local_rooms(settings, options.engine),
        settings=settings,
        options=options,
        face=face,
        listener=progress,
    )


def reconstruct_each(
    photo: PhotoSource,
    *,
    options: ReconstructOptions | None = None,
    settings: Settings | None = None,
    progress: Listener = ignore,
) -> Iterator[Result | InputError]:
    """Turn every face of one photo into a head of its own.

    Args:
        photo: Path, bytes or a photo already read.
        options: What to make of each.
        settings: Limits and folders; read from the environment when None.
        progress: Called with the events of one reconstruction after the other.

    Yields:
        For each face, the most prominent first, its result, or the error that says why there is none.

    Raises:
        InputError: The photo cannot be used, or has no face.
        SetupError: This installation lacks something.
    """
    settings = settings or Settings()
    (read,) = pipeline.read_photos([photo], settings)
    for number in range(1, len(detect(read, settings=settings)) + 1):
        try:
            yield reconstruct(read, face=number, options=options, settings=settings, progress=progress)
        except InputError as error:
            yield error


def detect(photo: PhotoSource, *, settings: Settings | None = None) -> tuple[Face, ...]:
    """Find the faces in a photo, the most prominent (by size and nearness to the middle) first.

    Args:
        photo: Path, bytes or a photo already read.
        settings: Limits and folders; read from the environment when None.

    Raises:
        NoFaceFound: There is none.
        PhotoError: The file is no usable picture.
        NetworkFilesMissing: ``maquette setup`` has not been run.
    """
    settings = settings or Settings()
    (read,) = pipeline.read_photos([photo], settings)
    return pipeline.detect(pipeline.local_detector(settings), read)


def _several(photos: PhotoSource | Sequence[PhotoSource]) -> Sequence[PhotoSource]:
    match photos:
        case Photo() | Path() | str() | bytes():
            return [photos]
        case _:
            return photos
