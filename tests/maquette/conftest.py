"""The sample photo's reconstruction, made once for all tests that look at one."""

from pathlib import Path

import pytest

from maquette import pipeline
from maquette.events import Event
from maquette.pipeline import Rooms
from maquette.result import Result
from maquette.rooms import ReconstructOptions
from maquette.settings import Settings


@pytest.fixture(scope="session")
def rooms(settings: Settings) -> Rooms:
    return pipeline.local_rooms(settings)


@pytest.fixture(scope="session")
def events() -> list[Event]:
    """What the reconstruction of the fixture ``result`` told its listener."""
    return []


@pytest.fixture(scope="session")
def result(sample: Path, rooms: Rooms, settings: Settings, events: list[Event]) -> Result:
    return pipeline.reconstruct(
        [sample], rooms=rooms, settings=settings, options=ReconstructOptions(), listener=events.append
    )


@pytest.fixture(scope="session")
def quick() -> ReconstructOptions:
    """Options that make as little as possible."""
    return ReconstructOptions(detail=False, hair="none", formats=("ply",))
