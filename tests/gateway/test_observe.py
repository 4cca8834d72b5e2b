"""What every answer has, and what is said of every request: headers, log lines, figures, spans; never who or what."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Request
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway.jobs.keys import Scope
from maquette.logs import JsonFormatter
from tests.gateway.callers import code_of, connection
from tests.gateway.serving import Served, serving
from tests.gateway.test_heads import GLB, ask_head
from tests.gateway.test_uploads import photo

pytestmark = pytest.mark.anyio


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the gateway writes into its log meanwhile."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter("gateway"))
    logger = logging.getLogger("gateway")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


async def test_answers_of_all_sorts_have_the_security_headers(served: Served, anna: httpx.AsyncClient) -> None:
    head_id = await ask_head(anna)
    await served.finish(head_id, {"head.glb": (GLB, b"glTF")})
    answers = [
        await anna.get(path)
        for path in (
            "/healthz",
            "/v1/heads",
            f"/v1/heads/{head_id}/files/head.glb",
            f"/v1/heads/{head_id}/events",
            "/no",
        )
    ]
    assert [a.status_code for a in answers] == [200, 200, 200, 200, 404]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    # Nothing but files is for anybody's cache.
    assert [a.headers["cache-control"] for a in answers] == ["no-store"] * 2 + ["private, no-cache"] + ["no-store"] * 2


async def test_pages_of_named_origins_may_call_and_others_not(tmp_path: Path) -> None:
    origins = "https://maquette.example, http://localhost:5173"
    async with serving(tmp_path, cors_origins=origins) as served, served.customer() as anna:
        for origin in ("https://maquette.example", "http://localhost:5173"):
            answer = await anna.get("/v1/heads", headers={"origin": origin})
            assert answer.headers["access-control-allow-origin"] == origin
            assert "access-control-allow-credentials" not in answer.headers
            assert {"ETag", "Location", "Retry-After", "RateLimit"} <= set(
                answer.headers["access-control-expose-headers"].split(", ")
            )
            asked = {"origin": origin, "access-control-request-method": "DELETE"}
            asked["access-control-request-headers"] = "authorization, idempotency-key, last-event-id"
            async with served.client(None) as browser:
                preflight = await browser.request("OPTIONS", "/v1/heads/head_x", headers=asked)
            assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, origin)
        answer = await anna.get("/v1/heads", headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in answer.headers
        # Problems can be read by the page, too.
        answer = await anna.get("/v1/heads/head_x", headers={"origin": "http://localhost:5173"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (404, "http://localhost:5173")


async def test_without_the_setting_no_page_may_call(anna: httpx.AsyncClient) -> None:
    answer = await anna.get("/v1/heads", headers={"origin": "https://maquette.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("method", "path", "code", "allow"),
    [
        ("GET", "/", (404, "route_unknown"), None),
        ("GET", "/v2/heads", (404, "route_unknown"), None),
        ("GET", "/v1/heads/", (404, "route_unknown"), None),
        ("PUT", "/v1/heads", (405, "method_unknown"), "GET, POST"),
        ("PATCH", "/v1/heads/head_x", (405, "method_unknown"), "DELETE, GET"),
        ("OPTIONS", "/v1/heads/head_x/files/head.glb", (405, "method_unknown"), "GET, HEAD"),
        ("BREW", "/v1/detect", (405, "method_unknown"), "POST"),
    ],
)
async def test_addresses_and_methods_that_there_are_not_are_problems(
    anna: httpx.AsyncClient, method: str, path: str, code: tuple[int, str], allow: str | None
) -> None:
    answer = await anna.request(method, path)
    assert code_of(answer) == code
    assert answer.headers.get("allow") == allow


async def test_parameters_that_do_not_fit_are_named_and_not_repeated(anna: httpx.AsyncClient) -> None:
    answer = await anna.get("/v1/heads?limit=secret&state=hidden")
    assert code_of(answer) == (422, "field_invalid")
    assert [(e["where"], e["field"]) for e in answer.json()["errors"]] == [("query", "limit"), ("query", "state.0")]
    assert "secret" not in answer.text
    assert "hidden" not in answer.text


async def test_log_lines_say_what_was_done_but_not_who_sent_what(served: Served, log: io.StringIO) -> None:
    new = await served.jobs.keys.create("Anna Karenina")
    async with served.client(new.secret) as anna:
        files = {"photos": ("grandma-at-the-lake.jpg", photo())}
        head = (await anna.post("/v1/heads", files=files, data={"name": "Grandma"})).json()
        await anna.get(head["url"], headers={"user-agent": "Personal/1.0"})
        await anna.get("/v1/heads?cursor=nonsense")
        await anna.get("/v1/secret-address")
    told = [{k: line.get(k) for k in ("method", "route", "status", "key", "code")} for line in lines(log)]
    assert told == [
        {"method": "POST", "route": "/v1/heads", "status": 202, "key": new.key.id, "code": None},
        {"method": "GET", "route": "/v1/heads/{head_id}", "status": 200, "key": new.key.id, "code": None},
        {"method": "GET", "route": "/v1/heads", "status": 422, "key": new.key.id, "code": "option_invalid"},
        {"method": "GET", "route": "unknown", "status": 404, "key": None, "code": "route_unknown"},
    ]
    assert all(line["seconds"] >= 0 for line in lines(log))
    for personal in (
        "grandma",
        "Grandma",
        "127.0.0.1",
        "Personal",
        "Karenina",
        new.secret,
        head["id"],
        "nonsense",
        "lake",
    ):
        assert personal not in log.getvalue(), personal


async def test_an_unforeseen_error_is_a_problem_and_its_text_stays_inside(tmp_path: Path, log: io.StringIO) -> None:
    async with serving(tmp_path) as served, served.client(None) as client:

        @served.app.get("/broken")
        async def broken(request: Request) -> None:
            raise RuntimeError("the password is secret")

        answer = await client.get("/broken")
        assert code_of(answer) == (500, "internal")
    assert "secret" not in answer.text + log.getvalue()
    (error, line) = lines(log)
    assert (error["level"], error["error"], error["code"]) == ("error", "RuntimeError", "internal")
    assert any("broken" in place for place in error["at"])
    assert (line["status"], line["code"]) == (500, "internal")


async def test_a_caller_who_hangs_up_is_no_error(served: Served, log: io.StringIO) -> None:
    headers = {
        "authorization": f"Bearer {await served.key()}",
        "content-type": "multipart/form-data; boundary=x",
        "content-length": "1000",
    }
    async with connection(served) as caller:
        await caller.begin("POST", "/v1/heads", headers)
        while not served.gateway.uploads.taken:
            await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        while not lines(log):
            await asyncio.sleep(0.01)
    assert [(line["level"], line["status"]) for line in lines(log)] == [("info", 499)]


async def test_requests_go_on_with_their_callers_trace(
    served: Served, anna: httpx.AsyncClient, spans: InMemorySpanExporter, log: io.StringIO
) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = await anna.get("/v1/heads/head_x", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    assert answer.json()["trace_id"] == trace
    (span,) = [s for s in spans.get_finished_spans() if s.context is not None and f"{s.context.trace_id:032x}" == trace]
    assert span.name == "GET /v1/heads/{head_id}"
    assert span.parent is not None and f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert dict(span.attributes or {}) == {"http.route": "/v1/heads/{head_id}", "http.response.status_code": 404}
    assert lines(log)[-1]["trace_id"] == trace


async def figures(served: Served) -> dict[str, float]:
    async with served.customer(scopes=frozenset({Scope.METRICS})) as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#"))
    }


async def test_figures_count_requests_uploads_problems_and_jobs(tmp_path: Path) -> None:
    async with serving(tmp_path, rate="") as served, served.customer() as anna:
        waiting, done = await ask_head(anna), await ask_head(anna)
        await anna.post(f"/v1/heads/{waiting}/cancel")
        await served.finish(done, {})
        await anna.get("/v1/heads/head_x")
        await anna.get("/made-up-1")
        await anna.get("/made-up-2")
        await anna.request("BREW", "/v1/heads")
        await anna.post("/v1/heads", files={"photos": ("x", b"text")})
        found = await figures(served)
    posted = '{method="POST",route="/v1/heads",status="202"}'
    assert found[f"maquette_http_requests_total{posted}"] == 2
    assert found['maquette_http_requests_total{method="POST",route="/v1/heads",status="415"}'] == 1
    assert found['maquette_http_requests_total{method="GET",route="/v1/heads/{head_id}",status="404"}'] == 1
    assert found['maquette_http_requests_total{method="GET",route="unknown",status="404"}'] == 2
    assert found['maquette_http_problems_total{code="photo_unreadable"}'] == 1
    assert found['maquette_http_seconds_count{method="POST",route="/v1/heads"}'] == 3
    assert found["maquette_upload_bytes_count"] == 2
    assert found["maquette_upload_bytes_sum"] == 10_000
    assert found["maquette_uploads_in_flight"] == 0
    assert found["maquette_event_streams"] == 0
    assert found["maquette_http_in_flight"] == 1
    assert found['maquette_heads{state="cancelled"}'] == 1
    assert found['maquette_heads{state="done"}'] == 1
    assert found['maquette_heads{state="failed"}'] == 0
    assert found['maquette_jobs{kind="reconstruct",state="done"}'] == 1
    assert found["maquette_jobs_ready"] == 0
    assert found["process_resident_memory_bytes"] > 0
    assert not [name for name in found if "made-up" in name or "BREW" in name]
