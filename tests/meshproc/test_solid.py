import numpy as np
import pytest
import trimesh

from maquette.errors import MeshInvalid
from maquette.geometry.raster import Scene
from services.meshproc import solid as room
from services.meshproc.detail import detailed_mesh
from services.meshproc.mesh import model_mesh
from services.meshproc.solid import BASE_MM, build_solid
from tests.meshproc.crossings import crossings

HEADS = 20
BACK = np.array([[0.0, 0.0, -1.0]])


def random_vertices(model, seed, shapes=3, most=0.6):
    rng = np.random.default_rng(seed)
    identity = np.clip(rng.normal(size=len(model.identity_modes)), -2.5, 2.5)
    expression = np.zeros(52)
    expression[rng.choice(52, shapes, replace=False)] = rng.uniform(0, most, shapes)
    return model.vertices(identity, expression)


def skin_triangles(model):
    return model.triangles[model.part("skin")[model.triangles].all(1)]


def checked(solid):
    mesh = trimesh.Trimesh(solid.vertices, solid.triangles, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0
    assert mesh.body_count == 1
    return mesh


@pytest.fixture(scope="module")
def random_heads(model):
    vertices = [random_vertices(model, seed) for seed in range(HEADS)]
    return [(v, build_solid(model, model_mesh(model, v))) for v in vertices]


def test_two_triangles_through_each_other_are_a_crossing_and_neighbours_are_not():
    points = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [1, 1, -1], [1, 1, 1], [9, 9, 0], [4, 4, 1]], np.float32)
    assert len(crossings(points, np.array([[0, 1, 2], [3, 4, 5]]))) == 2
    assert len(crossings(points, np.array([[0, 1, 2], [1, 6, 2]]))) == 0


def test_twenty_random_heads_make_closed_solids_of_plausible_size(model, random_heads):
    for vertices, solid in random_heads:
        mesh = checked(solid)
        hull = trimesh.Trimesh(vertices, skin_triangles(model), process=False).convex_hull
        assert 0.6 < mesh.volume / hull.volume < 1.1


def test_lips_lids_and_nostrils_do_not_pass_through_each_other(model, random_heads):
    before = np.array([len(crossings(v, skin_triangles(model))) for v, _ in random_heads])
    after = np.array([len(crossings(s.vertices, s.triangles)) for _, s in random_heads])
    assert (before > 0).sum() > HEADS / 2, "these heads would prove nothing"
    assert np.median(after) == 0 and after.sum() < 0.1 * before.sum()


def test_the_solid_keeps_the_skin(model, random_heads):
    away = model.region("skin") & ~model.region("nose")
    for name in ("eye_region_left", "eye_region_right", "eyelids_left", "eyelids_right", "lip_upper", "lip_lower"):
        away &= ~model.region(name)
    for vertices, solid in random_heads[:5]:
        found = set(map(bytes, np.ascontiguousarray(solid.vertices).view("V12").ravel()))
        kept = [bytes(v) in found for v in np.ascontiguousarray(vertices[away]).view("V12").ravel()]
        assert np.mean(kept) > 0.9


def test_eyeballs_fill_the_eyes(model, random_heads):
    for vertices, solid in random_heads[:5]:
        for side in ("left", "right"):
            start = vertices[model.part(f"eye_{side}")].mean(0) + [0, 0, 60]
            ball = Scene(vertices, model.triangles[model.part_triangles(f"eye_{side}")])
            depths = [s.cast(start, BACK).distance[0] for s in (ball, Scene(solid.vertices, solid.triangles))]
            # Lids may lie over the ball, but nothing of the ball is missing.
            assert -0.05 < depths[0] - depths[1] < 8


def test_the_mouth_is_closed_and_deeper_when_it_stands_open(model):
    depths = []
    for opening in (0.0, 0.5):
        expression = np.zeros(52)
        expression[model.expression_names.index("jawOpen")] = opening
        vertices = model.vertices(None, expression)
        solid = build_solid(model, model_mesh(model, vertices))
        checked(solid)
        lips = vertices[model.region("lip_upper") | model.region("lip_lower")]
        middle = lips[np.abs(lips[:, 0]) < 4]
        heights = np.linspace(middle[:, 1].min(), middle[:, 1].max(), 200)
        start = np.stack([np.zeros(200), heights, np.full(200, 200.0)], 1)
        hit = Scene(solid.vertices, solid.triangles).cast(start, np.broadcast_to(BACK, start.shape))
        assert hit.covered.all()
        depths.append(float(np.max(hit.distance) - np.min(hit.distance)))
    assert depths[0] < 12 < depths[1] < 40


def test_it_stands_on_one_plane_below_the_bust(model, random_heads):
    for vertices, solid in random_heads[:5]:
        lowest = solid.vertices[:, 1].min()
        floor = (solid.vertices[solid.triangles, 1] == lowest).all(1)
        mesh = trimesh.Trimesh(solid.vertices, solid.triangles, process=False)
        area = mesh.area_faces[floor].sum()
        plan = trimesh.Trimesh(vertices * [1, 0, 1], skin_triangles(model), process=False)
        across = np.ptp(plan.vertices[model.region("bust")], axis=0)
        assert 0.4 < area / (across[0] * across[2]) < 1
        assert vertices[:, 1].min() - lowest == pytest.approx(BASE_MM, abs=0.01)
        assert np.abs(mesh.face_normals[floor] - [0, -1, 0]).max() < 1e-6


def test_the_detailed_solid_carries_the_displacement(model, head):
    mesh = detailed_mesh(model, head.posed, head.textures.displacement)
    solid = build_solid(model, mesh)
    checked(solid)
    assert len(solid.triangles) > 4 * len(model.triangles)
    found = set(map(bytes, np.ascontiguousarray(solid.vertices).view("V12").ravel()))
    cheek = np.flatnonzero(model.region("cheek_left"))
    plain = detailed_mesh(model, head.posed, None).vertices[cheek]
    bumpy = mesh.vertices[cheek]
    assert np.mean([bytes(v) in found for v in np.ascontiguousarray(bumpy).view("V12").ravel()]) > 0.9
    assert np.mean([bytes(v) in found for v in np.ascontiguousarray(plain).view("V12").ravel()]) < 0.1


def test_the_slow_way_makes_the_same_solid(model, head, monkeypatch):
    mesh = model_mesh(model, head.posed)
    quick = checked(build_solid(model, mesh))
    monkeypatch.setattr(room, "_inset", lambda *_: None)
    slow = checked(build_solid(model, mesh))
    assert slow.volume == pytest.approx(quick.volume, rel=1e-5)


def test_what_bounds_no_solid_is_refused(model, head):
    mesh = model_mesh(model, np.ascontiguousarray(head.posed * [-1, 1, 1], np.float32))
    with pytest.raises(MeshInvalid, match=r"expected .* found"):
        build_solid(model, mesh)
