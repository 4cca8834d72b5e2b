"""Every error of the tree as a problem document."""

from collections.abc import Iterator

import pytest
from starlette.exceptions import HTTPException

from gateway import problems
from maquette import errors
from maquette.errors import MaquetteError


def tree(kind: type[MaquetteError] = MaquetteError) -> Iterator[type[MaquetteError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


TREE = sorted(set(tree()), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", TREE)
def test_every_error_has_its_document(kind: type[MaquetteError]) -> None:
    problem = problems.document(kind("expected a, found b", photo="me.jpg", retry_after_seconds=3))
    assert problem["code"] == kind.code
    assert problem["type"] == f"urn:maquette:problem:{kind.code}"
    assert problem["title"].lower().replace(" ", "_") == kind.code
    assert 400 <= problem["status"] < 600
    assert problem["retry_after_seconds"] == 3
    if problem["status"] < 500:
        assert (problem["detail"], problem["photo"]) == ("expected a, found b", "me.jpg")
    else:
        assert "found b" not in problem["detail"]
        assert "photo" not in problem


def test_codes_stand_for_one_error_each() -> None:
    codes = [kind.code for kind in TREE]
    assert len(set(codes)) == len(codes)


def test_what_is_no_error_of_the_tree_is_internal() -> None:
    problem = problems.document(ValueError("secret"))
    assert (problem["status"], problem["code"]) == (500, "internal")
    assert "secret" not in str(problem)


def test_facts_never_take_the_place_of_the_members_that_all_have() -> None:
    error = errors.JobConflict("m", status="x", type="x", title="x", code="x", instance="x", state="done")
    problem = problems.document(error)
    assert (problem["status"], problem["code"], problem["state"]) == (409, "job_conflict", "done")
    assert "x" not in problem.values()


def test_facts_that_json_does_not_know_become_text() -> None:
    problem = problems.document(errors.PhotoTooLarge("m", ratio=float("nan"), where={"a": (1, {2: object})}))
    assert problem["ratio"] == "nan"
    assert problem["where"]["a"][0] == 1


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (errors.QuotaExceeded("m", retry_after_seconds=41_000), "41000"),
        (errors.Overloaded("m", retry_after_seconds=0.2), "1"),
        (errors.RateExceeded("m", retry_after_seconds=1.2), "2"),
        (errors.Overloaded("m"), "5"),
        (errors.JobsUnavailable("m"), "5"),
        (errors.HeadNotFound("m"), None),
    ],
)
def test_when_to_come_again_is_a_header(error: MaquetteError, seconds: str | None) -> None:
    assert problems.response(error).headers.get("retry-after") == seconds


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "route_unknown"),
        (405, "method_unknown"),
        (400, "request_invalid"),
        (413, "body_too_large"),
        (418, "request_invalid"),
    ],
)
def test_what_the_framework_refuses_is_of_the_tree(status: int, code: str) -> None:
    assert problems.from_http(HTTPException(status)).code == code
