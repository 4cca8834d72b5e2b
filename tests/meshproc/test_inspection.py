"""Figures about meshes whose figures are known."""

import math

import numpy as np
import pytest
import trimesh

from services.meshproc.files import TriangleMesh
from services.meshproc.inspection import inspect


def box(*size: float) -> trimesh.Trimesh:
    return trimesh.creation.box(size or (10.0, 20.0, 30.0))


def ours(mesh: trimesh.Trimesh) -> TriangleMesh:
    return TriangleMesh(np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int32))


def soup(mesh: TriangleMesh) -> TriangleMesh:
    corners = mesh.vertices[mesh.triangles].reshape(-1, 3)
    return TriangleMesh(corners, np.arange(len(corners), dtype=np.int32).reshape(-1, 3))


def test_a_box_is_what_a_box_is() -> None:
    for mesh in (ours(box()), soup(ours(box()))):
        figures = inspect(mesh)
        assert (figures.vertices, figures.triangles, figures.components) == (8, 12, 1)
        assert (figures.boundary_edges, figures.non_manifold_edges, figures.degenerate_triangles) == (0, 0, 0)
        assert figures.watertight
        assert figures.oriented
        assert figures.solid
        assert figures.area_mm2 == pytest.approx(2200)
        assert figures.volume_mm3 == pytest.approx(6000)
        assert figures.lower_mm == (-5, -10, -15)
        assert figures.upper_mm == (5, 10, 15)


def test_a_ball_far_away_keeps_its_volume() -> None:
    ball = ours(trimesh.creation.icosphere(5, radius=1))
    ball.vertices[:] += 100_000
    figures = inspect(ball)
    assert figures.volume_mm3 == pytest.approx(4 / 3 * math.pi, rel=5e-3)
    assert figures.solid


def test_a_hole_has_a_rim() -> None:
    mesh = ours(box())
    figures = inspect(TriangleMesh(mesh.vertices, mesh.triangles[1:]))
    assert figures.boundary_edges == 3
    assert not figures.watertight
    assert not figures.solid
    assert figures.volume_mm3 is None


def test_a_triangle_that_faces_the_other_way_is_seen() -> None:
    mesh = ours(box())
    mesh.triangles[0] = mesh.triangles[0, ::-1]
    figures = inspect(mesh)
    assert figures.watertight
    assert not figures.oriented
    assert not figures.solid
    assert figures.volume_mm3 is None


def test_a_box_inside_out_is_no_solid() -> None:
    mesh = ours(box())
    figures = inspect(TriangleMesh(mesh.vertices, mesh.triangles[:, ::-1].copy()))
    assert figures.watertight
    assert figures.oriented
    assert figures.volume_mm3 == pytest.approx(-6000)
    assert not figures.solid


def test_three_sheets_on_one_edge_are_no_surface() -> None:
    vertices = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [-1, 0, 0]], np.float64)
    figures = inspect(TriangleMesh(vertices, np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4]], np.int32)))
    assert figures.non_manifold_edges == 1
    assert figures.boundary_edges == 6
    assert figures.components == 1


def test_parts_that_touch_in_a_point_are_two() -> None:
    one, other = box(2, 2, 2), box(2, 2, 2)
    other.apply_translation((2, 2, 2))
    figures = inspect(ours(trimesh.util.concatenate([one, other])))
    assert figures.components == 2
    assert figures.vertices == 15
    assert figures.watertight


def test_triangles_without_area_are_counted_and_hold_nothing_together() -> None:
    mesh = ours(box())
    needle = np.array([[0, 0, 1]], np.int32)
    figures = inspect(TriangleMesh(mesh.vertices, np.concatenate([mesh.triangles, needle])))
    assert figures.triangles == 13
    assert figures.degenerate_triangles == 1
    assert figures.watertight
    flat = TriangleMesh(np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2.0]]), np.array([[0, 1, 2]], np.int32))
    assert inspect(flat).degenerate_triangles == 1


def test_negative_zero_is_zero_and_unused_vertices_do_not_count() -> None:
    vertices = np.array([[0.0, 0, 0], [-0.0, 0, -0.0], [1, 0, 0], [0, 1, 0], [99, 99, 99]])
    figures = inspect(TriangleMesh(vertices, np.array([[0, 2, 3], [1, 3, 2]], np.int32)))
    assert figures.vertices == 3
    assert figures.upper_mm == (1, 1, 0)
    assert figures.watertight


def test_a_mesh_of_nothing_but_points_has_figures_too() -> None:
    figures = inspect(TriangleMesh(np.zeros((3, 3)), np.array([[0, 1, 2]], np.int32)))
    assert (figures.vertices, figures.components, figures.degenerate_triangles) == (1, 0, 1)
    assert not figures.watertight
    assert not figures.solid
