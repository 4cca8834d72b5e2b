"""What travels to Triton and back, without Triton: tensors, refusals, configurations, messages."""

import gc
import json
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2

from maquette.errors import FaceUnusable, MaquetteError, MessageInvalid, ServiceError, ServiceMismatch
from maquette.rooms import PhotoView, ReconstructOptions
from maquette.tritonserver import shipped_repository
from maquette.types import Camera, Caution, Fit, Hair, Head, Textures, View
from services.reconstructor.dlpack import Lent
from services.reconstructor.packing import head_to_tensors, tensors_to_head, tensors_to_views, views_to_tensors
from services.reconstructor.refusals import from_line, to_line
from services.reconstructor.rehearsal import drawn_view, is_rehearsal
from services.reconstructor.tensors import COMPLETE, FORMAT, HEAD, VIEWS, Tensor
from services.reconstructor.triton import infer_message

OPTIONS = ReconstructOptions(texture="photo", hair="short01", formats=("glb",), size_mm=150.5)


def make_head(rng: np.random.Generator, photos: int = 2, hair: int = 2) -> Head:
    """A head of nonsense in the right shapes."""

    def real(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    def colour(*shape: int) -> Any:
        return rng.integers(0, 256, shape, np.uint8)

    def camera(i: int) -> Camera:
        return Camera(1 / 3 + i, rng.normal(size=2), rng.normal(size=(3, 3)), rng.normal(size=3), 640, 480 + i)

    cameras = [camera(i) for i in range(photos)]
    views = tuple(View(c, real(52), real(2, 2), real(478, 2)) for c in cameras)
    fit = Fit(real(9), views, real(30), real(30), (Caution("code", "ein Satz: ü, \u2028"),))
    maps = Textures(colour(8, 8, 3), colour(8, 8, 3), real(8, 8), real(4, 4), colour(4, 4, 3), rng.normal(size=(9, 3)))
    meshes = tuple(
        Hair(f"style{k}", real(5 + k, 3), np.int32(rng.integers(0, 5, (3 + k, 3))), real(5 + k, 2), colour(2, 3 + k, 4))
        for k in range(hair)
    )
    return Head("open 9", "model 1", "terms", fit, real(30, 3), real(30, 3), maps, meshes)


def contents(head: Head) -> list[Any]:
    return [v.tobytes() if isinstance(v, np.ndarray) else v for v in head_to_tensors(head).values()]


@pytest.fixture(scope="module")
def view() -> PhotoView:
    return drawn_view()


@pytest.fixture
def head() -> Head:
    return make_head(np.random.default_rng(1))


def joined(views: list[PhotoView]) -> dict[str, Any]:
    return {n: np.concatenate(p) for n, p in views_to_tensors(views, OPTIONS, "open").items()}


def test_a_head_comes_back_as_it_was(head: Head) -> None:
    back = tensors_to_head(head_to_tensors(head))
    assert contents(back) == contents(head)
    assert back.fit.warnings == head.fit.warnings
    assert [v.camera.focal for v in back.fit.views] == [v.camera.focal for v in head.fit.views]
    assert [(h.name, h.colour.shape, h.triangles.dtype) for h in back.hair] == [
        (h.name, h.colour.shape, h.triangles.dtype) for h in head.hair
    ]
    assert back.textures is not None and head.textures is not None
    np.testing.assert_array_equal(back.textures.displacement, head.textures.displacement)
    np.testing.assert_array_equal(back.hair[1].uv, head.hair[1].uv)
    assert back.neutral.flags.writeable


def test_what_a_head_lacks_is_not_sent_and_lacks_afterwards(head: Head) -> None:
    assert head.textures is not None
    bald = replace(head, textures=replace(head.textures, displacement=None, normal=None), hair=())
    back = tensors_to_head(head_to_tensors(bald))
    assert back.hair == () and back.textures is not None
    assert (back.textures.displacement, back.textures.normal) == (None, None)
    assert tensors_to_head(head_to_tensors(replace(head, textures=None, hair=()))).textures is None
    assert not {"displacement", "normal", "hair_uv"} & set(head_to_tensors(bald))


def test_a_hair_mesh_without_triangles_survives(head: Head) -> None:
    corners, triangles = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    empty = Hair("none", corners, triangles, np.zeros((0, 2), np.float32), np.zeros((0, 0, 4), np.uint8))
    tensors = head_to_tensors(replace(head, hair=(empty,)))
    assert all(t.size for t in tensors.values())
    assert [h.vertices.shape for h in tensors_to_head(tensors).hair] == [(0, 3)]


def test_views_come_back_as_they_were_and_their_pixels_are_not_copied(view: PhotoView) -> None:
    face = replace(view.face, quality=replace(view.face.quality, reasons=("blurred",), measures={"x": 1 / 3}))
    other = PhotoView(replace(view.photo, pixels=view.photo.pixels[:200, :100], focal_px=1234.5), face, view.mask)
    parts = views_to_tensors([view, other], OPTIONS, "open")
    assert np.shares_memory(parts["pixels"][0], view.photo.pixels)
    tensors = joined([view, other])
    header, back = tensors_to_views(tensors)
    assert header.options == OPTIONS and header.engine == "open"
    for given, found in zip([view, other], back, strict=True):
        np.testing.assert_array_equal(given.photo.pixels, found.photo.pixels)
        np.testing.assert_array_equal(given.mask.alpha, found.mask.alpha)
        np.testing.assert_array_equal(given.mask.to_crop, found.mask.to_crop)
        assert np.shares_memory(found.photo.pixels, tensors["pixels"])
        assert not np.shares_memory(found.face.landmarks, tensors["landmarks"])
        assert (found.photo.focal_px, found.photo.name) == (given.photo.focal_px, given.photo.name)
        assert found.face.quality == given.face.quality


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        (
            "neutral",
            lambda a: a[:-1],
            r"tensor posed to be FP32 \[V, 3\] with V = 29, found float32 \[30, 3\]",
        ),
        ("posed", lambda a: a.astype(np.float64), r"posed.*found float64"),
        ("texture_weight", lambda a: a[:, :7], r"texture_weight to be FP32 \[S, S\]"),
        ("hair_vertices", lambda a: a[:-1], r"hair_vertices to have 33 elements, found 30|hair_uv"),
        ("hair_colours", lambda a: a[:-4], "hair_colours to have 56 elements, found 52"),
        ("expressions", lambda a: a[:1], "expected tensor gazes"),
    ],
)
def test_heads_whose_tensors_do_not_fit_are_refused_by_name(name: str, change: Any, says: str, head: Head) -> None:
    tensors = head_to_tensors(head)
    with pytest.raises(MessageInvalid, match=says):
        tensors_to_head({**tensors, name: change(tensors[name])})


