"""The engines that are known here. Another one is another entry: its terms, and how it is made.

An engine's own modules are imported when it is first asked for, so that one whose packages or weights are missing keeps
nobody from using the others.
"""

from collections.abc import Callable
from dataclasses import dataclass

from maquette.errors import OptionInvalid
from maquette.headmodel import load_head_model
from maquette.release import version
from maquette.rooms import ReconstructorRoom

MOST_VIEWS = 16


@dataclass(frozen=True)
class Topology:
    """The mesh that an engine's heads have.

    Attributes:
        name: Of the mesh.
        version: Of the head model that it is of.
    """

    name: str
    version: str


@dataclass(frozen=True)
class Engine:
    """An engine, before it is made.

    Attributes:
        name: As in ``ReconstructOptions.engine``.
        version: Its version.
        commercial_use: Whether the terms of its results allow commercial use.
        max_views: Most photos of one person that it takes at once.
        licence: Gives the terms of its results.
        topology: Gives the mesh of its heads.
        make: Makes it in this process; raises SetupError where something is missing.
    """

    name: str
    version: str
    commercial_use: bool
    max_views: int
    licence: Callable[[], str]
    topology: Callable[[], Topology]
    make: Callable[[], ReconstructorRoom]


def find_engine(name: str) -> Engine:
    """An engine by its name.

    Raises:
        OptionInvalid: There is none of that name.
    """
    if name not in ENGINES:
        raise OptionInvalid(f"expected engine to be one of {', '.join(ENGINES)}, found {name[:80]}", field="engine")
    return ENGINES[name]


def _open_licence() -> str:
    from services.reconstructor.engines.open.engine import LICENCE

    return LICENCE


def _open_engine() -> ReconstructorRoom:
    from services.reconstructor.engines.open.engine import OpenEngine

    return OpenEngine()


def _own_topology() -> Topology:
    model = load_head_model()
    return Topology(model.topology, model.version)


ENGINES: dict[str, Engine] = {
    "open": Engine(
        name="open",
        version=version(),
        commercial_use=True,
        max_views=MOST_VIEWS,
        licence=_open_licence,
        topology=_own_topology,
        make=_open_engine,
    ),
}
"""By name, in the order they are offered."""
