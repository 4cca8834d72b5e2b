import dataclasses
import io

import numpy as np
import pytest
import trimesh

from maquette.geometry.surface import vertex_normals
from services.meshproc.detail import detailed_mesh, refined
from services.meshproc.exports import Meshproc
from services.meshproc.materials import maps_of, sample
from services.meshproc.mesh import model_mesh
from services.meshproc.ply import write_ply
from tests.meshproc.readers import read_ply


def doubtful(head):
    """A head that is less certain from front to back."""
    depth = head.neutral[:, 2].max() - head.neutral[:, 2]
    fit = dataclasses.replace(
        head.fit, uncertainty=(1 + depth / 50).astype(np.float32), determined=(0.9 - depth / 500).astype(np.float32)
    )
    return dataclasses.replace(head, fit=fit)


def certainty(head):
    return np.stack([head.fit.uncertainty, head.fit.determined], 1)


def stacked(vertices, names):
    return np.stack([vertices[n] for n in names], 1)


@pytest.mark.parametrize("fine", [False, True])
def test_geometry_normals_and_faces_come_back(model, head, options, fine):
    mesh = detailed_mesh(model, head.posed, None) if fine else model_mesh(model, head.posed)
    certain = refined(model, certainty(head)) if fine else certainty(head)
    vertices, faces = read_ply(write_ply(head, mesh, maps_of(head, options), certain))
    assert (stacked(vertices, "xyz") == mesh.vertices).all()
    assert (faces == mesh.triangles).all()
    expected = vertex_normals(mesh.vertices, mesh.triangles)
    assert np.abs(stacked(vertices, ("nx", "ny", "nz")) - expected).max() < 1e-6


def test_colours_are_those_of_the_picture(model, head, options):
    flat = np.zeros((64, 64, 3), np.uint8)
    flat[:, :32], flat[:, 32:] = (250, 10, 20), (30, 40, 240)
    painted = dataclasses.replace(head, textures=dataclasses.replace(head.textures, albedo=flat))
    mesh = model_mesh(model, head.posed)
    vertices, _ = read_ply(write_ply(painted, mesh, maps_of(painted, options), certainty(painted)))
    colours = stacked(vertices, ("red", "green", "blue"))
    left, right = mesh.vertex_uv[:, 0] < 0.45, mesh.vertex_uv[:, 0] > 0.55
    assert (colours[left] == (250, 10, 20)).all() and (colours[right] == (30, 40, 240)).all()


def test_a_head_without_pictures_has_a_colour_for_each_part(model, head):
    vertices, _ = read_ply(write_ply(head, model_mesh(model, head.posed), None, certainty(head)))
    colours = stacked(vertices, ("red", "green", "blue"))
    assert len(np.unique(colours[model.part("skin")], axis=0)) == 1
    assert len(np.unique(colours, axis=0)) == 5


def test_another_reader_finds_the_same_surface(model, head, options):
    mesh = model_mesh(model, head.posed)
    data = write_ply(head, mesh, maps_of(head, options), certainty(head))
    loaded = trimesh.load(io.BytesIO(data), file_type="ply", process=False)
    assert np.abs(loaded.vertices - head.posed).max() < 1e-5 and (loaded.faces == model.triangles).all()
    assert loaded.visual.vertex_colors.shape == (len(head.posed), 4)


def test_the_finer_mesh_carries_how_certain_each_vertex_is(model, head, options):
    told = doubtful(head)
    (data,) = [
        p.data
        for p in Meshproc(model).products(told, (), dataclasses.replace(options, formats=("ply",)))
        if p.name == "head.ply"
    ]
    vertices, _ = read_ply(data)
    own = stacked(vertices, ("uncertainty_mm", "determined"))
    v = len(head.neutral)
    assert len(own) > 2 * v
    assert np.abs(own[:v] - certainty(told)).max() < 1e-6
    assert own[v:, 0].min() >= told.fit.uncertainty.min() and own[v:, 0].max() <= told.fit.uncertainty.max()
    # What lies between two vertices is as certain as their mean; depth is linear, so that it tells which they are.
    loaded = trimesh.load(io.BytesIO(data), file_type="ply", process=False)
    raw = loaded.metadata["_ply_raw"]["vertex"]["data"]
    assert np.asarray(raw["uncertainty_mm"]).ravel() == pytest.approx(own[:, 0])


def test_sampling_averages_between_texels_and_stops_at_the_border():
    picture = np.array([[[0], [100]], [[200], [60]]], np.uint8)
    uv = np.array([[0.25, 0.75], [0.75, 0.25], [0.5, 0.5], [0.0, 1.0], [1.0, 0.0]], np.float32)
    assert sample(picture, uv)[:, 0].tolist() == [0, 60, 90, 0, 60]
