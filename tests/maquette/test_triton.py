"""Where the files of NVIDIA Triton come from, and what is said where they cannot run."""

import json
import os
import platform
import re
import shutil
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from maquette.cli.main import run
from maquette.errors import DependencyMissing, DownloadFailed, ModelFileInvalid, OptionInvalid, OutputError
from maquette.settings import Settings
from maquette.triton import MANIFEST, WHEELS, folder_of, install_triton, is_installed, require_triton


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def copied(home: Settings, triton_settings: Settings) -> Settings:
    """An installation of its own, which costs no room as long as its files are only replaced."""
    shutil.copytree(folder_of(triton_settings), folder_of(home), copy_function=os.link)
    return home


def test_what_pip_fetched_is_whole_and_can_run_here(triton_settings: Settings) -> None:
    assert is_installed(triton_settings)
    found = require_triton(triton_settings)
    assert os.access(found.executable, os.X_OK)
    assert os.access(found.backends / "python" / "triton_python_backend_stub", os.X_OK)
    assert (folder_of(triton_settings) / "nvidia_pytriton-0.7.0.dist-info" / "licenses" / "LICENSE").is_file()


def test_a_second_installation_writes_nothing(copied: Settings) -> None:
    told: list[tuple[str, float]] = []
    assert not install_triton(copied, Path("gone.whl"), lambda what, done: told.append((what, done)))
    assert told == [("NVIDIA Triton is in place", 1.0)]


def test_a_damaged_or_missing_file_is_noticed(copied: Settings) -> None:
    executable = require_triton(copied).executable
    data = executable.read_bytes()
    executable.unlink()
    with pytest.raises(DependencyMissing, match=r"bin/tritonserver is missing.*`maquette triton --fetch`"):
        require_triton(copied)
    executable.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert not is_installed(copied)


def test_the_files_of_another_release_do_not_count(copied: Settings) -> None:
    manifest = folder_of(copied) / MANIFEST
    text = manifest.read_text()
    manifest.unlink()
    manifest.write_text(text.replace(WHEELS[platform.machine()].sha256, "0" * 64))
    with pytest.raises(DependencyMissing, match="it is not in"):
        require_triton(copied)


def test_a_wheel_that_is_no_file_is_an_invalid_option(home: Settings, tmp_path: Path) -> None:
    with pytest.raises(OptionInvalid, match="found no file"):
        install_triton(home, tmp_path / "none.whl")


def test_another_wheel_is_refused_with_both_digests_before_it_is_opened(home: Settings, tmp_path: Path) -> None:
    wheel = tmp_path / "nvidia_pytriton-0.7.0-py3-none-manylinux_2_35_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("../../escaped", "x")
    with pytest.raises(ModelFileInvalid, match=rf"{WHEELS[platform.machine()].sha256}.*{wheel.name}.*sha256"):
        install_triton(home, wheel)
    assert not folder_of(home).exists()
    assert list(folder_of(home).parent.iterdir()) == []


def test_without_a_registry_the_error_says_what_to_do(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(home.home))
    with pytest.raises(DownloadFailed, match=r"nvidia-pytriton==0\.7\.0.*--from WHEEL"):
        install_triton(home)
    assert list(folder_of(home).parent.iterdir()) == []


def test_a_home_that_cannot_be_a_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        install_triton(Settings(home=tmp_path / "file"))


@pytest.mark.parametrize(
    ("where", "name", "value", "found"),
    [
        (sys, "platform", "darwin", "found Linux"),
        (platform, "machine", lambda: "riscv64", "riscv64"),
        (platform, "libc_ver", lambda: ("glibc", "2.31"), "glibc 2.31"),
        (platform, "libc_ver", lambda: ("", ""), "no glibc"),
        (platform, "python_implementation", lambda: "PyPy", "PyPy"),
    ],
    ids=["system", "machine", "old glibc", "musl", "interpreter"],
)
def test_where_the_server_cannot_run_the_error_says_where_it_can(
    where: object, name: str, value: object, found: str, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, value)
    for call in (lambda: install_triton(home), lambda: require_triton(home)):
        with pytest.raises(DependencyMissing, match=rf"Linux \(x86_64 or aarch64\) with glibc 2\.35.*{found}"):
            call()


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the server brings the library of this Python itself")
def test_an_interpreter_without_its_library_is_told_which_package_has_it(
    triton_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ctypes

    def fails(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(sysconfig, "get_config_var", lambda _name: str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    monkeypatch.setattr(ctypes, "CDLL", fails)
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    with pytest.raises(DependencyMissing, match=rf"libpython{minor}\.so\.1\.0.*apt-get install libpython{minor}"):
        require_triton(triton_settings)


def test_the_command_only_fetches_when_told_so_and_says_where(
    triton_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["triton", "--fetch", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(folder_of(triton_settings)), "written": False}


def test_every_option_of_the_command_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    run(["triton", "--help"])
    options = set(re.findall(r"^ +(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))
    page = Path(__file__).resolve().parents[2] / "docs" / "triton.md"
    assert len(options) >= 10
    assert options <= set(re.findall(r"--[a-z-]+", page.read_text(encoding="utf-8")))
