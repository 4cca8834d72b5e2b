from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maquette import pipeline
from maquette.errors import FaceNotFound, NoFaceFound, OptionInvalid, PhotoUnreadable
from maquette.events import Event, HeadReady, ProductReady, Stage, StageFinished, StageStarted
from maquette.pipeline import Rooms
from maquette.result import Result
from maquette.rooms import ReconstructOptions
from maquette.settings import Settings


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"engine": "closed"}, "engine to be one of open, found closed"),
        ({"texture": "oil"}, "albedo, photo, found oil"),
        ({"texture_size": 512}, "1024, 2048, found 512"),
        ({"expression": "happy"}, "photo, neutral, found happy"),
        ({"formats": ()}, "at least one format"),
        ({"formats": ("obj", "fbx")}, "obj, glb, ply, stl, found fbx"),
        ({"formats": ("obj", "obj")}, "each format once"),
        ({"size_mm": 0.0}, "10 to 2000 mm, found 0"),
        ({"size_mm": -5.0}, "10 to 2000 mm, found -5"),
        ({"size_mm": float("nan")}, "10 to 2000 mm, found nan"),
    ],
)
def test_an_option_out_of_its_range_is_refused(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(OptionInvalid, match=expected):
        pipeline.check_options(replace(ReconstructOptions(), **change))


def test_the_default_options_are_accepted() -> None:
    pipeline.check_options(ReconstructOptions())


def test_no_photos_and_unreadable_photos_are_refused(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(OptionInvalid, match="at least one photo"):
        pipeline.read_photos([], settings)
    with pytest.raises(PhotoUnreadable):
        pipeline.read_photos([tmp_path / "nothing.jpg"], settings)


def test_a_photo_can_be_a_path_a_text_bytes_or_read_already(sample: Path, settings: Settings) -> None:
    (first,) = pipeline.read_photos([sample], settings)
    others = pipeline.read_photos([str(sample), sample.read_bytes(), first], settings)
    assert {p.sha256 for p in others} == {first.sha256}


def test_a_face_number_beyond_the_faces_is_refused(sample: Path, rooms: Rooms, settings: Settings) -> None:
    (photo,) = pipeline.read_photos([sample], settings)
    faces = pipeline.detect(rooms.detector, photo)
    with pytest.raises(FaceNotFound, match=r"1 to 1 in astronaut\.png, found 2"):
        pipeline.choose_face(faces, 2, photo)


def test_the_largest_face_is_told_by_size_alone(sample: Path, rooms: Rooms, settings: Settings) -> None:
    (photo,) = pipeline.read_photos([sample], settings)
    (face,) = pipeline.detect(rooms.detector, photo)
    smaller = replace(face, size=face.size / 2)
    assert pipeline.choose_face([smaller, face], "largest", photo).number == 2
    assert pipeline.choose_face([smaller, face], 1, photo).number == 1


def test_a_head_of_one_of_several_people_says_so(
    sample: Path, rooms: Rooms, settings: Settings, result: Result
) -> None:
    (photo,) = pipeline.read_photos([sample], settings)
    twice = replace(photo, pixels=np.hstack([photo.pixels, photo.pixels]), name="both.png")
    options = ReconstructOptions(detail=False, hair="none", formats=("ply",))
    both = pipeline.reconstruct([twice], rooms=rooms, settings=settings, options=options, face=2)
    (caution,) = [c for c in both.cautions if c.code == "several_faces"]
    assert caution.message == "both.png: there are 2 faces; number 2 was taken"
    assert "several_faces" not in {c.code for c in result.cautions}


def test_the_shape_is_announced_before_its_texture_and_files(result: Result, events: list[Event]) -> None:
    stages = [e.stage for e in events if isinstance(e, StageFinished)]
    assert stages == list(Stage)
    assert [e.stage for e in events if isinstance(e, StageStarted)] == stages
    heads = [(i, e) for i, e in enumerate(events) if isinstance(e, HeadReady)]
    assert [e.complete for _, e in heads] == [False, True]
    assert heads[0][1].head.textures is None
    assert heads[1][1].head is result.head
    products = [(i, e.product) for i, e in enumerate(events) if isinstance(e, ProductReady)]
    assert tuple(p for _, p in products) == result.products
    assert heads[0][0] < heads[1][0] < products[0][0]


def test_the_sample_makes_a_head_and_every_format(result: Result) -> None:
    names = [p.name for p in result.products]
    for suffix in (".obj", ".mtl", ".glb", ".ply", ".stl"):
        assert any(n.endswith(suffix) for n in names), suffix
    assert {"preview.png", "overlay.png"} <= set(names)
    assert len(set(names)) == len(names)
    assert all(p.data for p in result.products)
    assert result.head.textures is not None


def test_the_same_photo_and_options_make_the_same_bytes(
    sample: Path, result: Result, rooms: Rooms, settings: Settings
) -> None:
    again = pipeline.reconstruct([sample], rooms=rooms, settings=settings, options=ReconstructOptions())
    assert [(p.name, p.sha256) for p in again.products] == [(p.name, p.sha256) for p in result.products]
    assert again.report == result.report


def test_a_photo_without_a_face_is_named(tmp_path: Path, rooms: Rooms, settings: Settings, blank: Path) -> None:
    with pytest.raises(NoFaceFound, match=blank.name) as caught:
        pipeline.reconstruct([blank], rooms=rooms, settings=settings, options=ReconstructOptions())
    assert caught.value.detail["photo"] == blank.name


def test_what_a_listener_raises_ends_the_work(sample: Path, rooms: Rooms, settings: Settings) -> None:
    class Cancelled(Exception):
        pass

    def cancel(event: Event) -> None:
        if isinstance(event, HeadReady):
            raise Cancelled

    with pytest.raises(Cancelled):
        pipeline.reconstruct([sample], rooms=rooms, settings=settings, options=ReconstructOptions(), listener=cancel)
