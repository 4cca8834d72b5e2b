import dataclasses
import io

import numpy as np
import pytest
import trimesh
from PIL import Image

from maquette.errors import MeshInvalid
from maquette.rooms import ReconstructOptions
from services.meshproc.exports import Meshproc
from tests.meshproc.conftest import make_view
from tests.meshproc.readers import read_obj, read_ply

OBJ = [
    "head.obj",
    "head.mtl",
    "head_albedo.png",
    "head_normal.png",
    "head_displacement.png",
    "head_displacement.tif",
    "head_detailed.obj",
    "head_hair_cap_1.png",
    "head_hair_cap_1_alpha.png",
    "head_hair_brows.png",
    "head_hair_brows_alpha.png",
]
PICTURES = ["preview.png", "overlay.png"]


@pytest.fixture(scope="module")
def room(model):
    return Meshproc(model)


@pytest.fixture(scope="module")
def view(model, head):
    return make_view(model, head)


@pytest.fixture(scope="module")
def products(room, head, view, options):
    return list(room.products(head, [view], options))


def named(products):
    return {p.name: p.data for p in products}


def test_files_come_in_the_order_asked_for_and_pictures_last(room, head, view, products, options):
    assert [p.name for p in products] == [*OBJ, "head.glb", "head.ply", "print.stl", *PICTURES]
    other = dataclasses.replace(options, formats=("stl", "ply"), detail=False)
    assert [p.name for p in room.products(head, [view], other)] == ["print.stl", "head.ply", *PICTURES]


def test_the_same_head_makes_the_same_bytes(model, head, view, options, products):
    again = Meshproc(model).products(head, [view], options)
    assert [p.sha256 for p in again] == [p.sha256 for p in products]


def test_files_that_the_materials_name_are_there(products):
    files = named(products)
    text = files["head.mtl"].decode()
    words = [line.split() for line in text.splitlines()]
    pictures = {line[-1] for line in words if line[0] in ("map_Kd", "map_d", "norm", "disp")}
    assert len(pictures) == 7 and pictures <= set(files)
    assert read_obj(files["head.obj"]).materials == "head.mtl" == read_obj(files["head_detailed.obj"]).materials


def test_displacement_is_in_both_files_the_same(head, products):
    files = named(products)
    with Image.open(io.BytesIO(files["head_displacement.tif"])) as image:
        exact = np.asarray(image)
    assert (exact == head.textures.displacement).all()
    with Image.open(io.BytesIO(files["head_displacement.png"])) as image:
        levels = np.asarray(image, np.float64)
    assert np.abs((levels - 32768) / 32767 * 5 - exact).max() < 1e-4


def test_formats_agree_on_where_the_skin_is(model, head, products):
    files = named(products)
    vertices, _ = read_ply(files["head.ply"])
    detailed = read_obj(files["head_detailed.obj"]).vertices
    ply = np.stack([vertices[c] for c in "xyz"], 1)
    assert len(ply) == len(detailed) and np.abs(ply - detailed).max() < 0.001
    coarse = read_obj(files["head.obj"]).vertices[: len(model.mean)]
    assert np.percentile(np.abs(coarse - ply[: len(model.mean)]), 99) < 0.7
    solid = trimesh.load(io.BytesIO(files["print.stl"]), file_type="stl")
    assert solid.is_watertight and solid.volume > 0
    assert np.ptp(solid.bounds[:, 0]) == pytest.approx(np.ptp(ply[:, 0]), abs=1)


def test_a_neutral_head_is_neutral_in_every_file_and_its_hair_sits_on_it(model, room, head, view, options):
    neutral = dataclasses.replace(options, expression="neutral", formats=("obj",), detail=False)
    files = named(room.products(head, [view], neutral))
    read = read_obj(files["head.obj"])
    assert np.abs(read.vertices[: len(model.mean)] - head.neutral).max() < 0.001
    brows = np.array(read.corners("hair_brows"))
    skin = head.neutral[model.region("brow_left") | model.region("brow_right")]
    away = np.linalg.norm(read.vertices[brows[:, 0]][:, None] - skin[None], axis=2).min(1)
    assert away.max() < 1.6
    assert set(PICTURES) <= set(files)


def test_without_detail_there_is_no_displacement_anywhere(room, head, view, options):
    plain = dataclasses.replace(options, detail=False, formats=("obj", "ply"), texture="photo")
    files = named(room.products(head, [view], plain))
    assert set(files) == {"head.obj", "head.mtl", "head_photo.png", "head.ply", *PICTURES, *OBJ[7:]}
    with Image.open(io.BytesIO(files["head_photo.png"])) as image:
        assert (np.asarray(image) == head.textures.photo).all()
    assert len(read_ply(files["head.ply"])[0]) == len(head.posed)


def test_a_head_without_pictures_or_hair_has_every_format(room, head, view):
    bare = dataclasses.replace(head, textures=None, hair=())
    files = named(room.products(bare, [view], ReconstructOptions()))
    assert set(files) == {"head.obj", "head.mtl", "head.glb", "head.ply", "print.stl", *PICTURES}


def test_the_print_is_as_tall_as_asked_for(room, head, view, options):
    small = dataclasses.replace(options, formats=("stl",), size_mm=120.0, detail=False)
    solid = trimesh.load(io.BytesIO(next(room.products(head, [view], small)).data), file_type="stl")
    assert solid.bounds[:, 2].tolist() == pytest.approx([0, 120], abs=1e-3)


def test_a_head_of_another_model_is_refused(room, head, view, options):
    other = dataclasses.replace(head, neutral=head.neutral[:-1], posed=head.posed[:-1])
    with pytest.raises(MeshInvalid, match="expected vertices of shape"):
        next(room.products(other, [view], options))
