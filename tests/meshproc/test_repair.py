"""Meshes that are mended, and what is left alone."""

import numpy as np
import pytest
import trimesh

from maquette.errors import MeshInvalid, OptionInvalid
from maquette.headmodel import HeadModel
from maquette.types import Int32
from services.meshproc.files import MeshLimits, TriangleMesh
from services.meshproc.holes import close_holes
from services.meshproc.inspection import inspect
from services.meshproc.mesh import model_mesh
from services.meshproc.repair import Repaired, RepairOptions, repair
from services.meshproc.solid import build_solid

LIMITS = MeshLimits()


def mend(mesh: TriangleMesh, **options: float | int | None) -> Repaired:
    return repair(mesh, RepairOptions(**options), LIMITS)  # type: ignore[arg-type]


def ours(mesh: trimesh.Trimesh) -> TriangleMesh:
    return TriangleMesh(np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int32))


def ball() -> TriangleMesh:
    return ours(trimesh.creation.icosphere(3, radius=40))


def without(mesh: TriangleMesh, *triangles: int) -> TriangleMesh:
    return TriangleMesh(mesh.vertices, np.delete(mesh.triangles, triangles, 0))


@pytest.fixture(scope="module")
def solid(model: HeadModel) -> TriangleMesh:
    made = build_solid(model, model_mesh(model, model.mean))
    return TriangleMesh(made.vertices.astype(np.float64), made.triangles)


def test_a_good_mesh_stays_as_it_is() -> None:
    mended = mend(ball())
    assert mended.actions == ()
    assert np.array_equal(mended.mesh.vertices, ball().vertices)
    assert np.array_equal(mended.mesh.triangles, ball().triangles)


def test_triangles_that_share_no_vertices_are_joined() -> None:
    corners = ball().vertices[ball().triangles].reshape(-1, 3)
    mended = mend(TriangleMesh(corners, np.arange(len(corners), dtype=np.int32).reshape(-1, 3)))
    assert mended.actions == ("merged_vertices",)
    after = inspect(mended.mesh)
    assert after.solid
    assert (after.vertices, after.triangles) == (len(ball().vertices), len(ball().triangles))


def test_a_printed_head_full_of_faults_becomes_a_solid_again(solid: TriangleMesh) -> None:
    rng = np.random.default_rng(1)
    triangles = solid.triangles.copy()
    turned = rng.random(len(triangles)) < 0.3
    triangles[turned] = triangles[turned][:, ::-1]
    broken = TriangleMesh(solid.vertices, triangles[rng.random(len(triangles)) > 0.02])
    before = inspect(broken)
    assert before.boundary_edges > 1000
    assert not before.oriented
    mended = mend(broken)
    after = inspect(mended.mesh)
    assert {"oriented_triangles", "closed_holes"} <= set(mended.actions)
    assert after.solid
    assert after.volume_mm3 == pytest.approx(inspect(solid).volume_mm3, rel=1e-5)


def test_a_large_flat_rim_is_closed_flat(model: HeadModel) -> None:
    head = TriangleMesh(model.mean.astype(np.float64), model.triangles)
    mended = mend(head, min_component_triangles=1000)
    assert mended.actions[-2:] == ("dropped_components", "closed_holes")
    after = inspect(mended.mesh)
    assert after.solid
    assert after.lower_mm == pytest.approx(inspect(head).lower_mm)


def test_a_notched_rim_is_closed_without_leaving_its_plane() -> None:
    outline = np.array([[0, 0], [8, 0], [8, 8], [6, 8], [6, 2], [4, 2], [4, 8], [0, 8]], np.float64)
    here = np.arange(8)
    after = (here + 1) % 8
    walls = np.concatenate([np.stack([here, after, after + 8], 1), np.stack([here, after + 8, here + 8], 1)])
    vertices = np.concatenate([np.c_[outline, np.zeros(8)], np.c_[outline, np.full(8, 5.0)]])
    cup = TriangleMesh(vertices, walls.astype(np.int32))
    assert inspect(cup).boundary_edges == 16
    closed = inspect(close_holes(cup))
    assert closed.solid
    assert closed.area_mm2 == pytest.approx(2 * 52 + 44 * 5)
    assert closed.volume_mm3 == pytest.approx(52 * 5)


@pytest.mark.parametrize("most", [0, 2, 3, 6, None])
def test_only_holes_up_to_the_size_asked_for_are_closed(most: int | None) -> None:
    mesh = ball()
    ring = np.flatnonzero((mesh.triangles == mesh.triangles[0, 0]).any(1))
    small = int(np.flatnonzero(~np.isin(mesh.triangles, mesh.triangles[ring]).any(1))[-1])
    holed = without(mesh, small, *ring)
    rims = len(ring) + 3
    assert inspect(holed).boundary_edges == rims
    left = inspect(mend(holed, max_hole_edges=most).mesh).boundary_edges
    expected = rims if most is not None and most < 3 else len(ring) if most == 3 else 0
    assert left == expected


def test_a_hole_whose_chords_are_taken_gets_a_vertex_in_its_middle() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, -1]], np.float64)
    # A pyramid without its square base, whose diagonals both run through the inside already.
    walls = [[0, 4, 1], [1, 4, 2], [2, 4, 3], [3, 4, 0]]
    inside = [[0, 2, 4], [2, 0, 4], [1, 3, 4], [3, 1, 4]]
    mesh = TriangleMesh(vertices, np.array(walls, np.int32))
    assert inspect(close_holes(mesh)).solid
    crossed = TriangleMesh(vertices, np.array(walls + inside, np.int32))
    closed = close_holes(crossed)
    assert len(closed.vertices) == 6
    known = np.sort(np.array([[0, 2], [1, 3]]), 1).tolist()
    added: Int32 = closed.triangles[len(crossed.triangles) :]
    ends = np.sort(np.stack([added, np.roll(added, -1, 1)], -1).reshape(-1, 2), 1).tolist()
    assert not any(edge in known for edge in ends)


