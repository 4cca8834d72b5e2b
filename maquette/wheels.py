"""Wheels that are fetched for the files in them and never installed: by the package installer that is here anyway."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path

from maquette.errors import DownloadFailed

Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction of the whole that is behind, 0 to 1."""

Growth = Callable[[int], None]
"""Called with the bytes that have arrived so far."""

_POLL_S = 0.2
_LONGEST_S = 900


def fetch_wheel(requirement: str, platform: str, folder: Path, advice: str, growth: Growth | None = None) -> Path:
    """Let pip fetch one wheel into a folder.

    Only files are taken out of it, so the wheel need not fit this interpreter; one that exists is named.

    Args:
        requirement: Name and version, e.g. ``mediapipe==0.10.21``.
        platform: Its platform tag, e.g. ``manylinux_2_28_x86_64``.
        folder: Where to; is empty.
        advice: What to do where there is no registry; ends every message.
        growth: Told how far it has come.

    Returns:
        Path of the wheel.

    Raises:
        DownloadFailed: Offline, or the registry did not answer, or neither pip nor uv is here.
    """
    command = [
        *_pip(requirement, advice), "download", requirement, "--no-deps", "--only-binary=:all:",
        "--platform", platform, "--implementation", "cp", "--python-version", "3.11", "--abi", "cp311",
        "--dest", str(folder), "--no-input", "--disable-pip-version-check", "--quiet", "--retries", "2",
        "--timeout", "20",
    ]  # fmt: skip
    partial = folder / "partial"
    partial.mkdir()
    try:
        status, said = _run(command, partial, growth or (lambda _bytes: None))
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DownloadFailed(f"pip could not fetch {requirement}: {error}; {advice}") from error
    wheels = sorted(folder.glob("*.whl"))
    if status != 0 or len(wheels) != 1:
        raise DownloadFailed(f"pip could not fetch {requirement}: {_reason(said)}; {advice}")
    return wheels[0]


def _run(command: list[str], partial: Path, growth: Growth) -> tuple[int, str]:
    """Run pip with its temporary files in ``partial``, whose growth is the progress that pip itself does not tell."""
    log = partial / "pip.log"
    end = time.monotonic() + _LONGEST_S
    most = 0
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors, env={**os.environ, "TMPDIR": str(partial)}
        )
        try:
            while True:
                try:
                    status = process.wait(_POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    if time.monotonic() > end:
                        raise subprocess.TimeoutExpired(command, _LONGEST_S) from None
                    # It shrinks where pip puts the file in its place.
                    most = max(most, _bytes_in(partial))
                    growth(most)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    return status, log.read_text(errors="replace")


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue  # pip has just moved it
    return total


def _pip(requirement: str, advice: str) -> list[str]:
    """How to call pip: this interpreter's own, or the one uv provides where the environment has none."""
    # On the path alone: setuptools' own finder, once asked, warns in a process that has distutils.
    if PathFinder.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    uv = shutil.which("uv")
    if uv is None:
        raise DownloadFailed(
            f"neither pip nor uv is there to fetch {requirement}: run `{sys.executable} -m ensurepip` first; {advice}"
        )
    return [uv, "tool", "run", "pip"]


def _reason(stderr: str) -> str:
    """What pip says was wrong, in one line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    reason = (errors or lines or ["no reason given"])[0]
    broken = re.search(r"connection broken by '\w+\(.*?: (.*?)'?\)'", stderr)
    return (f"{broken[1]}; {reason}" if broken else reason)[:300]
