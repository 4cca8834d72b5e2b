"""The description of the API: complete, its examples true to it, and what is answered true to it too."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from fastapi.routing import iter_route_contexts

from gateway.jobs import HeadState, JobState
from maquette.options import ENGINES
from maquette.rooms import FORMATS
from tests.gateway.serving import Served
from tests.gateway.test_access import TABLE
from tests.gateway.test_problems import TREE

pytestmark = pytest.mark.anyio

PROBLEM = "application/problem+json"
OPEN_ROUTES = ("/healthz", "/readyz")


@pytest.fixture
def api(served: Served) -> dict[str, Any]:
    """The description."""
    return served.app.openapi()


def operations(api: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def check(api: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    jsonschema.Draft202012Validator({**schema, "components": api["components"]}).validate(value)


def test_every_route_is_described(served: Served, api: dict[str, Any]) -> None:
    routes = {(m, str(r.path)) for r in iter_route_contexts(served.app.routes) for m in r.methods or ()}
    described = {(method, path) for method, path, _ in operations(api)}
    assert routes - {("GET", "/openapi.json"), ("HEAD", "/openapi.json")} == described


def test_every_operation_says_what_it_does_and_how_it_fails(api: dict[str, Any]) -> None:
    for method, path, operation in operations(api):
        where = f"{method} {path}"
        assert operation["summary"] and operation["description"] and operation["tags"], where
        for status, answer in operation["responses"].items():
            assert answer["description"], (where, status)
            if int(status) >= 400 and path != "/readyz":
                (content,) = answer["content"].items()
                assert content[0] == PROBLEM, (where, status)
                assert content[1]["examples"], (where, status)
        if path not in OPEN_ROUTES:
            assert {"401", "429", "500", "503"} <= operation["responses"].keys(), where
            assert operation["security"] == [{"bearer": []}, {"header": []}], where
        if TABLE[method, path].scope:
            assert "403" in operation["responses"], where
        if "{head_id}" in path:
            assert "404" in operation["responses"], where


def test_the_examples_are_what_they_are_examples_of(api: dict[str, Any]) -> None:
    for name, schema in api["components"]["schemas"].items():
        if "example" in schema:
            check(api, {"$ref": f"#/components/schemas/{name}"}, schema["example"])
    codes = {kind.code for kind in TREE}
    for method, path, operation in operations(api):
        for status, answer in operation["responses"].items():
            for example in answer.get("content", {}).get(PROBLEM, {}).get("examples", {}).values():
                check(api, {"$ref": "#/components/schemas/Problem"}, example["value"])
                assert example["value"]["status"] == int(status), (method, path)
                assert example["value"]["code"] in codes


def test_the_choices_are_those_of_the_rooms(api: dict[str, Any]) -> None:
    form = api["paths"]["/v1/heads"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["formats"]["items"]["enum"] == list(FORMATS)
    assert form["properties"]["engine"]["enum"] == list(ENGINES)
    assert (form["properties"]["photos"]["minItems"], form["properties"]["photos"]["maxItems"]) == (1, 16)
    assert api["components"]["schemas"]["HeadState"]["enum"] == list(HeadState)
    assert api["components"]["schemas"]["JobState"]["enum"] == list(JobState)


def test_the_description_is_valid_and_everything_it_refers_to_is_there(api: dict[str, Any]) -> None:
    text = json.dumps(api)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in api["components"]["schemas"]
    for name, schema in api["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert f"#/components/schemas/{name}" in text, f"{name} is described and never used"


async def test_answers_are_as_described(
    served: Served, anna: httpx.AsyncClient, api: dict[str, Any], sample: Path
) -> None:
    def said(method: str, path: str, status: int) -> dict[str, Any]:
        content: dict[str, Any] = api["paths"][path][method]["responses"][str(status)]["content"]["application/json"]
        return {**content["schema"]}

    photos = {"photos": ("me.jpg", sample.read_bytes())}
    made = await anna.post("/v1/heads", files=photos, data={"name": "Grandma"})
    check(api, said("post", "/v1/heads", 202), made.json())
    head_id = made.json()["id"]
    await served.finish(head_id, {"head.glb": ("model/gltf-binary", b"glTF")})
    path = "/v1/heads/{head_id}"
    check(api, said("get", path, 200), (await anna.get(f"/v1/heads/{head_id}")).json())
    check(api, said("get", "/v1/heads", 200), (await anna.get("/v1/heads")).json())
    export = await anna.post(f"/v1/heads/{head_id}/exports", json={"formats": ["stl"]})
    check(api, said("post", f"{path}/exports", 202), export.json())
    check(api, said("post", f"{path}/cancel", 200), (await anna.post(f"/v1/heads/{head_id}/cancel")).json())
    check(api, said("delete", path, 200), (await anna.delete(f"/v1/heads/{head_id}")).json())
    faces = await anna.post("/v1/detect", files={"photo": photos["photos"]})
    check(api, said("post", "/v1/detect", 200), faces.json())
    check(api, said("get", "/v1/engines", 200), (await anna.get("/v1/engines")).json())
    check(api, said("get", "/healthz", 200), (await anna.get("/healthz")).json())
    check(api, said("get", "/readyz", 200), (await anna.get("/readyz")).json())
