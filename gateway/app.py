"""The HTTP application: routes, problem documents, CORS, and what is said of every request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import iter_route_contexts
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path

from gateway import openapi, problems
from gateway.context import Gateway
from gateway.figures import HttpMetrics
from gateway.jobs import JobStore
from gateway.observe import PROBLEM_KEY, Observe
from gateway.readiness import Dependencies
from gateway.routes import detect, engines, exports, files, heads, health
from gateway.settings import GatewaySettings
from maquette.errors import FieldInvalid, MaquetteError, MethodUnknown
from maquette.metrics import new_registry
from maquette.release import version
from maquette.services import DetectorService, ReconstructorService
from maquette.store import ObjectStore

_EXPOSED = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
)
_ACCEPTED = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Range",
    "X-API-Key",
    "traceparent",
    "tracestate",
)


def create_app(
    jobs: JobStore,
    store: ObjectStore,
    detector: DetectorService,
    reconstructor: ReconstructorService,
    settings: GatewaySettings,
    registry: CollectorRegistry | None = None,
) -> FastAPI:
    """Make the application; it lets go of what it made itself when its lifespan ends, and of nothing else.

    Whoever serves it calls ``app.state.gateway.drain()`` when told to end, before the server waits for answers: streams
    of events would not end by themselves.

    Args:
        jobs: Heads, jobs and keys.
        store: Photos and products.
        detector: For ``POST /v1/detect``.
        reconstructor: For ``GET /v1/engines``.
        settings: How the gateway answers.
        registry: Where its figures go, for ``/metrics``; one of its own when None.

    Raises:
        OptionInvalid: The settings name a store for rates that there is not.
        DependencyMissing: Its package is not installed.
    """
    metrics = HttpMetrics(registry or new_registry())
    gateway = Gateway(jobs, store, detector, reconstructor, settings, metrics)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            gateway.close()

    app = FastAPI(
        title="Maquette",
        openapi_url="/openapi.json",
        # Its pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        lifespan=lifespan,
        # By itself it records addresses of heads and callers, and the texts of exceptions; Observe records what may be.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.gateway = gateway
    app.state.dependencies = Dependencies(gateway)
    for group in (heads, exports, files, detect, engines, health):
        app.include_router(group.router)
    app.add_exception_handler(MaquetteError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "HEAD", "POST", "DELETE"),
            allow_headers=_ACCEPTED,
            expose_headers=_EXPOSED,
        )
    app.add_middleware(Observe, metrics=metrics, pause_s=settings.answer_pause_s)
    openapi.describe(app, version())
    return app


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, MaquetteError)
    request.scope[PROBLEM_KEY] = error.code
    return problems.response(error)


async def _invalid(request: Request, error: Exception) -> Response:
    """Parameters that do not fit; what came is not repeated."""
    assert isinstance(error, RequestValidationError)
    listed = [
        {"where": str(e["loc"][0]), "field": ".".join(map(str, e["loc"][1:])), "message": e["msg"]}
        for e in error.errors()
    ]
    names = ", ".join(dict.fromkeys(e["field"] for e in listed))
    found = FieldInvalid(f"expected valid parameters, found fault with {names}: {listed[0]['message']}", errors=listed)
    return await _known(request, found)


async def _refused(request: Request, error: Exception) -> Response:
    """What the framework refuses: unknown addresses and methods."""
    assert isinstance(error, HTTPException)
    found = problems.from_http(error)
    request.scope[PROBLEM_KEY] = found.code
    headers = dict(error.headers or {})
    if isinstance(found, MethodUnknown):
        # The framework names the methods of one route only, and an address has a route for each.
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return problems.response(found, headers.items())


def _methods(request: Request) -> set[str]:
    """The methods that an address has."""
    contexts = iter_route_contexts(request.app.routes)
    matching = (c.methods or () for c in contexts if _matches(str(c.path), request.url.path))
    return {method for methods in matching for method in methods}


def _matches(template: str, path: str) -> bool:
    pattern, _, _ = compile_path(template)
    return pattern.match(path) is not None
