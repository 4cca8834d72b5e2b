import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from maquette.errors import ModelFileInvalid
from maquette.geometry.raster import rasterise_uv
from maquette.geometry.surface import boundary_edges, triangle_normals
from maquette.headmodel import ARKIT_NAMES, HeadModel, load_head_model
from maquette.headmodel.model import DEFAULT_FILE


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


def posed(model: HeadModel, **weights: float) -> np.ndarray:
    e = np.zeros(len(ARKIT_NAMES))
    for name, value in weights.items():
        e[ARKIT_NAMES.index(name)] = value
    return model.landmarks(model.vertices(None, e))


def test_is_small_and_of_the_promised_size(model: HeadModel) -> None:
    assert DEFAULT_FILE.stat().st_size <= 6_000_000
    assert 8_000 <= len(model.mean) <= 20_000
    assert len(model.identity_modes) >= 80
    assert model.expression_modes.shape[0] == 52 == len(set(ARKIT_NAMES))


def test_names_its_sources_and_their_licences(model: HeadModel) -> None:
    notice = (Path(__file__).parents[2] / "NOTICE").read_text()
    for word in ("ICT-FaceKit", "MakeHuman", "GNM"):
        assert any(word in s for s in model.sources)
        assert word in notice


def test_mean_mesh_and_atlas_mirror_into_themselves(model: HeadModel) -> None:
    mirror = model.mirror
    assert (mirror[mirror] == np.arange(len(mirror))).all()
    np.testing.assert_allclose(model.mean[mirror] * [-1, 1, 1], model.mean, atol=1e-4)
    triangles = {tuple(sorted(t)) for t in model.triangles.tolist()}
    assert all(tuple(sorted(t)) in triangles for t in mirror[model.triangles].tolist())
    skin = model.part_triangles("skin")
    uv = model.uv[model.uv_triangles[skin]].mean(1)
    flipped = np.stack([1 - uv[:, 0], uv[:, 1]], 1)
    order = np.lexsort(np.rint(uv * 1e4).T)
    assert np.abs(np.sort(uv[:, 0]) - np.sort(flipped[:, 0])).max() < 1e-4
    assert len(order) == len(skin)


def test_skin_is_one_surface_with_a_single_rim(model: HeadModel) -> None:
    outer = model.part_triangles("skin", "mouth", "eye_socket")
    rim = boundary_edges(model.triangles[outer])
    assert model.mean[rim.ravel(), 1].max() < -100
    after = dict(rim.tolist())
    at, steps = int(rim[0, 0]), 0
    while True:
        at, steps = after[at], steps + 1
        if at == rim[0, 0]:
            break
    assert steps == len(rim)


def test_texture_coordinates_do_not_overlap(model: HeadModel) -> None:
    uv = model.uv[model.uv_triangles].astype(np.float64)
    a, b = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    area = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
    assert np.abs(area).min() > 0
    raster = rasterise_uv(model.uv, model.uv_triangles, 2048)
    # Triangles that overlapped would cover less than the sum of their areas.
    assert raster.covered.mean() == pytest.approx(np.abs(area).sum(), rel=2e-3)
    surface = np.isin(model.triangles, np.flatnonzero(model.part("skin", "mouth", "eye_socket"))).all(1)
    assert (area[surface] > 0).all(), "a mirrored patch would turn normal maps inside out"


@pytest.mark.parametrize("sign", [-3, 3])
def test_no_triangle_turns_over_or_collapses_at_three_sd(model: HeadModel, sign: int) -> None:
    rest = triangle_normals(model.mean, model.triangles)
    size = np.linalg.norm(rest, axis=1)
    assert size.min() / 2 > 0.01
    for k in range(len(model.identity_modes)):
        n = triangle_normals(model.mean + sign * model.identity_modes[k], model.triangles)
        assert ((n * rest).sum(1) > 0).all(), k
        assert (np.linalg.norm(n, axis=1) > 0.05 * size).all(), k


