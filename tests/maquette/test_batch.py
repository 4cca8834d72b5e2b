import csv
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from maquette.batch import Outcome, find_photos, reconstruct_folder, summary_json, write_summary
from maquette.errors import OptionInvalid
from maquette.events import Listener, ignore
from maquette.pipeline import Rooms
from maquette.result import Result
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


def test_failures_are_recorded_and_what_is_done_is_not_done_again(
    photos: Path, tmp_path: Path, rooms: Rooms, settings: Settings, quick: ReconstructOptions
) -> None:
    out = tmp_path / "out"
    outcomes = run(photos, out, rooms, settings, quick)
    assert [(o.photo, o.status, o.error) for o in outcomes] == [
        ("a.PNG", "failed", "no_face_found"),
        ("b.png", "done", ""),
        ("c.jpg", "failed", "photo_unreadable"),
    ]
    assert outcomes[1].quality
    assert sorted(p.name for p in out.iterdir()) == ["b.png"]
    first = (out / "b.png" / "report.json").stat().st_mtime_ns
    again = run(photos, out, rooms, settings, quick)
    assert [o.status for o in again] == ["failed", "skipped", "failed"]
    assert again[1].quality == outcomes[1].quality
    assert (out / "b.png" / "report.json").stat().st_mtime_ns == first


def test_a_damaged_result_is_made_again(
    photos: Path, tmp_path: Path, result: Result, rooms: Rooms, settings: Settings
) -> None:
    out = tmp_path / "out"
    (photos / "c.jpg").unlink()
    (photos / "a.PNG").unlink()
    result.save(out / "b.png")
    options = ReconstructOptions()
    assert [o.status for o in run(photos, out, rooms, settings, options)] == ["skipped"]
    (out / "b.png" / "preview.png").write_bytes(b"damaged")
    assert [o.status for o in run(photos, out, rooms, settings, options)] == ["done"]
    assert (out / "b.png" / "preview.png").read_bytes() != b"damaged"


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
