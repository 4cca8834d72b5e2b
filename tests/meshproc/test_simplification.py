"""Coarser versions of a mesh."""

import numpy as np
import pytest
import trimesh

from maquette.errors import MeshInvalid, OptionInvalid
from maquette.headmodel import HeadModel
from services.meshproc.files import TriangleMesh
from services.meshproc.inspection import inspect
from services.meshproc.mesh import model_mesh
from services.meshproc.simplification import simplify
from services.meshproc.solid import build_solid


@pytest.fixture(scope="module")
def solid(model: HeadModel) -> TriangleMesh:
    made = build_solid(model, model_mesh(model, model.mean))
    return TriangleMesh(made.vertices.astype(np.float64), made.triangles)


def test_levels_of_a_solid_are_solids_near_it(solid: TriangleMesh) -> None:
    counts = [10_000, 2_000, 500]
    levels = simplify(solid, counts)
    volume = inspect(solid).volume_mm3
    for level, count in zip(levels, counts, strict=True):
        figures = inspect(level.mesh)
        assert figures.triangles == count
        assert figures.solid
        assert figures.volume_mm3 == pytest.approx(volume, rel=0.02)
    deviations = [level.deviation_mm for level in levels]
    assert 0 < deviations[0] < deviations[1] < deviations[2] < 5
    assert deviations[0] < 0.5


def test_the_deviation_is_the_distance_of_the_farthest_vertex() -> None:
    shape = trimesh.creation.icosphere(3, radius=40)
    mesh = TriangleMesh(np.asarray(shape.vertices, np.float64), np.asarray(shape.faces, np.int32))
    (level,) = simplify(mesh, [100])
    _, distance, _ = trimesh.proximity.closest_point_naive(shape, level.mesh.vertices)
    assert level.deviation_mm == pytest.approx(distance.max(), abs=1e-3)


def test_the_same_mesh_has_the_same_levels(solid: TriangleMesh) -> None:
    (one,), (other,) = simplify(solid, [3000]), simplify(solid, [3000])
    assert np.array_equal(one.mesh.vertices, other.mesh.vertices)
    assert np.array_equal(one.mesh.triangles, other.mesh.triangles)
    assert one.deviation_mm == other.deviation_mm


@pytest.mark.parametrize(
    "counts", [[], [3], [12], [20], [8, 8], [4, 8], [8, 3], [0], list(range(11, 4, -1)) * 3, [2**32 - 1]]
)
def test_levels_that_are_none_are_refused(counts: list[int]) -> None:
    shape = trimesh.creation.box((1, 2, 3))
    mesh = TriangleMesh(np.asarray(shape.vertices, np.float64), np.asarray(shape.faces, np.int32))
    with pytest.raises(OptionInvalid) as caught:
        simplify(mesh, counts)
    assert caught.value.detail["field"] == "triangles"


def test_work_that_nobody_waits_for_ends_between_levels(solid: TriangleMesh) -> None:
    class Enough(Exception):
        pass

    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise Enough

    with pytest.raises(Enough):
        simplify(solid, [2000, 1000, 500], check)
    assert len(calls) == 2


def test_a_mesh_of_needles_is_refused_or_simplified_but_brings_nothing_down() -> None:
    line = np.linspace([0, 0, 0], [1, 0, 0], 30)
    mesh = TriangleMesh(line, np.array([[i, i + 1, i + 2] for i in range(28)], np.int32))
    try:
        (level,) = simplify(mesh, [4])
    except MeshInvalid:
        return
    assert np.isfinite(level.mesh.vertices).all()