def test_missing_and_unknown_tensors_are_named(head: Head) -> None:
    tensors = head_to_tensors(head)
    del tensors["posed"]
    with pytest.raises(MessageInvalid, match="found posed missing and none unknown"):
        tensors_to_head(tensors)
    with pytest.raises(MessageInvalid, match="lighting missing"):
        tensors_to_head({n: t for n, t in head_to_tensors(head).items() if n != "lighting"})
    with pytest.raises(MessageInvalid, match="found none missing and more unknown"):
        tensors_to_head({**head_to_tensors(head), "more": np.zeros(1, np.uint8)})


def with_header(tensors: dict[str, Any], **changes: Any) -> dict[str, Any]:
    header = {**json.loads(tensors["views_header"].tobytes()), **changes}
    return {**tensors, "views_header": np.frombuffer(json.dumps(header).encode(), np.uint8)}


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"format": "maquette-tensors/2"}, ServiceMismatch, "of format maquette-tensors/1, found maquette-tensors/2"),
        ({"maquette": "7"}, ServiceMismatch, "of maquette .*, found 7"),
        ({"views": []}, MessageInvalid, "views"),
        ({"engine": 3}, MessageInvalid, "engine"),
        ({"more": 1}, MessageInvalid, "more"),
        ({"options": {"texture": "gold"}}, MessageInvalid, "options.texture"),
    ],
)
def test_headers_that_say_something_else_are_refused(
    changes: dict[str, Any], kind: type[MaquetteError], says: str, view: PhotoView
) -> None:
    with pytest.raises(kind, match=says):
        tensors_to_views(with_header(joined([view]), **changes))


@pytest.mark.parametrize("size", [[0, 10], [-1, -786432], [10**9, 10**9], [512, 511]])
def test_sizes_that_a_tensor_cannot_have_are_refused(size: list[int], view: PhotoView) -> None:
    tensors = joined([view])
    part = json.loads(tensors["views_header"].tobytes())["views"][0]
    with pytest.raises(MessageInvalid, match="expected tensor pixels to hold"):
        tensors_to_views(with_header(tensors, views=[{**part, "size": size}]))


def test_what_is_wrong_with_a_header_is_told_without_what_it_says(view: PhotoView) -> None:
    tensors = joined([view])
    part = json.loads(tensors["views_header"].tobytes())["views"][0]
    with pytest.raises(MessageInvalid) as caught:
        tensors_to_views(with_header(tensors, views=[{**part, "yaw": "Ada Lovelace.jpg"}]))
    assert "yaw" in str(caught.value) and "Ada" not in str(caught.value)


