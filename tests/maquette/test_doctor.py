from pathlib import Path

import pytest

from maquette import doctor
from maquette.doctor import Check, Status
from maquette.settings import Settings


def named(checks: list[Check], name: str) -> Check:
    (check,) = (c for c in checks if c.name == name)
    return check


def test_an_installation_that_runs_these_tests_is_sound(settings: Settings) -> None:
    checks = list(doctor.examine(settings))
    assert [c.name for c in checks if c.status is Status.FAIL] == []
    assert len({c.name for c in checks}) == len(checks)


def test_missing_networks_fail_with_advice(tmp_path: Path) -> None:
    check = named(list(doctor.examine(Settings(home=tmp_path / "nowhere"))), "Landmark networks")
    assert check.status is Status.FAIL
    assert "maquette setup" in check.advice


def test_damaged_networks_fail(tmp_path: Path, settings: Settings) -> None:
    home = Settings(home=tmp_path)
    home.networks.mkdir()
    for path in settings.networks.iterdir():
        data = bytearray(path.read_bytes())
        if path.name == "face_landmark.tflite":
            data[len(data) // 2] ^= 1
        (home.networks / path.name).write_bytes(bytes(data))
    assert named(list(doctor.examine(home)), "Landmark networks").status is Status.FAIL


def test_a_package_of_a_wrong_version_or_absent_fails(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=999", "no-such-package-here>=1", "pytest>=999; extra == 'dev'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda _name: wanted)
    check = named(list(doctor.examine(settings)), "Packages")
    assert check.status is Status.FAIL
    assert "numpy>=999 is wanted" in check.detail
    assert "no-such-package-here>=1 is not installed" in check.detail
    assert "pytest" not in check.detail


def test_a_missing_system_library_names_its_debian_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor.OPEN3D_LIBRARIES, "libnosuchthing.so.9", "libnosuchthing9")
    missing = doctor.missing_open3d_libraries()
    assert missing["libnosuchthing.so.9"] == "libnosuchthing9"
    assert doctor.install_advice(["libnosuchthing9"]).endswith("apt-get install libnosuchthing9")


def test_too_little_memory_is_a_warning_only(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NEEDED_MEMORY", 1 << 60)
    assert named(list(doctor.examine(settings)), "Memory").status is Status.WARN
