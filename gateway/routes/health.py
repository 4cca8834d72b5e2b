"""How the gateway is: for balancers, for Prometheus, and for whoever looks after it."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.auth import Scraper
from gateway.context import TheGateway
from gateway.models import Health, Readiness
from gateway.openapi import keyed, refusals
from gateway.readiness import TheDependencies
from maquette.release import version

router = APIRouter(tags=["installation"])


@router.get("/healthz", response_model=Health, summary="Whether the process answers", responses=refusals())
async def healthz() -> Response:
    """Says that the process answers, and asks nobody else."""
    return JSONResponse({"status": "ok", "version": version()})


@router.get(
    "/readyz",
    response_model=Readiness,
    summary="Whether requests can be answered",
    responses={503: {"model": Readiness, "description": "Something that is needed does not answer."}},
)
async def readyz(dependencies: TheDependencies) -> Response:
    """Asks everything that is needed; the answer is a second old at most."""
    readiness = await dependencies.readiness()
    return JSONResponse(readiness.model_dump(mode="json"), 200 if readiness.status == "ready" else 503)


@router.get(
    "/metrics",
    response_class=Response,
    summary="Figures for Prometheus",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **keyed()},
)
async def metrics(gateway: TheGateway, _allowed: Scraper) -> Response:
    """Requests, uploads, streams and jobs."""
    gateway.metrics.show(await gateway.jobs.counts())
    text = await gateway.in_thread(generate_latest, gateway.metrics.registry)
    return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})
