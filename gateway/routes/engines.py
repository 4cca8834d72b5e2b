"""The engines that make heads."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from gateway.auth import AnyCaller
from gateway.models import EngineList
from gateway.openapi import keyed
from gateway.readiness import TheDependencies
from maquette import errors

router = APIRouter(tags=["installation"])


@router.get(
    "/v1/engines",
    response_model=EngineList,
    summary="List engines",
    responses=keyed(errors.DeadlineExceeded, scope=False),
)
async def list_engines(dependencies: TheDependencies, _caller: AnyCaller) -> Response:
    """The engines that are known here, their terms, and whether they can be used; the answer may be a minute old."""
    return JSONResponse((await dependencies.engines()).model_dump(mode="json"))
