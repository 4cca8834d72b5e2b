"""What make would do, without doing it."""

import os
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def planned(target: str, environment: Path) -> str:
    command = ["make", "--dry-run", "--no-print-directory", target, f"VENV={environment}"]
    # Whatever make started these tests must not steer this one.
    clean = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
    return subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """An environment as a first run leaves it."""
    later = time.time() + 60
    for name in (".made", ".installed", ".developed"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (later, later))
    return tmp_path


@pytest.mark.parametrize(("target", "last"), [("demo", "maquette demo -o out/demo"), ("test", "-m pytest")])
def test_a_first_run_makes_an_environment_and_a_second_one_does_not(
    target: str, last: str, tmp_path: Path, installed: Path
) -> None:
    first = planned(target, tmp_path / "none")
    assert "scripts/make-venv.sh" in first
    assert "pip install" in first
    assert last in first.splitlines()[-1]
    second = planned(target, installed)
    assert "make-venv" not in second
    assert "pip" not in second
    assert last in second.splitlines()[-1]


def test_make_alone_lists_the_targets() -> None:
    out = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "demo", "test", "lint", "bench", "figures", "size"):
        assert f"make {target} " in out


def test_the_environment_script_refuses_an_unsupported_python(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.1 && exit 0\nexit 1\n')
    old.chmod(0o755)
    command = ["/bin/sh", "scripts/make-venv.sh", str(tmp_path / "venv")]
    done = subprocess.run(command, cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "expected Python 3.11, 3.12 or 3.13, found Python 3.9.1" in done.stderr
    assert not (tmp_path / "venv").exists()
