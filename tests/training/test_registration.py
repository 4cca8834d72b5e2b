"""The model's skin finds its way onto other heads."""

from pathlib import Path

import numpy as np
import pytest

from maquette.geometry.surface import vertex_normals
from maquette.headmodel import HeadModel, load_head_model
from training.closest import ClosestPoints, closest_on_triangles
from training.registration import Pairs, Registration, Template, register, register_gnm, register_makehuman
from training.sources import load_gnm


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


@pytest.fixture(scope="module")
def template(model: HeadModel) -> Template:
    return Template.of(model)


@pytest.fixture(scope="module")
def on_makehuman(template: Template, shared: Path) -> Registration:
    return register_makehuman(template, shared / "heads")


def test_nearest_point_of_a_triangle_is_nearer_than_any_sampled_one() -> None:
    rng = np.random.default_rng(1)
    corners = rng.normal(size=(200, 3, 3))
    points = rng.normal(size=(200, 3)) * 2
    weights = closest_on_triangles(points, corners)
    assert np.allclose(weights.sum(1), 1)
    assert (weights >= 0).all()
    gap = np.linalg.norm(np.einsum("nkc,nk->nc", corners, weights) - points, axis=1)
    sampled = rng.dirichlet(np.ones(3), 4000)
    others = np.linalg.norm(np.einsum("nkc,sk->nsc", corners, sampled) - points[:, None], axis=2).min(1)
    assert (gap <= others + 1e-9).all()


def test_the_side_that_faces_the_same_way_is_found_on_a_thin_sheet() -> None:
    x, y = (a.ravel() for a in np.meshgrid(np.arange(6.0), np.arange(6.0)))
    grid = np.arange(36).reshape(6, 6)
    a, b, c, d = (g.ravel() for g in (grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]))
    up = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    points = np.concatenate([np.stack([x, y, 0 * x + z], 1) for z in (0.3, 0.0)])
    triangles = np.concatenate([up, up[:, ::-1] + 36])
    query = np.array([[2.3, 2.6, 0.2]])
    for facing, height in ((1.0, 0.3), (-1.0, 0.0)):
        _, _, position, cosine = ClosestPoints(points, triangles)(query, np.array([[0, 0, facing]]))
        assert position[0, 2] == pytest.approx(height, abs=1e-6)
        assert cosine[0] > 0.99


def _ball(rings: int, segments: int) -> tuple[np.ndarray, np.ndarray]:
    """A ball of radius 80 mm with a nose: points and triangles, open at the bottom."""
    polar, around = np.meshgrid(
        np.linspace(0.05, 2.4, rings), np.arange(segments) / segments * 2 * np.pi, indexing="ij"
    )
    way = np.stack([np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)], -1)
    nose = 14 * np.exp(-((polar - 1.5) ** 2 + np.minimum(around, 2 * np.pi - around) ** 2) / 0.08)
    points = ((80 + nose)[..., None] * way).reshape(-1, 3)
    grid = np.arange(rings * segments).reshape(rings, segments)
    a, b = grid[:-1], np.roll(grid[:-1], -1, 1)
    c, d = np.roll(grid[1:], -1, 1), grid[1:]
    quads = np.stack([a, d, c, b], -1).reshape(-1, 4)
    return points, np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]])


def test_a_surface_registers_to_a_turned_scaled_and_bent_one_of_another_mesh() -> None:
    points, triangles = _ball(24, 40)
    other, other_triangles = _ball(31, 47)

    def bend(p: np.ndarray) -> np.ndarray:
        bent = p * [1.06, 0.95, 1.0]
        bent[:, 2] += 6 * np.sin(p[:, 1] / 40)
        return np.asarray(bent)

    turn = np.array([[0, 0, 1.0], [0, 1, 0], [-1, 0, 0]])
    moved = 1.3 * bend(other) @ turn + [30, -20, 5]
    marks = np.arange(0, len(points), 37)
    skin = np.ones(len(points), bool)
    corners = np.repeat(marks[:, None], 3, 1)
    weights = np.tile([1.0, 0, 0], (len(marks), 1))
    template = Template(points, triangles, {"skin": skin}, corners, weights)
    ones = np.ones(len(marks))
    pairs = Pairs(corners, weights, 1.3 * bend(points[marks]) @ turn + [30, -20, 5], ones, ones > 0)
    found = register(template, moved, other_triangles, pairs)
    assert found.scale == pytest.approx(1 / 1.3, rel=0.03)
    # Every vertex lands near its own counterpart, not just anywhere on the surface.
    wanted = found.align(1.3 * bend(points) @ turn + [30, -20, 5])
    bound = found.align(found.carry(moved))
    inner = found.matched
    assert inner.mean() > 0.9
    assert np.median(np.linalg.norm(bound - wanted, axis=1)[inner]) < 1.5
    assert np.percentile(found.gap[inner], 95) < 0.3


def test_nearly_all_of_the_skin_lies_on_makehumans_head(on_makehuman: Registration) -> None:
    assert on_makehuman.matched.mean() > 0.94
    assert np.median(on_makehuman.gap) < 0.15
    assert np.percentile(on_makehuman.gap[on_makehuman.matched], 99) < 1.5


def test_registration_keeps_left_and_right(model: HeadModel, on_makehuman: Registration) -> None:
    mirror = model.mirror[on_makehuman.skin]
    place = np.full(len(model.mean), -1)
    place[on_makehuman.skin] = np.arange(len(on_makehuman.skin))
    other = on_makehuman.deformed[place[mirror]] * [-1, 1, 1]
    off = np.linalg.norm(other - on_makehuman.deformed, axis=1)
    assert np.percentile(off[on_makehuman.matched], 95) < 1.0


def test_hardly_a_triangle_turns_over_on_the_way(template: Template, on_makehuman: Registration) -> None:
    before = template.points[template.skin_vertices]
    triangles = template.skin_triangles
    normals = [vertex_normals(p, triangles) for p in (before, on_makehuman.deformed)]
    turned = (normals[0] * normals[1]).sum(1) < 0
    assert turned.mean() < 0.004


@pytest.mark.slow
def test_landmarks_meet_gnms_own(model: HeadModel, template: Template, shared: Path) -> None:
    found = register_gnm(template, shared / "heads")
    source = load_gnm(shared / "heads")
    with np.load(shared / "heads" / "gnm_head_v3_partial.npz") as z:
        corners, weights = z["landmarks68_indices"], z["landmarks68_weights"]
    theirs = found.align(np.einsum("lkc,lk->lc", source.vertices[corners], weights))
    full = model.mean.astype(np.float64)
    full[found.skin] = found.deformed
    ours = model.ibug68(full.astype(np.float32))
    # Brows to lips; the jaw line is a silhouette and means another point on each head.
    off = np.linalg.norm(ours - theirs, axis=1)[17:]
    assert np.median(off) < 3.0
    assert found.matched.mean() > 0.94


def test_fields_turn_and_scale_with_the_alignment(on_makehuman: Registration) -> None:
    same = np.ones((1, len(on_makehuman.aligned), 3)) * [0.0, 2.0, 0.0]
    carried = on_makehuman.carry_fields(same)
    expected = on_makehuman.scale * on_makehuman.rotation @ [0.0, 2.0, 0.0]
    assert np.allclose(carried[0], expected)
