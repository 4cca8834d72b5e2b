import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from maquette.errors import MessageInvalid
from maquette.headfile import FORMAT, decode_head, encode_head, read_head_header, topology_of
from maquette.headmodel import load_head_model
from maquette.result import Result
from maquette.types import Caution, Head, Textures


@pytest.fixture(scope="module")
def head(result: Result) -> Head:
    return result.head


@pytest.fixture(scope="module")
def coarse(head: Head) -> Head:
    """As the reconstructor's first answer is: no textures, no hair; here with two views and warnings."""
    view = head.fit.views[0]
    other = dataclasses.replace(view, camera=dataclasses.replace(view.camera, focal=np.nextafter(1e3, 2e3)))
    warnings = (Caution("too_small", "the face in “Ännchen.jpg” is small"), Caution("blurred", ""))
    fit = dataclasses.replace(head.fit, views=(view, other), warnings=warnings)
    return dataclasses.replace(head, fit=fit, textures=None, hair=())


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def edited(data: bytes, **changes: Any) -> bytes:
    """A head file with some of its header changed."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["maquette"])
    return save(load(data), {"maquette": json.dumps(header | changes)})


def rearranged(data: bytes, **arrays: np.ndarray | None) -> bytes:
    """A head file with some of its arrays changed (dots in names written as two underscores) or left out."""
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    named = {name.replace("__", "."): array for name, array in arrays.items()}
    kept = {n: a for n, a in (load(data) | named).items() if a is not None}
    return save(kept, metadata)


def test_a_head_with_everything_comes_back_as_it_was_and_makes_the_same_bytes(head: Head) -> None:
    assert head.hair
    assert head.textures is not None
    assert head.fit.warnings
    data = encode_head(head)
    back = decode_head(data)
    assert same(back, head)
    assert encode_head(back) == data


def test_a_coarse_head_of_several_photos_comes_back_too(coarse: Head) -> None:
    data = encode_head(coarse)
    assert same(decode_head(data), coarse)
    assert encode_head(decode_head(data)) == data


@pytest.mark.parametrize("left_out", ["displacement", "normal"])
def test_each_optional_map_may_be_absent_on_its_own(head: Head, left_out: str) -> None:
    assert head.textures is not None
    textures: Textures = dataclasses.replace(head.textures, **{left_out: None})
    back = decode_head(encode_head(dataclasses.replace(head, textures=textures)))
    assert same(back.textures, textures)


def test_arrays_that_lie_otherwise_in_memory_make_the_same_bytes(head: Head) -> None:
    turned = dataclasses.replace(head, neutral=np.asfortranarray(head.neutral), posed=head.posed[::-1][::-1])
    assert encode_head(turned) == encode_head(head)


def test_decoded_arrays_can_be_written_to(coarse: Head) -> None:
    decode_head(encode_head(coarse)).neutral[0] = 0


def test_the_header_names_the_mesh_and_the_terms(head: Head) -> None:
    header = read_head_header(encode_head(head))
    model = load_head_model()
    assert (header.topology.id, header.topology.version) == (model.topology, model.version)
    assert (header.engine, header.licence, header.format) == (head.engine, head.licence, FORMAT)
    assert header.hair == tuple(h.name for h in head.hair)


@pytest.mark.parametrize(
    ("model", "expected"), [("FLAME 2020", ("FLAME", "2020")), ("somebody's", ("somebody's", "")), ("", ("", ""))]
)
def test_the_mesh_of_another_engine_is_called_after_its_model(
    coarse: Head, model: str, expected: tuple[str, str]
) -> None:
    other = dataclasses.replace(coarse, model=model)
    topology = topology_of(other)
    assert (topology.id, topology.version) == expected
    assert same(decode_head(encode_head(other)), other)


def test_the_file_is_what_others_read_too(coarse: Head, tmp_path: Path) -> None:
    arrays = load(encode_head(coarse))
    assert np.array_equal(arrays["neutral"], coarse.neutral)
    assert np.array_equal(arrays["views.1.rotation"], coarse.fit.views[1].camera.rotation)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"posed": np.zeros((5, 3), np.float32)},
            r"expected posed .* float32 \(V, 3\) with V = \d+, found float32 \(5",
        ),
        ({"neutral": np.zeros((5, 3), np.float32)}, "expected"),
        ({"identity": np.zeros(9, np.float64)}, r"identity .* float32 \(K\), found float64 \(9\)"),
        ({"determined": None}, "found determined missing and none unknown"),
        ({"extra": np.zeros(1, np.float32)}, "found none missing and extra unknown"),
        ({"views__0__expression": np.zeros(53, np.float32)}, r"found float32 \(53\)"),
        ({"views__0__rotation": np.zeros((3, 3), np.float32)}, "found float32"),
        ({"textures__weight": np.zeros((4, 4), np.float32)}, "unknown"),
    ],
)
def test_arrays_that_do_not_fit_are_named(coarse: Head, changes: dict, message: str) -> None:
    with pytest.raises(MessageInvalid, match=message):
        decode_head(rearranged(encode_head(coarse), **changes))


def test_a_mesh_that_is_not_the_one_it_claims_to_be_is_refused(coarse: Head) -> None:
    names = ("neutral", "posed", "uncertainty", "determined")
    arrays = {n: load(encode_head(coarse))[n][:100] for n in names}
    with pytest.raises(MessageInvalid, match="topology maquette-head-1, found 100"):
        decode_head(rearranged(encode_head(coarse), **arrays))


def test_an_array_of_another_type_does_not_get_into_a_file(coarse: Head) -> None:
    wrong = dataclasses.replace(coarse, neutral=coarse.neutral.astype(np.float64))
    with pytest.raises(MessageInvalid, match="expected neutral"):
        encode_head(wrong)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "maquette-head/2"}, "format maquette-head/1, found maquette-head/2"),
        ({"format": None}, "maquette-head/1, found None"),
        ({"views": []}, "views"),
        ({"views": [{"focal": "x", "width": 1, "height": 1}] * 2}, "views.0.focal"),
        ({"secret": 1}, "secret"),
        ({"textures": ["photo"]}, "textures"),
        ({"textures": ["photo", "albedo", "weight", "lighting", "gloss"]}, "textures"),
        ({"hair": ["a"]}, "missing"),
    ],
)
def test_headers_that_do_not_fit_are_named(coarse: Head, changes: dict, message: str) -> None:
    with pytest.raises(MessageInvalid, match=message):
        decode_head(edited(encode_head(coarse), **changes))


def test_what_a_wrong_header_says_is_not_repeated(coarse: Head) -> None:
    with pytest.raises(MessageInvalid) as caught:
        decode_head(edited(encode_head(coarse), engine={"name": "anna_smith.jpg"}))
    assert "anna_smith" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"x", bytes(8), b"\xff" * 64, (1 << 40).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"{}"],
)
def test_bytes_that_are_no_head_are_refused(data: bytes) -> None:
    with pytest.raises(MessageInvalid):
        decode_head(data)


def test_other_safetensors_files_are_refused() -> None:
    for metadata in (None, {"format": "pt"}, {"maquette": "["}, {"maquette": "5"}, {"maquette": "[" * 100_000}):
        with pytest.raises(MessageInvalid):
            decode_head(save({"a": np.zeros(2, np.float32)}, metadata))


def test_damaged_files_are_refused_or_are_heads_but_never_anything_else(coarse: Head) -> None:
    data = bytearray(encode_head(coarse))
    rng = np.random.default_rng(7)
    header = 8 + int.from_bytes(data[:8], "little")
    refused = 0
    for n in range(300):
        damaged = bytearray(data)
        if n % 3 == 0:
            del damaged[rng.integers(len(data)) :]
        else:
            for at in rng.integers(header, size=rng.integers(1, 4)):
                damaged[at] = rng.integers(256)
        try:
            decode_head(bytes(damaged))
        except MessageInvalid:
            refused += 1
    assert refused > 200
