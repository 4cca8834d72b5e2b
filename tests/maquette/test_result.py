import json
from pathlib import Path

from maquette.provenance import request_digest
from maquette.report import REPORT_NAME
from maquette.result import TIMINGS_NAME, Result, is_complete, read_report


def test_a_saved_result_reads_back(result: Result, tmp_path: Path) -> None:
    paths = result.save(tmp_path / "head")
    assert {p.name for p in paths} == {p.name for p in (tmp_path / "head").iterdir()}
    for product in result.products:
        assert (tmp_path / "head" / product.name).read_bytes() == product.data
    assert read_report(tmp_path / "head") == result.report
    timings = json.loads((tmp_path / "head" / TIMINGS_NAME).read_text())
    assert 0 < sum(timings["seconds"].values()) <= timings["total_seconds"] + 0.01


def test_a_saved_result_is_complete_for_its_request_only(result: Result, tmp_path: Path) -> None:
    result.save(tmp_path)
    request = result.report["request_sha256"]
    assert is_complete(tmp_path, request)
    assert not is_complete(tmp_path, "0" * 64)


def test_a_result_with_a_damaged_or_missing_file_is_not_complete(result: Result, tmp_path: Path) -> None:
    request = result.report["request_sha256"]
    result.save(tmp_path)
    name = result.products[0].name
    (tmp_path / name).write_bytes(b"damaged")
    assert not is_complete(tmp_path, request)
    result.save(tmp_path)
    assert is_complete(tmp_path, request)
    (tmp_path / name).unlink()
    assert not is_complete(tmp_path, request)


def test_something_else_by_the_name_of_a_report_is_none(tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '{"products": 3}', '{"schema": "x", "products": []}'):
        (tmp_path / REPORT_NAME).write_text(text)
        assert read_report(tmp_path) is None


def test_a_report_that_points_out_of_its_folder_is_none(result: Result, tmp_path: Path) -> None:
    report = {**result.report, "products": [{"name": "../elsewhere", "sha256": "0" * 64}]}
    (tmp_path / REPORT_NAME).write_text(json.dumps(report))
    assert read_report(tmp_path) is None


def test_products_of_an_older_result_do_not_stay_beside_a_newer_one(result: Result, tmp_path: Path) -> None:
    older = {**result.report, "products": [*result.report["products"], {"name": "old.fbx", "sha256": "0" * 64}]}
    (tmp_path / REPORT_NAME).write_text(json.dumps(older))
    (tmp_path / "old.fbx").write_bytes(b"old")
    (tmp_path / "notes.txt").write_bytes(b"the user's own")
    result.save(tmp_path)
    assert not (tmp_path / "old.fbx").exists()
    assert (tmp_path / "notes.txt").exists()


def test_a_request_differs_when_photos_or_options_do(result: Result) -> None:
    options = result.report["options"]
    photo = result.report["photos"][0]["sha256"]
    assert request_digest([photo], options) == result.report["request_sha256"]
    assert request_digest([photo, photo], options) != result.report["request_sha256"]
    assert request_digest([photo], {**options, "detail": False}) != result.report["request_sha256"]
