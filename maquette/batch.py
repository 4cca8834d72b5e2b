"""A folder of photos, each to a head of its own; what was done before is not done again."""

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

from maquette import pipeline
from maquette.errors import MaquetteError, OptionInvalid, OutputError, PhotoUnreadable, SetupError
from maquette.events import Listener
from maquette.files import write_atomically
from maquette.pipeline import FaceChoice, Rooms
from maquette.provenance import options_json, request_digest
from maquette.report import to_json
from maquette.result import is_complete, read_report
from maquette.rooms import ReconstructOptions
from maquette.settings import Settings

SUFFIXES = (
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".jfif",
    ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp",
)  # fmt: skip
SUMMARY_JSON = "summary.json"
SUMMARY_CSV = "summary.csv"


@dataclass(frozen=True)
class Outcome:
    """What became of one photo.

    Attributes:
        photo: File name.
        status: ``done``, ``skipped`` (its result was there already) or ``failed``.
        quality: Verdict of the face; empty when failed.
        cautions: Codes, separated by blanks.
        error: Code of the error; empty unless failed.
        message: Message of the error; empty unless failed.
    """

    photo: str
    status: Literal["done", "skipped", "failed"]
    quality: str = ""
    cautions: str = ""
    error: str = ""
    message: str = ""


class Show(Protocol):
    """How the stages of one photo are shown: a listener to use while the context is open."""

    def __call__(self, title: str, /) -> AbstractContextManager[Listener]:
        """Begin to show a photo; the title names it."""
        ...


def find_photos(folder: Path) -> list[Path]:
    """Pictures in a folder (not in its sub-folders), told by their suffix, in the order of their names.

    Raises:
        OptionInvalid: There is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise OptionInvalid(f"expected a folder of photos, found none at {folder}")
    photos = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    if not photos:
        raise OptionInvalid(f"expected photos ({', '.join(SUFFIXES)}) in {folder}, found none")
    return photos


def reconstruct_folder(
    photos: Sequence[Path],
    output: Path,
    *,
    rooms: Rooms,
    settings: Settings,
    options: ReconstructOptions,
    face: FaceChoice,
    show: Show,
) -> Iterator[Outcome]:
    """Reconstruct photos one after the other, each into ``output / its file name``.

    A photo whose folder holds the whole result of the same bytes, options and release is skipped. One that fails is
    recorded and the next one taken.

    Args:
        photos: As ``find_photos`` gives them.
        output: Where the folders are made.
        rooms: Where the work is done.
        settings: Limits for reading photos.
        options: What to make of each.
        face: Which face to take.
        show: Shows the stages.

    Yields:
        One outcome a photo, as soon as it is known.

    Raises:
        OutputError: Results cannot be written, so going on is in vain.
        SetupError: The same for an installation that lacks something.
    """
    asked = options_json(options, face)
    for count, path in enumerate(photos, 1):
        folder = output / path.name
        try:
            if is_complete(folder, request_digest([_digest(path)], asked)):
                yield _outcome(path, folder, "skipped")
                continue
            with show(f"{path.name} ({count} of {len(photos)})") as listener:
                result = pipeline.reconstruct(
                    [path], rooms=rooms, settings=settings, options=options, face=face, listener=listener
                )
            result.save(folder)
        except (OutputError, SetupError, OptionInvalid):
            raise
        except MaquetteError as error:
            yield Outcome(path.name, "failed", error=error.code, message=" ".join(str(error).split()))
        except Exception as error:
            # An internal error in one photo must not cost the others theirs.
            text = " ".join(f"{type(error).__name__}: {error}".split())
            yield Outcome(path.name, "failed", error=MaquetteError.code, message=text)
        else:
            yield _outcome(path, folder, "done")


def write_summary(output: Path, outcomes: Sequence[Outcome]) -> None:
    """Write ``summary.json`` and ``summary.csv``.

    Raises:
        OutputError: They cannot be written.
    """
    write_atomically(output / SUMMARY_JSON, to_json(summary_json(outcomes)).encode())
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Outcome.__dataclass_fields__))
    writer.writeheader()
    writer.writerows(asdict(o) for o in outcomes)
    write_atomically(output / SUMMARY_CSV, text.getvalue().encode("utf-8", "backslashreplace"))


def summary_json(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Counts by status, and every outcome."""
    counts = {s: sum(o.status == s for o in outcomes) for s in ("done", "skipped", "failed")}
    return {**counts, "photos": [asdict(o) for o in outcomes]}


def _outcome(path: Path, folder: Path, status: Literal["done", "skipped"]) -> Outcome:
    report = read_report(folder)
    assert report is not None
    quality = report["photos"][0]["face"]["quality"]["verdict"]
    return Outcome(path.name, status, quality, " ".join(c["code"] for c in report["cautions"]))


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PhotoUnreadable(f"cannot read {path.name}: {error.strerror or error}") from error
