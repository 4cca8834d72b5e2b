"""Writes docs/configuration.md out of the settings classes: ``python scripts/make_configuration.py [--check]``.

With ``--check`` nothing is written, and the exit code is 1 when the page is not what it would be.
"""

import inspect
import re
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from gateway.http import HttpSettings
from gateway.jobs.settings import JobSettings
from gateway.settings import GatewaySettings
from gateway.worksettings import ServicesSettings, WorkerSettings
from maquette.rpc.settings import ClientSettings, ServerSettings
from maquette.settings import Settings
from maquette.store import StoreSettings
from maquette.telemetry import TelemetrySettings
from services.detector.server import DetectorServerSettings
from services.meshproc.server import MeshprocServerSettings
from services.meshproc.settings import MeshprocSettings
from services.reconstructor.server import ReconstructorServerSettings
from services.reconstructor.settings import ReconstructorSettings
from services.reconstructor.triton import TritonSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"

_INTRODUCTION = """\
# Configuration

<!-- Written by scripts/make_configuration.py out of the settings classes; do not edit. -->

Everything is set by environment variables, read once when a program starts; a wrong value ends it with one line that
names the setting. Times are in seconds, sizes in bytes. `maquette-gateway --help` and its siblings list their
variables with the defaults on the machine at hand. [Running Maquette](running.md) says which programs there are.
"""

_COMPUTED = {
    "MAQUETTE_HOME": "the platform's folder for user data",
    "MAQUETTE_STORE_URL": "`file://$MAQUETTE_HOME/store`",
    "MAQUETTE_JOBS_DATABASE_URL": "`sqlite:///$MAQUETTE_HOME/jobs.sqlite3`",
    "MAQUETTE_WORKER_NAME": "machine and process",
    "MAQUETTE_WORKER_CONCURRENCY": "processors, at most 8",
    "MAQUETTE_<SERVICE>_MAX_CONCURRENT": "processors",
}
"""What defaults that are computed come to, in words: they differ from machine to machine."""


@dataclass(frozen=True)
class Section:
    """A table of the page.

    Attributes:
        title: Heading.
        who: Which programs read it.
        kind: The settings.
        prefix: Of the variables; the class's own when None.
        without: Fields that are not shown.
        text: What else is to be said.
    """

    title: str
    who: str
    kind: type[BaseSettings]
    prefix: str | None = None
    without: tuple[str, ...] = ()
    text: str = ""


_SERVICES = {
    "DETECTOR": DetectorServerSettings,
    "RECONSTRUCTOR": ReconstructorServerSettings,
    "MESHPROC": MeshprocServerSettings,
}
_ALL = "`maquette serve`, `maquette-gateway`, `maquette-worker`"

SECTIONS = (
    Section("Installation", "every program", Settings),
    Section("Object store", f"{_ALL}, the services", StoreSettings),
    Section("Jobs", f"{_ALL}, `maquette keys`", JobSettings),
    Section("Gateway", "`maquette serve`, `maquette-gateway`", GatewaySettings),
    Section("HTTP connections", "`maquette serve`, `maquette-gateway`", HttpSettings),
    Section("Worker", "`maquette serve`, `maquette-worker`", WorkerSettings),
    Section("Addresses of the services", "`maquette-gateway`, `maquette-worker`", ServicesSettings),
    Section(
        "Connections to the services", "`maquette-gateway`, `maquette-worker`", ClientSettings, without=("target",)
    ),
    Section(
        "Services",
        "`maquette-detector`, `maquette-reconstructor`, `maquette-meshproc`",
        ServerSettings,
        prefix="MAQUETTE_<SERVICE>_",
        without=("port",),
        text="`<SERVICE>` is "
        + " or ".join(f"`{name}`" for name in _SERVICES)
        + ". `MAQUETTE_<SERVICE>_PORT` is the port to listen on, 0 for a free one: by default "
        + ", ".join(f"{k.model_fields['port'].default} for the {n.lower()}" for n, k in _SERVICES.items())
        + ".",
    ),
    Section("Reconstructor", "`maquette serve`, `maquette-reconstructor`", ReconstructorSettings),
    Section(
        "Connection to Triton",
        "`maquette serve`, `maquette-reconstructor`",
        TritonSettings,
        without=("target",),
        text="The address is `MAQUETTE_RECONSTRUCTOR_TRITON_URL`.",
    ),
    Section("Meshproc", "`maquette serve`, `maquette-meshproc`", MeshprocSettings),
    Section("Logs and traces", f"{_ALL}, the services", TelemetrySettings),
)


def page() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *(_section(section) for section in SECTIONS)])


def shown() -> set[type[BaseSettings]]:
    """The classes that the page shows."""
    return {section.kind for section in SECTIONS} | set(_SERVICES.values())


def _section(section: Section) -> str:
    prefix = section.kind.model_config.get("env_prefix", "") if section.prefix is None else section.prefix
    described = _described(section.kind)
    lines = [f"## {section.title}", "", f"Read by {section.who}."]
    if section.text:
        lines += ["", section.text]
    lines += ["", "| variable | default | |", "|---|---|---|"]
    for name, about in section.kind.model_fields.items():
        if name not in section.without:
            variable = f"{prefix}{name.upper()}"
            lines.append(f"| `{variable}` | {_default(variable, about)} | {_cell(described[name])} |")
    return "\n".join(lines) + "\n"


def _described(kind: type[BaseSettings]) -> dict[str, str]:
    """What the docstrings of a class and its parents say of their attributes."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if issubclass(each, BaseSettings) and each is not BaseSettings:
            text = inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")[2]
            for name, description in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE):
                found[name] = re.sub(r"\s+", " ", description)
    return found


def _default(variable: str, about: FieldInfo) -> str:
    if about.default_factory is not None:
        return _COMPUTED[variable]
    value: Any = about.default
    if isinstance(value, Enum):
        value = value.value
    if value is None or value in ("", ()):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Write or compare; returns the exit code."""
    text = page()
    if "--check" in arguments:
        same = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
        if not same:
            sys.stderr.write(f"{PAGE.name} is not what the settings say: run scripts/make_configuration.py\n")
        return 0 if same else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
