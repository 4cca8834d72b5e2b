import numpy as np
import pytest

from maquette.errors import MeshInvalid
from maquette.geometry.raster import Scene
from maquette.geometry.surface import boundary_edges, triangle_normals, vertex_normals
from services.meshproc.detail import detailed_mesh, grid_of, refined
from services.meshproc.mesh import PARTS, model_mesh
from services.meshproc.refinement import refine, touched_edges


def open_length(vertices, triangles):
    edge = boundary_edges(triangles)
    return np.linalg.norm(vertices[edge[:, 0]] - vertices[edge[:, 1]], axis=1).sum()


def test_a_split_quad_next_to_a_whole_one_leaves_no_gap():
    quads = np.array([[0, 1, 2, 3], [1, 4, 5, 2], [4, 6, 5, 5]], np.int32)
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0], [2, 1, 0], [3, 0, 0]], np.float32)
    split = np.array([True, False, True])
    step = refine(quads, len(points), split, touched_edges(quads, split))
    fine = step.linear(points)
    faces = np.concatenate([step.quads[:, [0, 1, 2]], step.quads[:, [0, 2, 3]]])
    area = triangle_normals(fine, faces)[:, 2] / 2
    assert (area >= 0).all() and area.sum() == pytest.approx(2.5)
    real = faces[area > 0]
    assert open_length(fine, real) == pytest.approx(
        open_length(points, np.array([[0, 1, 2], [0, 2, 3], [1, 4, 5], [1, 5, 2], [4, 6, 5]]))
    )
    assert np.bincount(step.source).tolist() == [4, 6, 3]


def test_a_smoothed_sphere_is_rounder_and_keeps_its_rim():
    angles = np.linspace(0, np.pi / 2, 7)
    a, b = np.meshgrid(angles, np.linspace(0.4, 1.4, 6), indexing="ij")
    sphere = 10 * np.stack([np.cos(a) * np.sin(b), np.sin(a) * np.sin(b), np.cos(b)], 2).reshape(-1, 3).astype(
        np.float32
    )
    number = np.arange(42).reshape(7, 6)
    quads = (
        np.stack([number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]], 2)
        .reshape(-1, 4)
        .astype(np.int32)
    )
    every = np.ones(len(quads), bool)
    step = refine(quads, len(sphere), every, touched_edges(quads, every))
    flat, smooth = step.linear(sphere), step.smooth(sphere)
    assert (smooth[step.fixed] == flat[step.fixed]).all()
    inside = ~step.fixed
    radius, before = np.linalg.norm(smooth[inside], axis=1), np.linalg.norm(flat[inside], axis=1)
    assert radius.std() < 0.6 * before.std() and radius.min() > 9.7


def test_smoothing_takes_unevenness_out_and_leaves_a_plane_as_it_is():
    across = np.arange(9, dtype=np.float32)
    x, y = np.meshgrid(across, across, indexing="ij")
    number = np.arange(81).reshape(9, 9)
    corners = [number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]]
    quads = np.stack(corners, 2).reshape(-1, 4).astype(np.int32)
    every = np.ones(len(quads), bool)
    step = refine(quads, 81, every, touched_edges(quads, every))
    plane = np.stack([x, y, np.zeros_like(x)], 2).reshape(-1, 3)
    assert np.abs(step.smooth(plane)[:, 2]).max() == 0
    rough = plane + np.where((number.reshape(-1) % 2)[:, None] == 0, 0.1, -0.1) * np.array([0, 0, 1])
    inner = (np.abs(step.linear(plane)[:, :2] - 4) < 2.4).all(1)
    smooth, flat = step.smooth(rough.astype(np.float32))[inner, 2], step.linear(rough.astype(np.float32))[inner, 2]
    assert smooth.std() < 0.5 * flat.std()