def test_rims_that_meet_in_a_vertex_are_closed_each() -> None:
    mesh = ball()
    vertex = mesh.triangles[0, 0]
    around = np.flatnonzero((mesh.triangles == vertex).any(1))
    apart = [int(f) for f in around[1:] if len(set(mesh.triangles[f]) & set(mesh.triangles[around[0]]) - {vertex}) == 0]
    holed = without(mesh, int(around[0]), apart[0])
    assert inspect(holed).boundary_edges == 6
    after = inspect(mend(holed).mesh)
    assert after.solid
    assert after.area_mm2 == pytest.approx(inspect(mesh).area_mm2)


def test_what_lies_in_the_way_is_removed() -> None:
    mesh = ball()
    a, b, _ = mesh.triangles[0]
    vertices = np.concatenate([mesh.vertices, [[0, 0, 41.0]]])
    wall = np.array([[a, b, len(mesh.vertices)]], np.int32)
    double = mesh.triangles[5:6, [1, 2, 0]]
    needle = np.array([[a, a, b]], np.int32)
    mended = mend(TriangleMesh(vertices, np.concatenate([mesh.triangles, double, needle, wall])))
    assert mended.actions[:2] == ("removed_degenerate_triangles", "removed_duplicate_triangles")
    assert "removed_non_manifold_triangles" in mended.actions
    assert inspect(mended.mesh).solid


def test_small_parts_are_dropped_and_never_all_of_them() -> None:
    crumb = ours(trimesh.creation.box((1, 1, 1)))
    both = TriangleMesh(
        np.concatenate([ball().vertices, crumb.vertices + 100]),
        np.concatenate([ball().triangles, crumb.triangles + len(ball().vertices)]),
    )
    mended = mend(both, min_component_triangles=100)
    assert mended.actions == ("dropped_components",)
    assert inspect(mended.mesh) == inspect(ball())
    with pytest.raises(MeshInvalid, match="dropped_components"):
        mend(both, min_component_triangles=10_000)


def test_a_hollow_stays_hollow_and_the_whole_is_turned_if_it_is_inside_out() -> None:
    inner = ours(trimesh.creation.icosphere(2, radius=20))
    hollow = TriangleMesh(
        np.concatenate([ball().vertices, inner.vertices]),
        np.concatenate([ball().triangles, inner.triangles[:, ::-1] + len(ball().vertices)]),
    )
    assert mend(hollow).actions == ()
    volume = inspect(hollow).volume_mm3
    turned = mend(TriangleMesh(hollow.vertices, hollow.triangles[:, ::-1].copy()))
    assert turned.actions == ("oriented_triangles",)
    assert inspect(turned.mesh).volume_mm3 == pytest.approx(volume)


def test_most_of_a_part_decides_which_way_it_faces() -> None:
    mesh = without(ball(), 7)
    mesh.triangles[:20] = mesh.triangles[:20, ::-1]
    mended = mend(mesh, max_hole_edges=0)
    assert mended.actions == ("oriented_triangles",)
    assert np.array_equal(np.sort(mended.mesh.triangles, 1), np.sort(mesh.triangles, 1))
    assert np.array_equal(mended.mesh.triangles[20:], mesh.triangles[20:])


def test_a_band_with_one_side_stays_open() -> None:
    turns = np.linspace(0, np.pi, 41)[:-1]
    middle = np.stack([np.cos(2 * turns), np.sin(2 * turns), 0 * turns], 1) * 30
    across = np.stack([np.cos(2 * turns) * np.cos(turns), np.sin(2 * turns) * np.cos(turns), np.sin(turns)], 1) * 5
    vertices = np.concatenate([middle + across, middle - across])
    one, two = np.arange(40), np.arange(40) + 40
    next_one, next_two = np.r_[one[1:], two[0]], np.r_[two[1:], one[0]]
    band = np.concatenate([np.stack([one, next_one, two], 1), np.stack([next_one, next_two, two], 1)]).astype(np.int32)
    after = inspect(mend(TriangleMesh(vertices, band)).mesh)
    assert not after.oriented
    assert not after.solid


def test_vertices_near_each_other_are_merged_where_asked() -> None:
    rng = np.random.default_rng(3)
    corners = ball().vertices[ball().triangles].reshape(-1, 3)
    apart = TriangleMesh(
        corners + rng.uniform(-1e-3, 1e-3, corners.shape), np.arange(len(corners), dtype=np.int32).reshape(-1, 3)
    )
    assert inspect(apart).boundary_edges == 3 * len(apart.triangles)
    mended = mend(apart, merge_mm=0.01)
    assert mended.actions == ("merged_vertices",)
    assert inspect(mended.mesh).solid
    assert inspect(mended.mesh).vertices == len(ball().vertices)


@pytest.mark.parametrize("merge_mm", [-1.0, 11.0, float("nan"), float("inf")])
def test_a_distance_out_of_its_range_is_refused(merge_mm: float) -> None:
    with pytest.raises(OptionInvalid, match="0 to 10 mm") as caught:
        mend(ball(), merge_mm=merge_mm)
    assert caught.value.detail["field"] == "merge_mm"


def test_the_same_mesh_is_mended_the_same_way(solid: TriangleMesh) -> None:
    holed = without(solid, *range(0, len(solid.triangles), 50))
    first, second = mend(holed, merge_mm=0.02), mend(holed, merge_mm=0.02)
    assert np.array_equal(first.mesh.vertices, second.mesh.vertices)
    assert np.array_equal(first.mesh.triangles, second.mesh.triangles)
