import copy
import json
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from maquette.report import load_schema, to_json
from maquette.result import Result


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = load_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_a_real_report_fits_the_schema(result: Result, validator: Draft202012Validator) -> None:
    read_back = json.loads(to_json(result.report))
    assert read_back == result.report
    assert [f"{list(e.absolute_path)}: {e.message}" for e in validator.iter_errors(read_back)] == []


@pytest.mark.parametrize("key", ["schema", "engine", "model", "photos", "uncertainty", "products", "request_sha256"])
def test_a_report_that_lacks_something_does_not_fit(result: Result, validator: Draft202012Validator, key: str) -> None:
    broken = copy.deepcopy(result.report)
    del broken[key]
    assert not validator.is_valid(broken)


def test_every_object_of_the_schema_is_closed_or_a_map() -> None:
    def objects(node: Any) -> list[dict[str, Any]]:
        if isinstance(node, list):
            return [o for item in node for o in objects(item)]
        if not isinstance(node, dict):
            return []
        own = [node] if node.get("type") == "object" else []
        return own + [o for value in node.values() for o in objects(value)]

    found = objects(load_schema())
    assert len(found) > 10
    assert all("additionalProperties" in o for o in found)


def test_products_are_listed_with_their_digests(result: Result) -> None:
    listed = [(p["name"], p["media_type"], p["bytes"], p["sha256"]) for p in result.report["products"]]
    assert listed == [(p.name, p.media_type, len(p.data), p.sha256) for p in result.products]


def test_the_reported_camera_projects_the_reported_points_onto_the_face(result: Result) -> None:
    (photo,) = result.report["photos"]
    camera = photo["camera"]
    points = np.array(result.report["shape"]["landmarks_mm"]["mediapipe478"])
    x = points @ np.array(camera["rotation"]).T + np.array(camera["translation_mm"])
    pixels = camera["focal_px"] * x[:, :2] / x[:, 2:] + np.array(camera["centre_px"])
    apart = np.linalg.norm(pixels - np.array(photo["face"]["landmarks_px"])[:, :2], axis=1)
    # The points are of the head without its expression, so lips are off by a smile's width.
    assert np.median(apart) < 0.05 * photo["face"]["size_px"]


def test_distances_are_those_between_the_reported_points(result: Result) -> None:
    points = np.array(result.report["shape"]["landmarks_mm"]["mediapipe478"])
    reported = result.report["measurements"]["distances"]["mouth_width"]["mm"]
    assert np.linalg.norm(points[61] - points[291]) == pytest.approx(reported, abs=0.02)


def test_the_face_is_better_determined_than_the_back_of_the_head(result: Result) -> None:
    regions = result.report["uncertainty"]["regions"]
    assert regions["face"]["determined"] > regions["scalp"]["determined"]
    assert regions["face"]["median_mm"] < regions["scalp"]["median_mm"]


def test_all_52_expression_weights_are_named(result: Result) -> None:
    (photo,) = result.report["photos"]
    assert len(photo["expression"]) == 52
    # The astronaut smiles.
    assert photo["expression"]["mouthSmileLeft"] > 0.1


def test_json_text_keeps_lists_of_figures_on_one_line() -> None:
    value = {"a": [1, 2.5], "b": [[1, 2], [3, 4]], "c": {}, "d": [], "e": None, "f": [{"g": "é"}]}
    text = to_json(value)
    assert json.loads(text) == value
    assert ' "a": [1, 2.5],\n' in text
    assert "  [1, 2],\n" in text


def test_figures_that_json_has_no_word_for_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json({"a": [float("nan")]})
