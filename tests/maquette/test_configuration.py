"""The page of settings is what the settings classes say."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("maquette", "services", "gateway")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_configuration", ROOT / "scripts" / "make_configuration.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_settings_say(generator: ModuleType) -> None:
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == generator.page()


def test_every_settings_class_is_on_the_page(generator: ModuleType) -> None:
    found = {
        match[1]
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for match in re.finditer(r"^class (\w+)\(\w*Settings\)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(found) > 10
    assert {kind.__name__ for kind in generator.shown()} == found


def test_the_page_depends_on_no_machine(generator: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    page = generator.page()
    monkeypatch.setenv("MAQUETTE_HOME", "/somewhere/else")
    monkeypatch.setenv("MAQUETTE_GATEWAY_PORT", "1234")
    assert generator.page() == page
    assert str(Path.home()) not in page


def test_a_check_tells_a_page_that_is_out_of_date(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generator, "PAGE", tmp_path / "configuration.md")
    assert generator.main(["--check"]) == 1
    assert "make_configuration" in capsys.readouterr().err
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0
