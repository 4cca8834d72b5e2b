from pathlib import Path

import pytest

import maquette
from maquette import ReconstructOptions, Result, Settings


def test_a_photo_becomes_a_head_in_one_call(
    sample: Path, settings: Settings, quick: ReconstructOptions, tmp_path: Path
) -> None:
    seen: list[maquette.Event] = []
    result = maquette.reconstruct(sample.read_bytes(), options=quick, settings=settings, progress=seen.append)
    assert result.head.neutral.shape == result.head.posed.shape
    assert len(result.faces) == 1
    assert any(isinstance(e, maquette.HeadReady) for e in seen)
    assert (tmp_path / "head" / "report.json") in result.save(tmp_path / "head")


def test_several_photos_make_one_head(sample: Path, settings: Settings, quick: ReconstructOptions) -> None:
    result = maquette.reconstruct([str(sample), sample], options=quick, settings=settings)
    assert len(result.views) == len(result.report["photos"]) == 2


def test_every_face_of_a_group_becomes_a_head(group: Path, settings: Settings, quick: ReconstructOptions) -> None:
    results = list(maquette.reconstruct_each(group, options=quick, settings=settings))
    assert all(isinstance(r, Result) for r in results)
    numbers = [r.report["photos"][0]["face"]["number"] for r in results if isinstance(r, Result)]
    assert numbers == [1, 2]


def test_detect_finds_the_faces_by_prominence(group: Path, settings: Settings) -> None:
    faces = maquette.detect(group, settings=settings)
    assert len(faces) == 2
    assert faces[0].size > faces[1].size
    assert faces[0].landmarks.shape == (478, 3)


def test_options_are_checked_before_any_work(settings: Settings) -> None:
    with pytest.raises(maquette.OptionInvalid):
        maquette.reconstruct("no such file", options=ReconstructOptions(formats=("fbx",)), settings=settings)
