import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from maquette.benchmarks import hostile
from maquette.benchmarks.hostile import Series, run_series, summary, table
from maquette.benchmarks.specimens import KINDS, Specimen, specimens
from maquette.benchmarks.specimens.portraits import PORTRAITS, portrait_bytes
from maquette.benchmarks.speed import LIMITS
from maquette.cli.main import run
from maquette.settings import Settings
from services.detector.photo import load_photo

QUICK_SEED = 10
"""Its series of 120 has none of the files that take seconds; ``maquette bench hostile`` has them."""


def made(series: list[Specimen], folder: Path) -> list[bytes]:
    out = []
    for specimen in series:
        place = folder / str(specimen.number)
        place.mkdir(parents=True)
        out.append(specimen.place(place).read_bytes())
    return out


def plain(series: list[Specimen]) -> list[Specimen]:
    return [s for s in series if s.kind != "place"]


def test_a_series_is_as_long_as_asked_and_has_every_kind() -> None:
    for count in (60, 1000):
        series = specimens(count, 3)
        assert [s.number for s in series] == list(range(count))
        assert {s.kind for s in series} == set(KINDS)


def test_a_long_series_hardly_repeats_itself() -> None:
    assert len({(s.kind, s.name) for s in specimens(1000, 7)}) > 970


def test_one_seed_makes_the_same_files_and_another_makes_others(tmp_path: Path) -> None:
    first, again, other = (plain(specimens(90, seed)) for seed in (5, 5, 6))
    files = made(first, tmp_path / "first")
    assert files == made(again, tmp_path / "again")
    assert len(set(files) & set(made(other, tmp_path / "other"))) < 30


@pytest.mark.parametrize("name", PORTRAITS)
def test_what_hostile_files_are_made_of_can_be_read(name: str, settings: Settings) -> None:
    photo = load_photo(portrait_bytes(name), settings=settings)
    assert (photo.width, photo.height) in ((160, 160), (128, 128))


