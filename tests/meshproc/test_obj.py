import dataclasses
import io
import warnings

import numpy as np
import pytest
import trimesh

from maquette.errors import MeshInvalid
from services.meshproc.detail import detailed_mesh
from services.meshproc.materials import hair_names, maps_of
from services.meshproc.mesh import PARTS, model_mesh
from services.meshproc.obj import write_mtl, write_obj
from tests.meshproc.readers import read_obj


@pytest.fixture(scope="module")
def written(model, head):
    return write_obj(head, model_mesh(model, head.posed), head.hair)


def test_vertices_texture_coordinates_and_quads_come_back(model, head, written):
    read = read_obj(written)
    count, texels = len(model.mean), len(model.uv)
    assert np.abs(read.vertices[:count] - head.posed).max() < 0.0006
    assert np.abs(read.uv[:texels] - model.uv).max() < 1e-6
    faces = [tuple(f) for part in PARTS for f in read.corners(part)]
    expected = [tuple(q[:3]) if q[2] == q[3] else tuple(q) for q in model.quads.tolist()]
    assert sorted(faces) == sorted(expected)
    flat = {
        tuple(f): tuple(t) for part in PARTS for f, t in zip(read.corners(part), read.corners(part, 1), strict=True)
    }
    for quad, uv in list(zip(model.quads.tolist(), model.uv_quads.tolist(), strict=True))[::97]:
        size = 3 if quad[2] == quad[3] else 4
        assert flat[tuple(quad[:size])] == tuple(uv[:size])


def test_each_part_is_a_group_with_its_own_material(model, written):
    read = read_obj(written)
    assert {key[1:] for key in read.faces if key[0] == "head"} == {(part, part) for part in PARTS}
    names = np.array(model.component_names)
    for part, components in PARTS.items():
        used = np.unique(np.concatenate([np.array(f) for f in read.corners(part)]))
        assert set(components) <= set(names[model.component[used]])


def test_normals_are_unit_and_point_outwards(model, head, written):
    read = read_obj(written)
    normals = read.normals[: len(model.mean)]
    skin = model.region("scalp")
    assert np.abs(np.linalg.norm(normals[skin], axis=1) - 1).max() < 0.002
    outwards = np.einsum("vc,vc->v", normals[skin], head.posed[skin] - head.posed[skin].mean(0))
    assert (outwards > 0).mean() > 0.95


def test_hair_is_an_object_of_its_own_with_a_material(head, written):
    read = read_obj(written)
    for name, piece in zip(hair_names(head.hair), head.hair, strict=True):
        corners = np.array(read.corners(f"hair_{name}"))
        assert (f"hair_{name}", f"hair_{name}", f"hair_{name}") in read.faces
        assert np.abs(read.vertices[corners] - piece.vertices[piece.triangles]).max() < 0.0006
        assert np.abs(read.uv[np.array(read.corners(f"hair_{name}", 1))] - piece.uv[piece.triangles]).max() < 1e-6


def test_another_reader_finds_the_same_surface(model, head):
    data = write_obj(head, model_mesh(model, head.posed))
    with warnings.catch_warnings():
        # The reader's own, about vertices that have no texture coordinates.
        warnings.simplefilter("ignore", RuntimeWarning)
        loaded = trimesh.load(io.BytesIO(data), file_type="obj", process=False, skip_materials=True)
    own = trimesh.Trimesh(head.posed, model.triangles, process=False)
    assert loaded.area == pytest.approx(own.area, rel=1e-4)
    assert np.abs(loaded.bounds - own.bounds).max() < 0.001


def test_the_detailed_mesh_has_texture_coordinates(model, head):
    fine = detailed_mesh(model, head.posed, head.textures.displacement)
    read = read_obj(write_obj(head, fine, normals=False))
    assert np.abs(read.vertices - fine.vertices).max() < 0.0006
    assert len(read.uv) == len(fine.uv) and not len(read.normals)
    assert sum(len(read.corners(p, 1)) for p in PARTS) == len(fine.quads)


def test_every_material_used_is_defined_and_names_its_pictures(head, options, written):
    text = write_mtl(head, maps_of(head, options), head.hair).decode()
    defined = {line.split()[1] for line in text.splitlines() if line.startswith("newmtl")}
    assert defined == {key[2] for key in read_obj(written).faces}
    assert "map_Kd head_albedo.png" in text and "norm head_normal.png" in text
    assert "disp -mm -5 10 head_displacement.png" in text and "32768 is no displacement" in text
    assert "map_d head_hair_cap_1_alpha.png" in text
    assert (
        "map_Kd head_photo.png"
        in write_mtl(head, maps_of(head, dataclasses.replace(options, texture="photo"))).decode()
    )


def test_a_head_without_pictures_has_plain_colours(head):
    text = write_mtl(head, None).decode()
    assert "map_" not in text and "disp" not in text
    assert len({line for line in text.splitlines() if line.startswith("Kd")}) == len(PARTS)


def test_terms_stand_in_the_file_on_one_line(model, head):
    licensed = dataclasses.replace(head, licence="first line\nf 1 2 3")
    data = write_obj(licensed, model_mesh(model, head.posed))
    assert b"# Terms: first line f 1 2 3\n" in data


def test_faces_beyond_the_vertices_are_refused(model, head):
    mesh = model_mesh(model, head.posed)
    with pytest.raises(MeshInvalid, match="expected faces of"):
        write_obj(head, dataclasses.replace(mesh, vertices=mesh.vertices[:-5]), normals=False)


def test_pieces_of_hair_with_one_name_get_two(head):
    twice = (head.hair[0], dataclasses.replace(head.hair[1], name=head.hair[0].name), head.hair[1])
    assert len(set(hair_names(twice))) == 3
