"""What the documents say is what the program does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import maquette
from maquette import errors
from maquette.cli import exits
from maquette.cli.main import run
from maquette.doctor import OPEN3D_LIBRARIES
from maquette.report import load_schema
from maquette.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def table(text: str) -> list[list[str]]:
    """Cells of all table rows."""
    return [[c.strip() for c in row.strip("|").split("|")] for row in text.splitlines() if row.startswith("|")]


def test_every_error_is_in_the_table_with_its_code_and_exit_code() -> None:
    tree = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.MaquetteError)]
    rows = [row[:3] for row in table(read("docs/cli.md").split("## Errors")[1])[2:]]
    assert sorted(rows) == sorted([f"`{e.code}`", f"`{e.__name__}`", str(e.exit_code)] for e in tree)
    assert len({e.code for e in tree}) == len(tree)


def test_every_exit_code_is_in_the_table_and_every_error_has_one() -> None:
    section = read("docs/cli.md").split("## Exit codes")[1].split("## Errors")[0]
    assert {int(code): meaning for code, meaning in table(section)[2:]} == exits.MEANINGS
    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.MaquetteError)]
    assert len(kinds) > 40
    assert {kind.exit_code for kind in kinds} <= set(exits.MEANINGS)


def test_every_option_of_reconstruct_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    run(["reconstruct", "--help"])
    options = set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE)) - {"--help"}
    section = read("docs/cli.md").split("## reconstruct")[1].split("\n## ")[0]
    assert len(options) >= 10
    assert options <= set(re.findall(r"--[a-z-]+", section))


def test_every_command_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    commands = re.findall(r"^  ([a-z]+)  ", capsys.readouterr().out.split("Commands:")[1], re.MULTILINE)
    assert len(commands) >= 8
    for name in commands:
        assert f"maquette {name}" in read("docs/cli.md")


def test_every_public_name_is_documented() -> None:
    text = read("docs/api.md") + read("docs/cli.md")
    assert [name for name in maquette.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_every_key_of_a_report_is_documented() -> None:
    documented = read("docs/report.md")
    assert [key for key in load_schema()["properties"] if f"`{key}" not in documented] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_first_screen_has_the_two_commands_and_make_knows_them() -> None:
    first_screen = "\n".join(read("README.md").splitlines()[:20])
    targets = re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE)
    for command in ("demo", "test"):
        assert f"make {command}" in first_screen
        assert command in targets


def test_debian_packages_are_named_alike_everywhere() -> None:
    packages = " ".join(OPEN3D_LIBRARIES.values())
    assert f'libraries="{packages}"' in read("scripts/debian-packages.sh")
    assert f"`{packages}`" in read("docs/cli.md")


def test_the_walkthrough_runs(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", read("docs/walkthrough.md"), re.DOTALL)
    assert len(blocks) >= 8
    exec(compile("\n".join(blocks), "walkthrough.md", "exec"), {})
    assert (tmp_path / "head" / "report.json").is_file()


def test_the_example_runs(sample: Path, settings: Settings, tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "examples" / "reconstruct.py", sample, tmp_path / "head"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "interpupillary_distance" in done.stdout
    assert (tmp_path / "head" / "head.glb").is_file()