def test_detailed_mesh_keeps_the_models_vertices_edges_and_texture(model):
    coarse, fine = model_mesh(model, model.mean), detailed_mesh(model, model.mean, None)
    moved = np.linalg.norm(fine.vertices[: len(model.mean)] - model.mean, axis=1)
    assert np.median(moved[model.region("face")]) < 0.15 and moved.max() < 3
    assert not moved[model.part("teeth", "gums", "tongue")].any()
    assert open_length(fine.vertices, fine.triangles) == pytest.approx(
        open_length(coarse.vertices, coarse.triangles), rel=0.02
    )
    flat = [triangle_normals(np.pad(m.uv, ((0, 0), (0, 1))), m.uv_triangles)[:, 2] for m in (coarse, fine)]
    assert np.abs(flat[1]).sum() == pytest.approx(np.abs(flat[0]).sum(), rel=1e-5)
    shares = [[(m.part == k).any() for k in range(len(PARTS))] for m in (coarse, fine)]
    assert shares[0] == shares[1] == [True] * len(PARTS)
    assert len(fine.quads) > 4 * len(coarse.quads)


def test_detailed_mesh_stays_near_the_models_surface(model):
    coarse, fine = model_mesh(model, model.mean), detailed_mesh(model, model.mean, None)
    normals = vertex_normals(fine.vertices, fine.triangles)
    scene = Scene(coarse.vertices, coarse.triangles)
    start = fine.vertices + 2 * normals
    depth = scene.cast(start[::50], -normals[::50]).distance
    assert np.median(np.abs(depth - 2)) < 0.05 and np.percentile(np.abs(depth - 2), 95) < 0.5


def test_displacement_moves_skin_along_its_normals(model):
    plain = detailed_mesh(model, model.mean, None)
    raised = detailed_mesh(model, model.mean, np.full((64, 64), 0.5, np.float32))
    step = raised.vertices - plain.vertices
    moved = grid_of(model).displaced
    assert np.abs(np.linalg.norm(step[moved], axis=1) - 0.5).max() < 1e-3
    assert not step[~moved].any() and not step[: len(model.mean)][~model.part("skin", "mouth", "eye_socket")].any()
    along = np.einsum("vc,vc->v", step[moved], plain.normals[moved])
    assert np.abs(along - 0.5).max() < 1e-3


def test_displacement_is_read_where_the_texture_coordinates_point(model):
    size = 256
    y, x = np.mgrid[0:size, 0:size]
    ramp = ((x + 0.5) / size - 0.5 + 2 * (0.5 - (y + 0.5) / size)).astype(np.float32)
    plain = detailed_mesh(model, model.mean, None)
    step = np.einsum("vc,vc->v", detailed_mesh(model, model.mean, ramp).vertices - plain.vertices, plain.normals)
    expected = plain.vertex_uv[:, 0] - 0.5 + 2 * (plain.vertex_uv[:, 1] - 0.5)
    pairs = grid_of(model).pairs
    single = np.bincount(pairs[:, 0], minlength=len(step)) == 1
    inside = grid_of(model).displaced & single
    assert np.abs(step - expected)[inside].max() < 0.01


def test_values_at_the_models_vertices_reach_the_detailed_ones(model):
    fine = detailed_mesh(model, model.mean, None)
    assert np.abs(refined(model, model.mean) - fine.vertices).max() < 3.0


@pytest.mark.parametrize("displacement", [np.zeros((4, 8), np.float32), np.full((8, 8), np.nan, np.float32)])
def test_a_map_that_is_no_square_or_undefined_is_refused(model, displacement):
    with pytest.raises(MeshInvalid, match="displacement map"):
        detailed_mesh(model, model.mean, displacement)


def test_another_models_vertices_are_refused(model):
    with pytest.raises(MeshInvalid, match="expected vertices of shape"):
        detailed_mesh(model, model.mean[:-1], None)
    broken = model.mean.copy()
    broken[3] = np.nan
    with pytest.raises(MeshInvalid, match="finite"):
        model_mesh(model, broken)
