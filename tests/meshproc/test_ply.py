import dataclasses
import io

import numpy as np
import pytest
import trimesh

from maquette.geometry.surface import vertex_normals
from services.meshproc.detail import detailed_mesh
from services.meshproc.materials import maps_of, sample
from services.meshproc.mesh import model_mesh
from services.meshproc.ply import write_ply
from tests.meshproc.readers import read_ply


def stacked(vertices, names):
    return np.stack([vertices[n] for n in names], 1)


@pytest.mark.parametrize("fine", [False, True])
def test_geometry_normals_and_faces_come_back(model, head, options, fine):
    mesh = detailed_mesh(model, head.posed, None) if fine else model_mesh(model, head.posed)
    vertices, faces = read_ply(write_ply(head, mesh, maps_of(head, options)))
    assert (stacked(vertices, "xyz") == mesh.vertices).all()
    assert (faces == mesh.triangles).all()
    expected = vertex_normals(mesh.vertices, mesh.triangles)
    assert np.abs(stacked(vertices, ("nx", "ny", "nz")) - expected).max() < 1e-6


def test_colours_are_those_of_the_picture(model, head, options):
    flat = np.zeros((64, 64, 3), np.uint8)
    flat[:, :32], flat[:, 32:] = (250, 10, 20), (30, 40, 240)
    painted = dataclasses.replace(head, textures=dataclasses.replace(head.textures, albedo=flat))
    mesh = model_mesh(model, head.posed)
    vertices, _ = read_ply(write_ply(painted, mesh, maps_of(painted, options)))
    colours = stacked(vertices, ("red", "green", "blue"))
    left, right = mesh.vertex_uv[:, 0] < 0.45, mesh.vertex_uv[:, 0] > 0.55
    assert (colours[left] == (250, 10, 20)).all() and (colours[right] == (30, 40, 240)).all()


def test_a_head_without_pictures_has_a_colour_for_each_part(model, head):
    vertices, _ = read_ply(write_ply(head, model_mesh(model, head.posed), None))
    colours = stacked(vertices, ("red", "green", "blue"))
    assert len(np.unique(colours[model.part("skin")], axis=0)) == 1
    assert len(np.unique(colours, axis=0)) == 5


def test_another_reader_finds_the_same_surface(model, head, options):
    mesh = model_mesh(model, head.posed)
    loaded = trimesh.load(io.BytesIO(write_ply(head, mesh, maps_of(head, options))), file_type="ply", process=False)
    assert np.abs(loaded.vertices - head.posed).max() < 1e-5 and (loaded.faces == model.triangles).all()
    assert loaded.visual.vertex_colors.shape == (len(head.posed), 4)


def test_sampling_averages_between_texels_and_stops_at_the_border():
    picture = np.array([[[0], [100]], [[200], [60]]], np.uint8)
    uv = np.array([[0.25, 0.75], [0.75, 0.25], [0.5, 0.5], [0.0, 1.0], [1.0, 0.0]], np.float32)
    assert sample(picture, uv)[:, 0].tolist() == [0, 60, 90, 0, 60]