def test_an_error_comes_back_as_itself() -> None:
    error = FaceUnusable("a.jpg: expected\nü, found 90°", photo="a.jpg", yaw=90.0, reasons=["covered"])
    line = to_line(error)
    assert line.isascii() and "\n" not in line
    back = from_line(line)
    assert type(back) is FaceUnusable
    assert str(back) == "a.jpg: expected ü, found 90°"
    assert back.detail == error.detail


def test_an_unknown_failure_does_not_tell_what_it_holds() -> None:
    line = to_line(ValueError("the photo of Ada"))
    back = from_line(line)
    assert type(back) is MaquetteError and "Ada" not in line


def test_an_error_is_short_enough_for_a_header() -> None:
    line = to_line(FaceUnusable("°" * 5000, much="x" * 50_000))
    assert len(line) < 8000
    assert type(from_line(line)) is FaceUnusable


@pytest.mark.parametrize("text", ["", "Stub process is not healthy", "[]", "3", '{"maquette_error": {"code": "x"}}'])
def test_what_triton_says_itself_is_none_of_ours(text: str) -> None:
    assert from_line(text) is None


def test_a_code_of_another_release_is_still_an_error_of_ours() -> None:
    line = to_line(FaceUnusable("words")).replace("face_unusable", "face_strange")
    back = from_line(line)
    assert type(back) is ServiceError
    assert back.detail["remote_code"] == "face_strange"


def test_lent_arrays_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    array = np.arange(12.0).reshape(3, 4)
    before = sys.getrefcount(array)
    taken = np.from_dlpack(Lent(array))
    np.testing.assert_array_equal(taken, array)
    assert np.shares_memory(taken, array)
    assert sys.getrefcount(array) > before
    del taken
    gc.collect()
    assert sys.getrefcount(array) == before
    assert complaints == []


def test_arrays_that_dlpack_cannot_lend_are_copied() -> None:
    frozen = np.arange(6.0).reshape(2, 3)
    frozen.flags.writeable = False
    for array in (frozen, np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(12.0).reshape(2, 6)[:, ::2]):
        np.testing.assert_array_equal(np.from_dlpack(Lent(array)), array)


def config_of(model: str) -> Any:
    text = (shipped_repository() / model / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize(("model", "inputs"), [("open", VIEWS), ("open_complete", COMPLETE)])
def test_the_configurations_declare_the_tensors_of_the_code(model: str, inputs: dict[str, Tensor]) -> None:
    config = config_of(model)
    assert config.name == model
    for declared, expected in ((config.input, inputs), (config.output, HEAD)):
        found = {t.name: (model_config_pb2.DataType.Name(t.data_type), list(t.dims)) for t in declared}
        assert found == {n: (f"TYPE_{t.datatype}", t.dims) for n, t in expected.items()}
    assert config.parameters["format"].string_value == FORMAT
    assert config.parameters["engine"].string_value == "open"


@pytest.mark.parametrize("model", ["open", "open_complete"])
def test_the_configurations_bound_the_queue_and_rehearse_before_they_are_ready(model: str) -> None:
    config = config_of(model)
    policy = config.dynamic_batching.default_queue_policy
    assert policy.max_queue_size > 0 and policy.allow_timeout_override
    (warmup,) = config.model_warmup
    assert set(warmup.inputs) == {t.name for t in config.input}
    assert all(i.zero_data for i in warmup.inputs.values())
    assert is_rehearsal(np.zeros(warmup.inputs["views_header"].dims, np.uint8))
    assert (model == "open") == all(t.allow_ragged_batch for t in config.input)


def test_a_request_is_not_taken_for_a_rehearsal(view: PhotoView) -> None:
    assert not is_rehearsal(joined([view])["views_header"])


def test_a_message_put_together_here_is_the_one_that_protobuf_makes(view: PhotoView) -> None:
    tensors = views_to_tensors([view, view], OPTIONS, "open")
    found = service_pb2.ModelInferRequest.FromString(infer_message("open", tensors, 1.5, 10**9))
    expected = service_pb2.ModelInferRequest(model_name="open")
    expected.parameters["timeout"].int64_param = 1_500_000
    for name, parts in tensors.items():
        whole = np.concatenate(parts)[None]
        expected.inputs.add(name=name, datatype=VIEWS[name].datatype, shape=whole.shape)
        expected.raw_input_contents.append(whole.tobytes())
    assert found == expected
