import io

import numpy as np
import pytest
import trimesh

from maquette.errors import MeshInvalid
from services.meshproc.mesh import model_mesh
from services.meshproc.solid import Solid, build_solid
from services.meshproc.stl import write_stl


@pytest.fixture(scope="module")
def solid(model, head):
    return build_solid(model, model_mesh(model, head.posed))


def loaded(data: bytes) -> trimesh.Trimesh:
    return trimesh.load(io.BytesIO(data), file_type="stl")


def cube(x: float = 0.0) -> Solid:
    box = trimesh.creation.box(bounds=[[x, 0, 0], [x + 1, 1, 1]])
    return Solid(np.asarray(box.vertices, np.float32), np.asarray(box.faces, np.int32))


def together(a: Solid, b: Solid) -> Solid:
    return Solid(np.concatenate([a.vertices, b.vertices]), np.concatenate([a.triangles, b.triangles + len(a.vertices)]))


def test_it_reloads_watertight_with_the_solids_volume(solid):
    mesh = loaded(write_stl(solid, None))
    own = trimesh.Trimesh(solid.vertices, solid.triangles, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert mesh.volume == pytest.approx(own.volume, rel=1e-5)
    assert len(mesh.faces) == len(solid.triangles)


def test_it_stands_upright_on_the_bed_and_faces_the_front(model, head, solid):
    mesh = loaded(write_stl(solid, None))
    low, high = mesh.bounds
    assert low[2] == pytest.approx(0, abs=1e-4)
    assert np.abs((low + high)[:2]).max() < 1e-3
    assert high[2] == pytest.approx(np.ptp(solid.vertices[:, 1]), abs=1e-3)
    nose = head.posed[model.region("nose")].astype(float)
    tip = nose[np.argmax(nose[:, 2])] - head.posed.mean(0)
    front = mesh.vertices[np.argmin(np.where(mesh.vertices[:, 2] > 0.5 * high[2], mesh.vertices[:, 1], np.inf))]
    assert tip[2] > 0 and front[1] < 0 and abs(front[0]) < 20


@pytest.mark.parametrize("height", [10.0, 80.0, 2000.0])
def test_its_height_is_the_one_asked_for(solid, height):
    mesh = loaded(write_stl(solid, height))
    assert np.ptp(mesh.bounds[:, 2]) == pytest.approx(height, rel=1e-5)
    assert mesh.is_watertight and mesh.volume > 0


def test_vertices_in_one_place_stay_apart_for_readers(solid):
    touching = together(cube(), cube(1.0))
    mesh = loaded(write_stl(touching, None))
    assert mesh.is_watertight and mesh.volume == pytest.approx(2, rel=1e-3)
    assert len(np.unique(mesh.vertices, axis=0)) == 16


def test_an_open_surface_is_refused():
    box = cube()
    with pytest.raises(MeshInvalid, match="closed surface"):
        write_stl(Solid(box.vertices, box.triangles[1:]), None)


def test_a_surface_turned_inside_out_is_refused():
    box = cube()
    with pytest.raises(MeshInvalid, match="-1 mm³"):
        write_stl(Solid(box.vertices, box.triangles[:, ::-1]), None)
