import csv
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from maquette.batch import Outcome, find_photos, reconstruct_folder, summary_json, write_summary
from maquette.errors import OptionInvalid, OutputError
from maquette.events import Listener, ignore
from maquette.pipeline import Rooms
from maquette.rooms import ReconstructOptions
from maquette.settings import Settings


@contextmanager
def unseen(_title: str) -> Iterator[Listener]:
    yield ignore


@pytest.fixture
def photos(tmp_path: Path, sample: Path, blank: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(sample, folder / "b.png")
    shutil.copy(blank, folder / "a.PNG")
    (folder / "c.jpg").write_bytes(b"no picture at all")
    (folder / "notes.txt").write_text("not looked at")
    return folder


def run(photos: Path, output: Path, rooms: Rooms, settings: Settings, options: ReconstructOptions) -> list[Outcome]:
    return list(
        reconstruct_folder(
            find_photos(photos), output, rooms=rooms, settings=settings, options=options, face=1, show=unseen
        )
    )


def test_failures_are_recorded_and_the_rest_goes_on(
    photos: Path, tmp_path: Path, rooms: Rooms, settings: Settings, quick: ReconstructOptions
) -> None:
    outcomes = run(photos, tmp_path / "out", rooms, settings, quick)
    assert [(o.photo, o.status, o.error) for o in outcomes] == [
        ("a.PNG", "failed", "no_face_found"),
        ("b.png", "done", ""),
        ("c.jpg", "failed", "photo_unreadable"),
    ]
    assert outcomes[1].quality
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["b.png"]


def test_what_is_done_is_skipped_until_the_options_or_the_files_change(
    photos: Path, tmp_path: Path, rooms: Rooms, settings: Settings, quick: ReconstructOptions
) -> None:
    out = tmp_path / "out"

    def status(options: ReconstructOptions) -> str:
        return next(o.status for o in run(photos, out, rooms, settings, options) if o.photo == "b.png")

    assert status(quick) == "done"
    first = (out / "b.png" / "report.json").stat().st_mtime_ns
    assert status(quick) == "skipped"
    assert (out / "b.png" / "report.json").stat().st_mtime_ns == first
    (out / "b.png" / "preview.png").unlink()
    assert status(quick) == "done"
    assert status(ReconstructOptions(detail=False, hair="none", formats=("stl",))) == "done"
    assert not list((out / "b.png").glob("*.ply"))


def test_a_place_that_cannot_be_written_ends_the_batch(
    photos: Path, tmp_path: Path, rooms: Rooms, settings: Settings, quick: ReconstructOptions
) -> None:
    (tmp_path / "out").write_text("a file in the way")
    with pytest.raises(OutputError):
        run(photos, tmp_path / "out", rooms, settings, quick)


def test_folders_without_photos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionInvalid, match="folder"):
        find_photos(tmp_path / "nowhere")
    with pytest.raises(OptionInvalid, match="found none"):
        find_photos(tmp_path)


def test_the_summary_is_written_as_json_and_as_a_table(tmp_path: Path) -> None:
    outcomes = [
        Outcome("a, b.jpg", "done", "good", "hair_guessed"),
        Outcome("ü.jpg", "failed", error="no_face_found", message="no face, none"),
    ]
    write_summary(tmp_path, outcomes)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary == summary_json(outcomes)
    assert (summary["done"], summary["skipped"], summary["failed"]) == (1, 0, 1)
    with (tmp_path / "summary.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["photo"] for r in rows] == ["a, b.jpg", "ü.jpg"]
    assert rows[1]["message"] == "no face, none"
