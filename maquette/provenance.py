"""What a result was made with: versions, data files, networks, and one digest over all that decides its bytes."""

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from maquette.networks import ATTENTION, FILES
from maquette.release import version
from maquette.rooms import ReconstructOptions


@dataclass(frozen=True)
class DataFile:
    """A file of numbers that takes part in every reconstruction.

    Attributes:
        name: Path inside the installed package, or name of the network.
        sha256: Hex digest.
    """

    name: str
    sha256: str


@lru_cache(maxsize=1)
def data_files() -> tuple[DataFile, ...]:
    """The models shipped with the packages, by name."""
    found: dict[str, str] = {}
    for package in ("maquette", "services"):
        spec = importlib.util.find_spec(package)
        for root in map(Path, (spec.submodule_search_locations or []) if spec else []):
            for path in (*root.rglob("*.npz"), *root.rglob("*.safetensors")):
                name = f"{package}/{path.relative_to(root).as_posix()}"
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return tuple(DataFile(name, digest) for name, digest in sorted(found.items()))


def networks() -> tuple[DataFile, ...]:
    """The landmark networks as they come out of their wheel."""
    return tuple(DataFile(f.name, f.sha256) for f in (*FILES, ATTENTION))


def options_json(options: ReconstructOptions, face: int | str) -> dict[str, Any]:
    """Options as they stand in a report.

    Args:
        options: What the caller chose.
        face: Which face was asked for: a number from 1, or ``largest``.
    """
    return {**asdict(options), "formats": list(options.formats), "face": face}


def request_digest(photos: Sequence[str], options: dict[str, Any]) -> str:
    """Digest of everything that decides a result's bytes, as far as this package can know it.

    Args:
        photos: Hex digests of the photo files, in their order.
        options: As in the report.
    """
    request = {
        "maquette": version(),
        "data": [asdict(f) for f in (*data_files(), *networks())],
        "photos": list(photos),
        "options": options,
    }
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