def test_identity_modes_are_orthogonal_in_their_metric_and_sorted(model: HeadModel) -> None:
    energy = (model.identity_modes**2).sum((1, 2))
    assert energy[0] > 10 * energy[-1]


def test_one_standard_deviation_is_one(model: HeadModel, shared: Path) -> None:
    training = pytest.importorskip("training.sources")
    ict = training.load_ict(shared / "heads")
    skin = np.flatnonzero(model.part("skin"))
    near = np.linalg.norm(ict.vertices[None, :11248] - model.mean[skin[::12], None], axis=2)
    close = near.min(1) < 0.7
    rows, columns = skin[::12][close], near.argmin(1)[close]
    ours = (model.identity_modes[:, rows] ** 2).sum((0, 2))
    theirs = (ict.identity[:, columns] ** 2).sum((0, 2))
    assert close.sum() > 60
    assert np.median(ours / theirs) == pytest.approx(1, abs=0.15)


def test_blendshapes_do_what_their_names_say(model: HeadModel) -> None:
    rest = model.landmarks(model.mean)
    opening = {"Right": (159, 145), "Left": (386, 374)}
    for side, (up, down) in opening.items():
        gap = rest[up, 1] - rest[down, 1]
        blink = posed(model, **{f"eyeBlink{side}": 1})
        assert blink[up, 1] - blink[down, 1] < 0.1 * gap
        wide = posed(model, **{f"eyeWide{side}": 1})
        assert wide[up, 1] - wide[down, 1] > 1.05 * gap
        other = opening["Left" if side == "Right" else "Right"]
        assert np.abs(blink[list(other)] - rest[list(other)]).max() < 0.3
    assert posed(model, jawOpen=1)[152, 1] < rest[152, 1] - 15
    assert posed(model, jawOpen=1)[13, 1] > rest[13, 1] - 3
    closed = posed(model, jawOpen=1, mouthClose=1)
    assert abs(closed[13, 1] - closed[14, 1]) < 0.25 * abs(np.diff(posed(model, jawOpen=1)[[13, 14], 1])[0])
    assert posed(model, jawLeft=1)[152, 0] > rest[152, 0] + 2
    assert posed(model, jawRight=1)[152, 0] < rest[152, 0] - 2
    assert posed(model, jawForward=1)[152, 2] > rest[152, 2] + 1
    corner = {"Right": 61, "Left": 291}
    for side, at in corner.items():
        outwards = -1 if side == "Right" else 1
        assert posed(model, **{f"mouthSmile{side}": 1})[at, 1] > rest[at, 1] + 2
        assert posed(model, **{f"mouthFrown{side}": 1})[at, 1] < rest[at, 1] - 2
        assert (posed(model, **{f"mouthStretch{side}": 1})[at, 0] - rest[at, 0]) * outwards > 1
    assert np.ptp(posed(model, mouthPucker=1)[[61, 291], 0]) < 0.9 * np.ptp(rest[[61, 291], 0])
    assert posed(model, browInnerUp=1)[[55, 285], 1].min() > rest[[55, 285], 1].max() + 2
    assert posed(model, browDownLeft=1)[285, 1] < rest[285, 1] - 1
    assert posed(model, browOuterUpRight=1)[46, 1] > rest[46, 1] + 1
    cheek = [187, 411]
    assert (np.abs(posed(model, cheekPuff=1)[cheek, 0]) > np.abs(rest[cheek, 0]) + 1).all()
    assert posed(model, noseSneerLeft=1)[358, 1] > rest[358, 1] + 0.5


