"""One file through the pipeline, in a process of its own that may die of it.

The process is told paths on one pipe and answers on another, a line of JSON each; its standard output and standard
error are free to show what comes out of libraries that should say nothing.
"""

import contextlib
import gc
import hashlib
import json
import os
import shutil
import sys
import time
import traceback
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maquette import pipeline
from maquette.benchmarks.process import forget_peak, tidy, usage
from maquette.cli.console import error_json
from maquette.demo import sample_photo
from maquette.errors import FaceUnusable, InputError, NoFaceFound, PhotoError
from maquette.events import Event, HeadReady
from maquette.report import to_json
from maquette.result import Result
from maquette.rooms import ReconstructOptions
from maquette.settings import Settings
from maquette.types import Face, Head, Photo

EXPECTED = (PhotoError, NoFaceFound, FaceUnusable)
"""What may be said of a photo; any other error would blame it for something of the program's own."""

FILES_EVERY = 10
"""Of every so many heads one gets its files."""

_FARTHEST_MM = 500.0
_LONGEST_MESSAGE = 400


@dataclass(frozen=True)
class Attempt:
    """What became of one file.

    Attributes:
        outcome: ``result``, or the code of the error.
        step: How far it came: ``read``, ``detect`` or ``reconstruct``.
        message: The error's message.
        wrong: What should not have happened; empty when all is well.
        seconds: Wall time.
        cpu_seconds: Processor time.
        peak_mb: Most memory in use meanwhile.
        resident_mb: Memory in use afterwards, garbage taken away.
        descriptors: Files open afterwards.
        threads: Threads afterwards.
    """

    outcome: str
    step: str
    message: str
    wrong: tuple[str, ...]
    seconds: float
    cpu_seconds: float
    peak_mb: float
    resident_mb: float | None
    descriptors: int | None
    threads: int | None


class _Enough(Exception):
    """There is a head, and no files are to be made of it."""


class Bench:
    """The rooms, and which photos have been through all of them."""

    def __init__(self, heads: int | None) -> None:
        """Open the rooms and take the sample photo through them, so that all that is made once is there.

        Args:
            heads: How many of the faces that are found get a head; all when None.

        Raises:
            RuntimeError: The sample photo does not come through.
        """
        self._settings = Settings()
        self._detector = pipeline.local_detector(self._settings)
        self._left = heads
        self._seen: set[tuple[bytes, float | None]] = set()
        first = self.attempt(sample_photo())
        if first.wrong or first.outcome != "result":
            raise RuntimeError(f"expected the sample photo to come through, found {first.message} {first.wrong}")
        self._left = heads

    def attempt(self, path: Path) -> Attempt:
        """Take one file through the pipeline."""
        forget_peak()
        before, start = usage(), time.perf_counter()
        outcome, message, wrong, steps = "result", "", [], ["read"]
        try:
            wrong += self._run(path, steps)
        except EXPECTED as error:
            outcome, message = error.code, str(error)
            wrong += _message_faults(error, path)
        except Exception as error:
            outcome, message = type(error).__name__, f"{error}"
            wrong.append("".join(traceback.format_exception(error)[-3:]).strip())
        seconds = time.perf_counter() - start
        peak = usage().peak_mb
        tidy()
        after = usage()
        cpu = after.cpu_seconds - before.cpu_seconds
        return Attempt(
            outcome, steps[-1], message, tuple(wrong), seconds, cpu, peak,
            after.resident_mb, after.descriptors, after.threads,
        )  # fmt: skip

    def _run(self, path: Path, steps: list[str]) -> list[str]:
        (photo,) = pipeline.read_photos([path], self._settings)
        faults = _photo_faults(photo, self._settings)
        steps.append("detect")
        faces = pipeline.detect(self._detector, photo)
        faults += _face_faults(faces)
        # Many files differ in what is thrown away on reading; their heads would be the same again.
        key = hashlib.sha256(np.ascontiguousarray(photo.pixels).data).digest(), photo.focal_px
        if self._left == 0 or key in self._seen:
            return faults
        steps.append("reconstruct")
        heads: list[Head] = []
        # The files are made of the head alone, so that a part of the heads will do for them.
        with_files = len(self._seen) % FILES_EVERY == 0
        self._seen.add(key)
        if self._left is not None:
            self._left -= 1

        def listen(event: Event) -> None:
            if isinstance(event, HeadReady) and event.complete:
                heads.append(event.head)
                if not with_files:
                    raise _Enough

        rooms = pipeline.local_rooms(self._settings)
        with contextlib.suppress(_Enough):
            result = pipeline.reconstruct(
                [photo], rooms=rooms, settings=self._settings, options=ReconstructOptions(), listener=listen
            )
            faults += _file_faults(result)
        return faults + _head_faults(heads[0])


