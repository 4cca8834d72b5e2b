"""What came from elsewhere is refused by name before anybody computes with it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maquette import pipeline
from maquette.errors import MessageInvalid
from maquette.result import Result
from maquette.rooms import PhotoView
from maquette.sanity import check_face, check_head, check_mask, check_view
from maquette.types import Head, Mask

NAN = np.float32("nan")


def test_what_the_rooms_make_passes(result: Result) -> None:
    for view in result.views:
        check_view(view)
    check_head(result.head)
    check_head(dataclasses.replace(result.head, textures=None, hair=()))


@pytest.mark.parametrize("name", ["landmarks", "plain_landmarks"])
@pytest.mark.parametrize("change", [lambda p: p * 0, lambda p: p * 1e9, lambda p: p - 1e4, lambda p: p + 1e4])
def test_a_face_that_is_not_in_the_photo_is_refused(
    result: Result, name: str, change: Callable[[Any], np.ndarray]
) -> None:
    view = result.views[0]
    face = dataclasses.replace(view.face, **{name: change(getattr(view.face, name)).astype(np.float32)})
    with pytest.raises(MessageInvalid, match=name) as caught:
        check_face(view.photo, face)
    assert caught.value.detail["field"] == name


def test_a_face_that_is_cut_off_passes(result: Result) -> None:
    view = result.views[0]
    shift = np.array([view.face.landmarks[:, 0].mean(), 0, 0], np.float32)
    face = dataclasses.replace(
        view.face, landmarks=view.face.landmarks - shift, plain_landmarks=view.face.plain_landmarks - shift
    )
    check_face(view.photo, face)


@pytest.mark.parametrize(
    ("alpha", "to_crop"),
    [(NAN, 1.0), (2.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (1.0, np.inf), (1.0, np.nan), (1.0, 1e12)],
)
def test_a_mask_that_is_none_is_refused(alpha: float, to_crop: float) -> None:
    place = np.array([[1, 0, 0], [0, 1, 0]], np.float64)
    check_mask(Mask(np.ones((4, 4), np.float32), place))
    with np.errstate(invalid="ignore"), pytest.raises(MessageInvalid, match="mask"):
        check_mask(Mask(np.full((4, 4), alpha, np.float32), place * to_crop))


def change_view(head: Head, **changes: Any) -> Head:
    view = dataclasses.replace(head.fit.views[0], **changes)
    return dataclasses.replace(head, fit=dataclasses.replace(head.fit, views=(view, *head.fit.views[1:])))


def change_hair(head: Head, **changes: Any) -> Head:
    return dataclasses.replace(head, hair=(dataclasses.replace(head.hair[0], **changes), *head.hair[1:]))


def change_maps(head: Head, **changes: Any) -> Head:
    assert head.textures is not None
    return dataclasses.replace(head, textures=dataclasses.replace(head.textures, **changes))


@pytest.mark.parametrize(
    "change",
    [
        lambda h: dataclasses.replace(h, posed=h.posed * NAN),
        lambda h: dataclasses.replace(h, neutral=h.neutral * np.float32(1e30)),
        lambda h: dataclasses.replace(h, fit=dataclasses.replace(h.fit, identity=h.fit.identity * NAN)),
        lambda h: change_view(h, expression=h.fit.views[0].expression + NAN),
        lambda h: change_view(h, camera=dataclasses.replace(h.fit.views[0].camera, focal=0.0)),
        lambda h: change_view(h, camera=dataclasses.replace(h.fit.views[0].camera, width=10**9)),
        lambda h: change_view(h, camera=dataclasses.replace(h.fit.views[0].camera, rotation=np.zeros((3, 3)))),
        lambda h: change_hair(h, triangles=h.hair[0].triangles + 10**7),
        lambda h: change_hair(h, triangles=h.hair[0].triangles - 10**7),
        lambda h: change_hair(h, triangles=h.hair[0].triangles[:0]),
        lambda h: change_hair(h, vertices=h.hair[0].vertices * NAN),
        lambda h: change_hair(h, uv=h.hair[0].uv + np.float32(1e20)),
        lambda h: change_hair(h, colour=h.hair[0].colour[:0]),
        lambda h: change_maps(h, displacement=h.textures.displacement * NAN),
        lambda h: change_maps(h, displacement=h.textures.displacement[:0, :0]),
        lambda h: change_maps(h, photo=h.textures.photo[:0, :0]),
        lambda h: change_maps(h, lighting=h.textures.lighting * NAN),
    ],
)
def test_a_head_that_cannot_be_computed_with_is_refused(result: Result, change: Callable[[Head], Head]) -> None:
    assert result.head.hair
    with pytest.raises(MessageInvalid, match="head"):
        check_head(change(result.head))


def test_a_photo_of_the_room_and_a_face_of_another_do_not_belong_together(
    result: Result, group: Path, rooms: pipeline.Rooms, settings: Any
) -> None:
    (photo,) = pipeline.read_photos([group], settings)
    right = max(pipeline.detect(rooms.detector, photo), key=lambda f: f.box[0])
    view = result.views[0]
    with pytest.raises(MessageInvalid, match="512 × 512"):
        check_view(PhotoView(view.photo, right, view.mask))
