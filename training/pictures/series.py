"""A series of pictures: their records, made by several processes, and their contact sheet."""

import multiprocessing
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from maquette.headmodel import load_head_model
from maquette.headmodel.hair import load_hair_library
from training.appearance import load_appearance
from training.pictures import records
from training.pictures.evidence import load_witness
from training.pictures.records import Records
from training.pictures.shot import project
from training.pictures.studio import Studio


@dataclass(frozen=True)
class Sources:
    """Where a process finds what it needs.

    Attributes:
        model: Head model file.
        appearance: Folder written by ``training.appearance``; None for flat colours.
        hair: Hair file; None for cropped and bald heads only.
        home: Folder of the landmark networks; None for the usual one.
    """

    model: Path
    appearance: Path | None
    hair: Path | None
    home: Path | None


def open_studio(sources: Sources) -> Studio:
    """A studio on one thread."""
    cv2.setNumThreads(1)
    look = None if sources.appearance is None else load_appearance(sources.appearance)
    hair = None if sources.hair is None else load_hair_library(sources.hair)
    return Studio(load_head_model(sources.model), look, hair)


def take(seed: int, first: int, count: int, sources: Sources, output: Path, show: bool) -> None:
    """Make pictures ``first`` to ``first + count`` of a seed and write their records."""
    studio, witness = open_studio(sources), load_witness(sources.home)
    model = studio.model
    rows = []
    numbers = range(first, first + count)
    for number in track(numbers, description="Pictures") if show else numbers:
        picture = studio.take(seed, number)
        camera = picture.camera
        truth = project(camera, model.landmarks(picture.subject.vertices))
        seen = witness(picture.pixels, truth)
        if seen is None:
            continue
        rows.append(
            Records(
                seen.refined[None],
                seen.plain[None],
                truth[None].astype(np.float32),
                picture.subject.identity[None],
                picture.subject.expression[None],
                camera.rotation[None].astype(np.float32),
                camera.translation[None].astype(np.float32),
                np.array([camera.focal], np.float32),
                camera.centre[None].astype(np.float32),
                np.array([seen.score], np.float32),
                np.array([[seed, number]]),
            )
        )
    records.save(output, records.join(rows), model.sha256)


def sheet(seed: int, count: int, sources: Sources, path: Path) -> None:
    """Write a contact sheet of the first pictures of a seed."""
    studio = open_studio(sources)
    tiles = [studio.take(seed, k).pixels for k in track(range(count), description="Sheet")]
    columns = max(1, round((count * 1.5) ** 0.5))
    tiles += [np.zeros_like(tiles[0])] * (-count % columns)
    rows = [np.hstack(tiles[k : k + columns]) for k in range(0, len(tiles), columns)]
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])


def make(seed: int, count: int, jobs: int, sources: Sources, output: Path) -> Records:
    """Make the records of a seed's first pictures in several processes, and write them.

    Raises:
        RuntimeError: A process failed.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    digest = load_head_model(sources.model).sha256
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        bounds = [count * k // jobs for k in range(jobs + 1)]
        parts = [Path(folder) / f"{k}.npz" for k in range(jobs)]
        workers = [
            context.Process(target=take, args=(seed, a, b - a, sources, part, a == 0))
            for a, b, part in zip(bounds, bounds[1:], parts, strict=False)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if any(worker.exitcode for worker in workers):
            raise RuntimeError(f"expected {jobs} processes to end well, got exit codes {[w.exitcode for w in workers]}")
        everything = records.join([records.load(p, digest) for p in parts])
    records.save(output, everything, digest)
    return everything