def serve(requests: int, answers: int, heads: int | None) -> None:
    """Answer until there are no more requests.

    Args:
        requests: Descriptor to read paths from, one JSON string a line.
        answers: Descriptor to write attempts to, one JSON object a line.
        heads: As ``Bench`` takes it.
    """
    bench = Bench(heads)
    gc.collect()
    gc.freeze()
    for category in (UserWarning, RuntimeWarning, ResourceWarning):
        # Each time, not once a place, so that every file answers for its own.
        warnings.simplefilter("always", category)
    with os.fdopen(requests, encoding="ascii") as asked, os.fdopen(answers, "w", encoding="ascii") as told:
        print(json.dumps("ready"), file=told, flush=True)
        for line in asked:
            attempt = bench.attempt(Path(json.loads(line)))
            sys.stdout.flush()
            sys.stderr.flush()
            print(json.dumps(vars(attempt)), file=told, flush=True)


def _photo_faults(photo: Photo, settings: Settings) -> list[str]:
    pixels, focal = photo.pixels, photo.focal_px
    out = []
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        out.append(f"expected (H, W, 3) uint8 pixels, found {pixels.shape} {pixels.dtype}")
    if photo.width * photo.height > settings.max_pixels:
        out.append(f"expected at most {settings.max_pixels} pixels, found {photo.width} × {photo.height}")
    if focal is not None and not (np.isfinite(focal) and focal > 0):
        out.append(f"expected a focal length above 0, found {focal}")
    return out


def _face_faults(faces: Sequence[Face]) -> list[str]:
    numbers = ("box", "landmarks", "plain_landmarks", "canonical", "yaw", "pitch", "roll", "score", "size")
    out = [f"{n} of a face is not finite" for f in faces for n in numbers if not np.isfinite(getattr(f, n)).all()]
    out += [
        f"measure {n} of a face is not finite"
        for f in faces
        for n, v in f.quality.measures.items()
        if not np.isfinite(v)
    ]
    return out


def _head_faults(head: Head) -> list[str]:
    numbers = {"neutral": head.neutral, "posed": head.posed, "identity": head.fit.identity}
    numbers |= {f"vertices of {hair.name}": hair.vertices for hair in head.hair}
    if head.textures is not None and head.textures.displacement is not None:
        numbers["displacement"] = head.textures.displacement
    out = [f"{name} of the head is not finite" for name, values in numbers.items() if not np.isfinite(values).all()]
    farthest = float(np.abs(head.posed).max())
    if not farthest < _FARTHEST_MM:
        out.append(f"expected a head within {_FARTHEST_MM:g} mm, found {farthest:g}")
    return out


def _file_faults(result: Result) -> list[str]:
    out = []
    folder = Path("result")
    paths = result.save(folder)
    expected = {p.name for p in result.products} | {"report.json", "timings.json"}
    if {p.name for p in folder.iterdir()} != expected or {p.name for p in paths} != expected:
        out.append(f"expected the files {sorted(expected)}, found {sorted(p.name for p in folder.iterdir())}")
    out += [f"{p.name} is empty" for p in paths if p.stat().st_size == 0]
    shutil.rmtree(folder)
    return out


def _message_faults(error: InputError, path: Path) -> list[str]:
    shown = error_json(error)
    out = []
    # Without the names, which may be as long as they like.
    said = str(error).replace(str(path), "").replace(path.name, "")
    if not said or len(said) > _LONGEST_MESSAGE:
        out.append(f"expected a message of 1 to {_LONGEST_MESSAGE} characters, found {len(said)}")
    if any(unicodedata.category(c) == "Cc" for c in shown["message"]):
        out.append(f"control characters in the message {shown['message']!r}")
    to_json(shown).encode()
    return out
