"""The small GLB that is shown first."""

import dataclasses
import io
import math

import numpy as np
import pytest
import trimesh

from maquette.errors import MeshInvalid
from maquette.headmodel import HeadModel
from maquette.types import Head
from services.meshproc.files import MeshLimits, read_mesh
from services.meshproc.inspection import inspect
from services.meshproc.mesh import PARTS
from services.meshproc.preview_glb import write_preview
from tests.meshproc.readers import read_glb


def test_it_is_small_and_the_same_each_time(model: HeadModel, head: Head) -> None:
    data = write_preview(model, head)
    assert len(data) < 1_000_000
    assert data == write_preview(model, head)


def test_a_coarse_head_and_a_complete_one_have_the_same_preview(model: HeadModel, head: Head) -> None:
    coarse = dataclasses.replace(head, textures=None, hair=())
    assert write_preview(model, coarse) == write_preview(model, head)


def test_it_shows_the_posed_head_in_metres_with_its_terms(model: HeadModel, head: Head) -> None:
    data = write_preview(model, head)
    found = read_glb(data)
    assert found.json["asset"]["copyright"] == head.licence
    assert found.json["asset"]["extras"]["engine"] == head.engine
    assert [m["name"] for m in found.json["materials"]] == list(PARTS)
    scene = trimesh.load_scene(io.BytesIO(data), file_type="glb")
    assert np.allclose(scene.bounds * 1000, [head.posed.min(0), head.posed.max(0)], atol=1e-3)
    mesh = read_mesh(data, "model/gltf-binary", MeshLimits())
    assert len(mesh.triangles) == len(model.triangles)
    assert inspect(mesh).area_mm2 == pytest.approx(
        trimesh.Trimesh(head.posed, model.triangles, process=False).area, rel=1e-4
    )


def test_a_head_of_another_model_is_refused(model: HeadModel, head: Head) -> None:
    with pytest.raises(MeshInvalid, match="expected vertices"):
        write_preview(model, dataclasses.replace(head, posed=head.posed[:-1]))
    broken = head.posed.copy()
    broken[0] = math.nan
    with pytest.raises(MeshInvalid, match="finite"):
        write_preview(model, dataclasses.replace(head, posed=broken))


def test_the_eyes_look_where_the_head_looks(model: HeadModel, head: Head) -> None:
    found = read_glb(write_preview(model, head))
    primitive = found.json["meshes"][0]["primitives"][list(PARTS).index("eyes")]
    points = found.accessor(primitive["attributes"]["POSITION"]) * 1000
    pupils = points[found.accessor(primitive["attributes"]["COLOR_0"]).max(1) < 0.05]
    for landmark in (468, 473):
        iris = model.landmarks(head.posed)[landmark]
        near = pupils[np.linalg.norm(pupils - iris, axis=1) < 15]
        assert len(near) > 5
        assert np.linalg.norm(near.mean(0) - iris) < 1.5
