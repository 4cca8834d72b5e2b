import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from maquette.cli.main import run
from maquette.report import load_schema
from maquette.settings import Settings

QUICK = ["--formats", "ply", "--no-detail", "--hair", "none"]


def alone(capsys: pytest.CaptureFixture[str]) -> tuple[Any, str]:
    """The one JSON value that standard output must be, and what standard error says."""
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


def test_reconstruct_writes_files_and_prints_one_json_object(
    sample: Path, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["reconstruct", str(sample), "-o", str(tmp_path / "head"), "--json", *QUICK]) == 0
    printed, err = alone(capsys)
    assert Draft202012Validator(load_schema()).is_valid(printed["report"])
    assert json.loads((tmp_path / "head" / "report.json").read_text()) == printed["report"]
    assert printed["folder"] == str(tmp_path / "head")
    assert set(printed["timings"]["seconds"]) == {"read", "detect", "fit", "texture", "export"}
    assert "Shaping the head" in err
    listed = {p["name"] for p in printed["report"]["products"]} | {"report.json", "timings.json"}
    assert {p.name for p in (tmp_path / "head").iterdir()} == listed


def test_reconstruct_tells_a_person_which_files_it_wrote_and_heeds_its_options(
    sample: Path, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--texture", "photo", "--expression", "neutral", "--face", "largest", "--size-mm", "120"]
    assert run(["reconstruct", str(sample), "-o", str(tmp_path / "head"), *QUICK, *given]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split("  (")[0] for line in lines) == sorted(str(p) for p in (tmp_path / "head").iterdir())
    assert json.loads((tmp_path / "head" / "report.json").read_text())["options"] == {
        "engine": "open",
        "texture": "photo",
        "texture_size": 1024,
        "detail": False,
        "hair": "none",
        "expression": "neutral",
        "formats": ["ply"],
        "size_mm": 120,
        "face": "largest",
    }


def test_every_face_gets_a_folder(
    group: Path, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["reconstruct", str(group), "--face", "all", "-o", str(tmp_path), "--json", *QUICK]) == 0
    faces = alone(capsys)[0]["faces"]
    assert [f["face"] for f in faces] == [1, 2]
    assert [Path(f["folder"]).name for f in faces] == ["face-1", "face-2"]
    assert all((tmp_path / f"face-{n}" / "report.json").is_file() for n in (1, 2))


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["reconstruct", "nothing.jpg", "-o", "out"], 3, "photo_unreadable"),
        (["reconstruct", "{blank}", "-o", "out"], 4, "no_face_found"),
        (["reconstruct", "{sample}", "--face", "7", "-o", "out"], 4, "face_not_found"),
        (["reconstruct", "{sample}", "--face", "zero", "-o", "out"], 2, "option_invalid"),
        (["reconstruct", "{sample}", "--face", "0", "-o", "out"], 2, "option_invalid"),
        (["reconstruct", "{sample}", "{sample}", "--face", "all", "-o", "out"], 2, "option_invalid"),
        (["reconstruct", "{sample}", "--formats", "fbx", "-o", "out"], 2, "option_invalid"),
        (["reconstruct", "{sample}", "--engine", "none", "-o", "out"], 2, "option_invalid"),
        (["reconstruct", "{sample}", "--hair", "mohawk-of-glass", "-o", "out"], 2, "option_invalid"),
        (["reconstruct", "{sample}", "--texture", "oil", "-o", "out"], 2, "usage"),
        (["reconstruct", "{sample}"], 2, "usage"),
        (["reconstruct"], 2, "usage"),
        (["batch", "nowhere", "-o", "out"], 2, "option_invalid"),
        (["setup", "--from", "nothing.whl"], 2, "option_invalid"),
        (["no-such-command"], 2, "usage"),
    ],
)
def test_errors_are_one_line_one_json_object_and_an_exit_code(
    words: list[str],
    status: int,
    code: str,
    sample: Path,
    blank: Path,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if words[0] == "setup":
        monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "home"))
    arguments = [w.format(sample=sample, blank=blank) for w in words]
    assert run(arguments) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line for line in captured.err.splitlines() if line.startswith("maquette: ")] == [
        captured.err.splitlines()[-1]
    ]
    assert not (tmp_path / "out").exists()
    assert run([*arguments, "--json"]) == status
    assert alone(capsys)[0]["error"]["code"] == code


def test_missing_networks_say_what_to_run(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path))
    assert run(["reconstruct", str(sample), "-o", str(tmp_path / "out")]) == 5
    assert "maquette setup" in capsys.readouterr().err


def test_results_that_cannot_be_written_are_an_error_of_their_own(
    sample: Path, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file")
    assert run(["reconstruct", str(sample), "-o", str(tmp_path / "taken"), *QUICK]) == 6
    assert "taken" in capsys.readouterr().err


def test_debug_shows_the_trace_wherever_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--debug", "detect", "nothing.jpg"], ["detect", "--debug"]):
        assert run(words) != 0
    assert "Traceback" in capsys.readouterr().err


def test_detect_looks_at_every_photo_and_fails_for_the_one_it_cannot_use(
    sample: Path, blank: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["detect", str(blank), str(sample), "--json"]) == 4
    first, second = alone(capsys)[0]["photos"]
    assert first["error"]["code"] == "no_face_found"
    (face,) = second["faces"]
    assert face["number"] == 1
    assert face["quality"]["verdict"] in ("good", "fair")
    assert len(face["landmarks_px"]) == 478


def test_detect_prints_a_table(sample: Path, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["detect", str(sample)]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["photo", "face"]
    assert row.split()[:2] == ["astronaut.png", "1"]


def test_batch_goes_on_after_a_failure_and_where_it_stopped(
    sample: Path, blank: Path, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(sample, photos / "a.png")
    shutil.copy(blank, photos / "b.png")
    words = ["batch", str(photos), "-o", str(tmp_path / "out"), *QUICK]
    assert run([*words, "--json"]) == 7
    first = alone(capsys)[0]
    assert (first["done"], first["skipped"], first["failed"]) == (1, 0, 1)
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == first
    assert run(words) == 7
    out = capsys.readouterr().out
    assert "skipped" in out
    assert "no_face_found" in out
    (photos / "b.png").unlink()
    assert run(words) == 0


def test_demo_reconstructs_the_sample(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "-o", str(tmp_path / "demo"), "--json"]) == 0
    printed, err = alone(capsys)
    assert printed["report"]["photos"][0]["name"] == "astronaut.png"
    assert str(tmp_path / "demo") in err
    assert (tmp_path / "demo" / "head.glb").stat().st_size > 100_000


def test_doctor_says_whether_all_is_well(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", "--json"]) == 0
    assert alone(capsys)[0]["ok"] is True
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path))
    assert run(["doctor"]) == 5
    assert "maquette setup" in capsys.readouterr().out


def test_model_info_names_sources_and_terms(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["model", "info", "--json"]) == 0
    facts = alone(capsys)[0]
    assert len(facts["expressions"]) == 52
    assert facts["licence"]
    assert any("ICT" in s for s in facts["sources"])
    assert run(["model", "info"]) == 0
    assert facts["sha256"] in capsys.readouterr().out


def test_setup_finds_the_networks_in_place(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["setup", "--json"]) == 0
    assert alone(capsys)[0] == {"folder": str(settings.networks), "written": False}


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("maquette ")
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    for name in ("reconstruct", "detect", "batch", "demo", "setup", "doctor", "model", "bench"):
        assert f"\n  {name} " in out
