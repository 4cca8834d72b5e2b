"""The program as it is started from a shell: output streams, signals, start-up."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from maquette.settings import Settings


def start(*words: str, **environment: str) -> subprocess.Popen[str]:
    # A shell that starts the tests in its background has SIGINT ignored, and children inherit that.
    sane = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program = [sys.executable, "-c", f"{sane}from maquette.cli import main; main()", *words]
    return subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_told_to_end_leaves_no_file(
    number: signal.Signals, status: int, sample: Path, settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "head"
    with start("reconstruct", str(sample), "-o", str(folder)) as process:
        assert process.stderr is not None
        assert "Reading" in process.stderr.readline()
        process.send_signal(number)
        assert process.wait(120) == status
        assert "Traceback" not in process.stderr.read()
    assert not folder.exists() or list(folder.iterdir()) == []


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_not_complained_about(unbuffered: str) -> None:
    with start("model", "info", "--json", PYTHONUNBUFFERED=unbuffered) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.wait(120)
        assert process.stderr.read() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [("--version",), ("doctor",), ("doctor", "--json"), ("detect", "/nowhere", "--json")])
def test_a_full_disk_behind_the_output_is_one_line(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        code = "from maquette.cli import main; main()"
        done = subprocess.run([sys.executable, "-c", code, *words], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 6
    assert done.stderr.splitlines()[-1].startswith("maquette: standard output cannot be written: ")
    assert "Traceback" not in done.stderr


def test_help_starts_without_the_rooms() -> None:
    code = (
        "import sys; from maquette.cli.main import run; run(['--help']); "
        "print([m for m in sys.modules if m.startswith(('services.', 'cv2', 'scipy', 'trimesh', 'skimage'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
