"""Scoring against scans: exact distances, agreement with the development data's own scorer, tables and layouts."""

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from maquette import pipeline
from maquette.benchmarks import scans
from maquette.benchmarks.closest import Surface, closest_on_triangles
from maquette.benchmarks.scoring import NOW_LANDMARKS, Scan, load_scan, score
from maquette.errors import FaceUnusable, InputError
from maquette.geometry.transform import rotation_from_vector
from maquette.headmodel import HeadModel, load_head_model
from maquette.rooms import PhotoView, ReconstructOptions
from maquette.settings import Settings
from maquette.types import Head


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


@pytest.fixture(scope="module")
def skin(model: HeadModel) -> NDArray[np.int32]:
    return model.triangles[model.part_triangles("skin")]


def reference(shared: Path) -> ModuleType:
    """The scorer that comes with the scans."""
    spec = importlib.util.spec_from_file_location("scan_bench", shared / "bench" / "scan_bench.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nearest_point_of_a_triangle_in_all_its_zones() -> None:
    triangle = np.array([[[0, 0, 0], [4, 0, 0], [0, 4, 0]]], float)
    points = np.array([[1, 1, 3], [-1, -1, 0], [2, -2, 1], [6, 0, 0], [3, 3, 0], [-2, 1, 0]], float)
    wanted = np.array([[1, 1, 0], [0, 0, 0], [2, 0, 0], [4, 0, 0], [2, 2, 0], [0, 1, 0]], float)
    assert closest_on_triangles(points, np.repeat(triangle, len(points), 0)) == pytest.approx(wanted)


def test_nearest_points_of_a_mesh_with_large_and_small_triangles_are_exact() -> None:
    rng = np.random.default_rng(2)
    centres = rng.normal(0, 20, (400, 1, 3))
    corners = centres + rng.normal(0, 1, (400, 3, 3)) * np.exp(rng.uniform(-1.5, 3, (400, 1, 1)))
    vertices, triangles = corners.reshape(-1, 3), np.arange(1200).reshape(-1, 3)
    points = rng.normal(0, 30, (200, 3))
    at, normal = Surface(vertices, triangles).closest(points)
    brute = np.array([
        np.linalg.norm(closest_on_triangles(np.repeat(p[None], 400, 0), corners) - p, axis=1).min() for p in points
    ])  # fmt: skip
    assert np.linalg.norm(at - points, axis=1) == pytest.approx(brute, abs=1e-9)
    assert np.linalg.norm(normal, axis=1) == pytest.approx(np.ones(200))


# The scans' own scorer leaves files to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["lps", "james"])
def test_scores_of_the_mean_head_agree_with_the_scans_own_scorer(
    shared: Path, model: HeadModel, skin: NDArray[np.int32], name: str
) -> None:
    ours = score(model.mean, skin, model.mean[model.now7], load_scan(shared / "bench", name))
    theirs, *_ = reference(shared).evaluate(
        model.mean.astype(float), skin, model.mean[model.now7].astype(float), str(shared / "bench" / "gt" / name)
    )
    assert ours.median == pytest.approx(theirs["median"], abs=0.005)
    assert ours.mean == pytest.approx(theirs["mean"], abs=0.005)


def test_a_similarity_of_the_scan_itself_scores_nothing(model: HeadModel, skin: NDArray[np.int32]) -> None:
    face = np.flatnonzero(model.region("face"))[::3]
    scan = Scan("self", model.mean[model.now7].astype(float), model.mean[face].astype(float))
    moved = 0.01 * model.mean @ rotation_from_vector([0.5, -0.4, 0.3]).T + [3.0, 1.0, -2.0]
    wrong = moved[model.now7] + np.random.default_rng(0).normal(0, 0.02, (7, 3))
    rated = score(moved, skin, wrong, scan)
    assert rated.median < 0.02
    assert rated.scale == pytest.approx(100, rel=0.005)


def test_a_wider_head_scores_how_much_wider_it_is(model: HeadModel, skin: NDArray[np.int32]) -> None:
    face = np.flatnonzero(model.region("face"))[::3]
    scan = Scan("self", model.mean[model.now7].astype(float), model.mean[face].astype(float))
    same = score(model.mean, skin, model.mean[model.now7], scan)
    wider = model.mean * np.array([1.05, 1, 1], np.float32)
    rated = score(wider, skin, wider[model.now7], scan)
    assert same.mean < 1e-3
    assert 0.3 < rated.mean < 2


@pytest.fixture(scope="module")
def still(sample: Path, settings: Settings) -> Head:
    """The sample's head with its face at rest."""
    rooms = pipeline.local_rooms(settings)
    (photo,) = pipeline.read_photos([sample], settings)
    face = rooms.detector.detect(photo)[0]
    view = PhotoView(photo, face, rooms.detector.mask(photo, face))
    head = rooms.reconstructor.coarse([view], ReconstructOptions())
    resting = replace(head.fit.views[0], expression=np.zeros(52, np.float32))
    return replace(head, fit=replace(head.fit, views=(resting,)))


class Stand:
    """A reconstructor that gives each head's pictures a shape chosen by the test."""

    def __init__(self, head: Head, codes: dict[str, NDArray[np.float32]], refused: str) -> None:
        self._head, self._codes, self._refused = head, codes, refused

    def coarse(self, views: Sequence[PhotoView], options: ReconstructOptions) -> Head:
        name = views[0].photo.name
        if name == self._refused:
            raise FaceUnusable(f"{name}: expected a face, found none of use")
        code = self._codes[name.split("_")[0]]
        vertices = load_head_model().vertices(code)
        fit = replace(self._head.fit, identity=code, views=self._head.fit.views * len(views))
        return replace(self._head, fit=fit, neutral=vertices, posed=vertices)

    def complete(self, views: Sequence[PhotoView], coarse: Head, options: ReconstructOptions) -> Head:
        raise NotImplementedError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, sample: Path, model: HeadModel) -> tuple[Path, dict[str, Any]]:
    """Two heads of the model as scans, with the sample photo standing for the pictures of each."""
    root = tmp_path_factory.mktemp("scans")
    (root / "images").mkdir()
    (root / "gt").mkdir()
    rng = np.random.default_rng(5)
    codes = {}
    for name in ("ada", "bob"):
        codes[name] = rng.normal(0, 0.9, len(model.identity_modes)).astype(np.float32)
        vertices = model.vertices(codes[name])
        points = vertices[model.region("face")][::5]
        landmarks = dict(zip(NOW_LANDMARKS, vertices[model.now7].tolist(), strict=True))
        (root / "gt" / f"{name}.json").write_text(json.dumps({"head": name, "landmarks": landmarks}))
        yes, no = np.ones(len(points), bool), np.zeros(len(points), bool)
        np.savez(root / "gt" / f"{name}_pts.npz", points=points, now=yes, eye=no)
        for tag in ("a", "b"):
            Image.open(sample).convert("RGB").save(root / "images" / f"{name}_{tag}.jpg")
            (root / "images" / f"{name}_{tag}.json").write_text(json.dumps({"head": name}))
    (root / "images" / "notes.txt").write_text("no picture")
    return root, codes