@pytest.fixture(scope="module")
def sample_series(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Series:
    """What the pipeline makes of a small series."""
    return run_series(specimens(120, QUICK_SEED), heads=2, keep=tmp_path_factory.mktemp("hostile") / "kept")


def test_hostile_files_give_a_result_or_a_named_error(sample_series: Series) -> None:
    assert [(f.specimen.name, f.faults) for f in sample_series.failures] == []
    assert sample_series.leaks == ()
    outcomes = Counter(f.outcome for f in sample_series.findings)
    assert set(outcomes) <= {"result", "photo_unreadable", "photo_too_large", "no_face_found", "face_unusable"}
    assert outcomes["result"] > 15
    assert outcomes["photo_unreadable"] > 40
    assert summary(sample_series)["reconstructed"] == 2


MISBEHAVIOUR = """
import os, time, warnings
from pathlib import Path
from maquette.errors import MeshInvalid
from services.detector import photo

real = photo.load_photo
kept = []

def load_photo(source, **options):
    name = source.name
    if name.startswith("abort"):
        os.abort()
    if name.startswith("hang"):
        time.sleep(60)
    if name.startswith("unnamed"):
        raise ValueError("nobody knows")
    if name.startswith("mesh"):
        raise MeshInvalid("not the photo's fault")
    if name.startswith("noise"):
        os.write(2, b"library: something is odd")
    if name.startswith("warning"):
        warnings.warn("this is odd")
    if name.startswith("print"):
        print("hello")
    if name.startswith("scratch"):
        Path("left.txt").write_text("left")
    if name.startswith("spoil"):
        source.with_name("beside.txt").write_text("left")
    if name.startswith("memory"):
        kept.append(b"x" * 4_000_000)
    if name.startswith("descriptor"):
        kept.append(open("/dev/null"))
    return real(source, **options)

photo.load_photo = load_photo
"""


@pytest.fixture
def misbehaving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes whose reading of photos goes wrong in the way that the file's name says."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(MISBEHAVIOUR)
    paths = [str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def named(*names: str) -> list[Specimen]:
    def place(name: str, folder: Path) -> Path:
        path = folder / f"{name}.jpg"
        path.write_bytes(portrait_bytes("JPEG"))
        return path

    return [Specimen(k, "place", name, lambda folder, name=name: place(name, folder)) for k, name in enumerate(names)]


def faults(series: Series) -> dict[str, str]:
    return {f.specimen.name: " ".join(f.faults) for f in series.findings}


def test_every_misbehaviour_is_noticed_and_goes_to_its_own_file(
    misbehaving: None, settings: Settings, tmp_path: Path
) -> None:
    names = ["good", "abort", "hang", "unnamed", "mesh", "noise", "warning", "print", "scratch", "spoil", "last"]
    series = run_series(named(*names), seconds=3, heads=0, keep=tmp_path / "kept")
    found = faults(series)
    assert list(found) == names
    assert found["good"] == found["last"] == ""
    assert "crash: SIGABRT" in found["abort"]
    assert "load_photo" in found["abort"]
    assert "hang: not done after 3 s" in found["hang"]
    assert "ValueError: nobody knows" in found["unnamed"]
    assert "MeshInvalid" in found["mesh"]
    assert "noise: library: something is odd" in found["noise"]
    assert "UserWarning: this is odd" in found["warning"]
    assert "noise: hello" in found["print"]
    assert "left.txt" in found["scratch"]
    assert "beside.txt" in found["spoil"]
    assert not series.passed
    assert len(list((tmp_path / "kept").iterdir())) == len(series.failures) == 9
    assert (tmp_path / "kept" / "1" / "abort.jpg").read_bytes() == portrait_bytes("JPEG")


def test_what_leaks_is_noticed(misbehaving: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "PEAK_MB", 50.0)
    series = run_series(named(*["memory", "descriptor"] * 24), heads=0)
    assert [leak.split(":")[0] for leak in series.leaks] == ["memory", "descriptors"]
    # A process that reads photos holds more than this at once.
    assert {f.faults[0].split(":")[0] for f in series.findings} == {"memory"}
    assert not series.passed


def test_a_table_and_a_summary_add_up(sample_series: Series) -> None:
    columns, rows = table(sample_series)
    figures = [dict(zip(columns, row, strict=True)) for row in rows]
    *kinds, total = figures
    assert total["kind"] == "all"
    assert [row["kind"] for row in kinds] == list(KINDS)
    assert sum(int(row["files"]) for row in kinds) == int(total["files"]) == 120
    told = summary(sample_series)
    assert told["passed"] is sample_series.passed
    assert told["count"] == sum(told["outcomes"].values()) == 120
    assert sum(n for kind in told["kinds"].values() for n in kind.values()) == 120
    assert told["outcomes"]["photo_unreadable"] == int(total["photo_unreadable"])


def test_two_processes_find_what_one_does(sample_series: Series) -> None:
    few = specimens(120, QUICK_SEED)[:12]
    both = run_series(few, workers=2, heads=0)
    alone = sample_series.findings[:12]
    assert [(f.specimen.number, f.sha256, f.outcome) for f in both.findings] == [
        (f.specimen.number, f.sha256, f.outcome) for f in alone
    ]


@pytest.mark.parametrize("fault", ["", "crash: SIGSEGV\nhere"])
def test_the_command_lists_failures_and_exits_with_1_when_there_are_some(
    fault: str, sample_series: Series, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = sample_series.findings
    shown = replace(sample_series, findings=(replace(first, faults=(fault,) if fault else ()), *others), leaks=())
    monkeypatch.setattr(hostile, "run_series", lambda *_args, **_options: shown)
    status = 1 if fault else 0
    assert run(["bench", "hostile", "--json"]) == status
    told = json.loads(capsys.readouterr().out)
    assert (told["passed"], told["seed"], len(told["failures"])) == (not fault, 7, status)
    assert run(["bench", "hostile"]) == status
    out = capsys.readouterr().out
    assert (first.specimen.name in out) is bool(fault)
    assert ("    crash: SIGSEGV" in out) is bool(fault)


def test_documents_name_every_kind_and_limit() -> None:
    page = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"| {kind} |" not in page] == []
    assert f"after {hostile.SECONDS:g} s" in page
    assert f"{hostile.PEAK_MB:,.0f} MB" in page
    assert f"{hostile.GROWTH_MB:g} MB" in page
    for text, unit, limit in LIMITS.values():
        assert f"| {text} | {limit:,g} {unit} |" in page


def test_names_that_would_steer_a_terminal_are_spelled_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "\x1b[31mred\u202e.jpg"
    path.write_bytes(b"no picture")
    assert run(["detect", str(path)]) == 3
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert "\\x1b[31mred\\u202e.jpg" in said
