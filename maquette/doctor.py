"""Is everything here that a reconstruction needs? Each check says what is wrong and what to do about it."""

import ctypes
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from maquette import networks, pipeline
from maquette.errors import MaquetteError, ModelFileInvalid, NetworkFilesMissing
from maquette.headmodel import load_head_model
from maquette.release import version
from maquette.settings import Settings

DISTRIBUTION = "maquette"
NATIVE_MODULES = (
    "ai_edge_litert.interpreter",
    "cv2",
    "embreex.rtcore_scene",
    "manifold3d",
    "pi_heif",
    "PIL.Image",
    "scipy.sparse",
)
"""Modules with compiled parts that the main path uses; that one is broken shows only when it is imported."""

OPEN3D_LIBRARIES: dict[str, str] = {
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libX11.so.6": "libx11-6",
    "libudev.so.1": "libudev1",
    "libgomp.so.1": "libgomp1",
}
"""System libraries that Open3D loads, and the Debian packages that hold them."""

NEEDED_MEMORY = 1_500_000_000
NEEDED_DISK = 100_000_000


class Status(StrEnum):
    """How a check came out: ``warn`` leaves the main job possible, ``fail`` does not."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        name: What was looked at.
        status: How it came out.
        detail: What was found.
        advice: What to do; empty when nothing is wrong.
    """

    name: str
    status: Status
    detail: str
    advice: str = ""


def examine(settings: Settings) -> Iterator[Check]:
    """Look at this installation; yields each check as soon as it is done."""
    yield _python()
    yield _packages()
    yield _native_modules()
    yield _head_model()
    yield _networks(settings)
    yield _rooms(settings)
    yield _home(settings)
    yield _memory()
    yield _cores()
    yield _open3d()


def missing_open3d_libraries() -> dict[str, str]:
    """System libraries that Open3D needs and that are not here, with their Debian packages."""
    return {library: package for library, package in OPEN3D_LIBRARIES.items() if not _loads(library)}


def install_advice(packages: list[str]) -> str:
    """How to install Debian packages."""
    return "on Debian or Ubuntu: apt-get install " + " ".join(packages)


def _python() -> Check:
    wanted = SpecifierSet(importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"])
    found = platform.python_version()
    detail = f"{platform.python_implementation()} {found} at {sys.executable}, {platform.system()} {platform.machine()}"
    if wanted.contains(found, prereleases=True):
        return Check("Python", Status.OK, detail)
    return Check("Python", Status.FAIL, detail, f"expected {wanted}")


def _packages() -> Check:
    """Are the packages that the distribution declares installed, in versions that it accepts?"""
    wrong = []
    names = [Requirement(r) for r in importlib.metadata.requires(DISTRIBUTION) or []]
    needed = [r for r in names if r.marker is None or r.marker.evaluate({"extra": ""})]
    for requirement in needed:
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement} is not installed")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement} is wanted, {found} installed")
    if wrong:
        return Check("Packages", Status.FAIL, "; ".join(wrong), "pip install --upgrade maquette")
    return Check("Packages", Status.OK, f"maquette {version()} and the {len(needed)} packages it needs")


def _native_modules() -> Check:
    wrong = []
    for name in NATIVE_MODULES:
        try:
            importlib.import_module(name)
        except Exception as error:
            # Whatever a broken binary raises is what this check is for.
            wrong.append(f"{name}: {' '.join(str(error).split())}")
    if wrong:
        return Check(
            "Compiled parts", Status.FAIL, "; ".join(wrong), "pip install --force-reinstall the packages named"
        )
    return Check("Compiled parts", Status.OK, ", ".join(n.split(".")[0] for n in NATIVE_MODULES) + " load")


def _head_model() -> Check:
    try:
        model = load_head_model()
    except ModelFileInvalid as error:
        return Check("Head model", Status.FAIL, str(error), "pip install --force-reinstall maquette")
    return Check("Head model", Status.OK, f"{model.name} {model.version}, {len(model.mean)} vertices, {model.licence}")


def _networks(settings: Settings) -> Check:
    try:
        networks.require_networks(settings)
    except NetworkFilesMissing as error:
        return Check("Landmark networks", Status.FAIL, str(error), networks.SETUP_ADVICE)
    if not networks.is_installed(settings):
        return Check("Landmark networks", Status.FAIL, f"damaged in {settings.networks}", networks.SETUP_ADVICE)
    return Check("Landmark networks", Status.OK, f"in {settings.networks}, every digest right")


def _rooms(settings: Settings) -> Check:
    """Do the rooms start? Reads the data files of the engine and of the exports."""
    try:
        pipeline.local_rooms(settings)
    except MaquetteError as error:
        return Check("Rooms", Status.FAIL, str(error), "see above, or pip install --force-reinstall maquette")
    return Check("Rooms", Status.OK, f"detector, engine {pipeline.ENGINES[0]} and exports start")


def _home(settings: Settings) -> Check:
    folder = settings.home
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    detail = f"{settings.home}, {free / 1e9:.1f} GB free"
    if not os.access(folder, os.W_OK):
        return Check("Data folder", Status.WARN, f"{detail}, not writable", "set MAQUETTE_HOME to a folder of your own")
    if free < NEEDED_DISK:
        return Check("Data folder", Status.WARN, detail, f"expected {NEEDED_DISK / 1e6:.0f} MB free")
    return Check("Data folder", Status.OK, detail)


def _memory() -> Check:
    available = _available_memory()
    if available is None:
        return Check("Memory", Status.OK, "not known on this system")
    detail = f"{available / 1e9:.1f} GB available"
    if available < NEEDED_MEMORY:
        return Check("Memory", Status.WARN, detail, f"expected {NEEDED_MEMORY / 1e9:.1f} GB; close other programs")
    return Check("Memory", Status.OK, detail)


def _available_memory() -> int | None:
    """Bytes that a new process can have: free memory or, where lower, the control group's limit."""
    found = []
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        found += [int(limit)] if limit != "max" else []
    except (OSError, ValueError, KeyError):
        pass
    return min(found, default=None)


def _cores() -> Check:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Check("Processor cores", Status.OK, str(count))


def _open3d() -> Check:
    """Open3D is optional; where it is installed, can it load?"""
    missing = missing_open3d_libraries()
    if importlib.util.find_spec("open3d") is None:
        return Check("Open3D (optional)", Status.OK, "not installed; nothing on the main path needs it")
    if missing:
        return Check(
            "Open3D (optional)",
            Status.WARN,
            f"installed, but the system lacks {', '.join(missing)}",
            install_advice(list(missing.values())),
        )
    return Check("Open3D (optional)", Status.OK, "installed, its system libraries are here")


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