def test_the_summary_means_over_heads_and_counts_the_best(
    folder: tuple[Path, dict[str, Any]], settings: Settings, still: Head, capsys: pytest.CaptureFixture[str]
) -> None:
    root, codes = folder
    rooms = replace(pipeline.local_rooms(settings), reconstructor=Stand(still, codes, "bob_b.jpg"))
    result = scans.run(root, json=True, rooms=rooms)
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(json.dumps(result))
    assert result["own_best"] == "2 of 2"
    assert result["single_median_mm"] < 0.01 and result["joint_median_mm"] < 0.01
    assert result["mean_head_median_mm"] > 0.3
    assert result["single_gain_percent"] > 95
    assert result["failed"] == 1 and "bob_b.jpg" in result["heads"]["bob"]["failed"]
    assert set(result["heads"]["ada"]["images"]) == {"ada_a.jpg", "ada_b.jpg"}
    others = result["heads"]["ada"]["by_predictions_of"]
    assert others["bob"] > others["ada"] + 0.2
    scans.run(root, rooms=rooms)
    table = capsys.readouterr().out
    assert "all together" in table and "2 of 2" in table and "failed" in table


def test_predictions_that_do_not_differ_are_nobodys_best(
    folder: tuple[Path, dict[str, Any]], settings: Settings, still: Head, capsys: pytest.CaptureFixture[str]
) -> None:
    root, codes = folder
    swapped = {"ada": codes["bob"], "bob": codes["ada"]}
    rooms = replace(pipeline.local_rooms(settings), reconstructor=Stand(still, swapped, ""))
    assert scans.run(root, json=True, rooms=rooms)["own_best"] == "0 of 2"
    capsys.readouterr()


def test_a_folder_without_scans_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match=r"expected images/\*\.jpg"):
        scans.find_cases(tmp_path)


def test_a_picture_whose_file_names_no_head_is_an_input_error(tmp_path: Path, sample: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.open(sample).convert("RGB").save(tmp_path / "images" / "x.jpg")
    (tmp_path / "images" / "x.json").write_text("[1, 2]")
    with pytest.raises(InputError, match=r"x\.json: expected a JSON object"):
        scans.find_cases(tmp_path)


def test_a_scan_without_its_points_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "ada.json").write_text(json.dumps({"landmarks": {key: [0, 0, 0] for key in NOW_LANDMARKS}}))
    with pytest.raises(InputError, match="no scan 'ada'"):
        load_scan(tmp_path, "ada")


def test_photos_of_scanned_people_come_nearer_than_the_mean_head_and_nearest_to_themselves(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "gt").symlink_to(shared / "bench" / "gt")
    for name in ("lps_y20", "james_photoR"):
        for suffix in (".jpg", ".json"):
            (tmp_path / "images" / (name + suffix)).symlink_to(shared / "bench" / "images" / (name + suffix))
    result = scans.run(tmp_path, json=True)
    assert json.loads(capsys.readouterr().out)["own_best"] == "2 of 2"
    assert result["failed"] == 0
    assert result["single_gain_percent"] > 20
    assert result["joint_gain_percent"] > 20
