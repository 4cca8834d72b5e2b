from pathlib import Path

import pytest

from maquette import demo
from maquette.errors import DependencyMissing


def test_the_sample_is_the_picture_of_the_scikit_image_package(sample: Path) -> None:
    assert sample.name == "astronaut.png"
    assert sample.read_bytes().startswith(b"\x89PNG")


def test_another_picture_by_that_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SAMPLE_SHA256", "0" * 64)
    with pytest.raises(DependencyMissing, match="sha256"):
        demo.sample_photo()