def test_gaze_blendshapes_turn_the_irises(model: HeadModel) -> None:
    rest = model.landmarks(model.mean)
    for side, centre, left in (("Right", 468, -1), ("Left", 473, 1)):
        assert posed(model, **{f"eyeLookUp{side}": 1})[centre, 1] > rest[centre, 1] + 2
        assert posed(model, **{f"eyeLookDown{side}": 1})[centre, 1] < rest[centre, 1] - 2
        assert (posed(model, **{f"eyeLookOut{side}": 1})[centre, 0] - rest[centre, 0]) * left > 2
        assert (posed(model, **{f"eyeLookIn{side}": 1})[centre, 0] - rest[centre, 0]) * left < -2


def test_tongue_leaves_the_mouth_and_nothing_else_does(model: HeadModel) -> None:
    d = np.linalg.norm(model.expression_modes[ARKIT_NAMES.index("tongueOut")], axis=1)
    assert d[model.part("tongue")].max() > 20
    assert d[~model.part("tongue", "gums")].max() == 0


def test_joints_lie_where_they_should_and_follow_the_identity(model: HeadModel) -> None:
    joints = dict(zip(model.joint_names, model.joints(model.mean), strict=True))
    for side, x in (("eye_left", 1), ("eye_right", -1)):
        ball = model.mean[model.part(side)]
        assert np.linalg.norm(joints[side] - (ball.min(0) + ball.max(0)) / 2) < 2
        assert joints[side][0] * x > 20
    assert joints["neck"][1] < joints["head"][1] < joints["jaw"][1]
    np.testing.assert_allclose([joints[n][0] for n in ("neck", "head", "jaw")], 0, atol=1e-2)
    moved = model.joints(model.vertices([2.0]))
    assert np.abs(moved - model.joints(model.mean)).max() > 1
    np.testing.assert_allclose(model.skin_weights.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(model.joint_regressor.sum(1), 1, atol=1e-5)
    chin = model.landmark_vertices[152]
    jaw = model.joint_names.index("jaw")
    assert model.skin_weights[chin, jaw].min() > 0.6
    assert model.skin_weights[model.landmark_vertices[10], jaw].max() == 0


def test_regions_lie_where_their_names_say(model: HeadModel) -> None:
    y = {n: model.mean[model.region(n), 1].mean() for n in model.region_names}
    assert y["forehead"] > y["eye_region_left"] > y["nose"] > y["lip_upper"] > y["lip_lower"] > y["chin"] > y["neck"]
    assert (model.mean[model.region("ear_left"), 0] > 50).all()
    assert not (model.region("scalp") & model.region("face")).any()
    for left in (n for n in model.region_names if n.endswith("_left")):
        right = model.region(left.replace("_left", "_right"))
        assert (model.region(left)[model.mirror] == right).mean() > 0.999
    with pytest.raises(KeyError, match="no region 'tail'"):
        model.region("tail")


def test_landmark_sets_fit_together(model: HeadModel) -> None:
    marks = model.landmarks(model.mean)
    assert model.ibug68(model.mean).shape == (68, 3)
    np.testing.assert_allclose(model.ibug68(model.mean)[36], marks[33], atol=1e-4)
    for vertex, mark in zip(model.now7, (33, 133, 362, 263, 2, 61, 291), strict=True):
        assert np.linalg.norm(model.mean[vertex] - marks[mark]) < 6


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "head.npz"
    broken.write_bytes(DEFAULT_FILE.read_bytes()[:100_000])
    with pytest.raises(ModelFileInvalid, match=r"head\.npz"):
        load_head_model(broken)
    with pytest.raises(ModelFileInvalid, match="not a readable model file"):
        load_head_model(tmp_path / "absent.npz")


def test_a_file_of_another_format_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other.npz"
    shutil.copy(DEFAULT_FILE, other)
    with zipfile.ZipFile(DEFAULT_FILE) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "meta.npy":
                head = data[: data.index(b"\n") + 1]
                meta = json.loads(data[len(head) :])
                data = head + json.dumps(meta).replace("head-model/1", "head-model/9").encode()
            target.writestr(name, data)
    with pytest.raises(ModelFileInvalid):
        load_head_model(other)
