"""A finished reconstruction, in memory and on disk."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.files import write_folder
from maquette.report import FORMAT, REPORT_NAME, to_json
from maquette.rooms import PhotoView, Product
from maquette.types import Caution, Face, Head

TIMINGS_NAME = "timings.json"


@dataclass(frozen=True, eq=False)
class Result:
    """What became of one person's photos.

    Attributes:
        head: The head: shape, textures, hair, cameras, expressions, uncertainty (arrays, see ``maquette.types``).
        views: The photos with the face taken in each, and that person's mask.
        products: The output files, in memory.
        report: What ``report.json`` holds.
        timings: What ``timings.json`` holds: seconds by stage and in total.
    """

    head: Head
    views: tuple[PhotoView, ...] = field(repr=False)
    products: tuple[Product, ...]
    report: dict[str, Any] = field(repr=False)
    timings: dict[str, Any]

    @property
    def faces(self) -> tuple[Face, ...]:
        """The face taken in each photo."""
        return tuple(v.face for v in self.views)

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """What a user of this result should know: of the head, then of its files."""
        return tuple(Caution(c["code"], c["message"]) for c in self.report["cautions"])

    def save(self, folder: Path | str) -> list[Path]:
        """Write the products, ``timings.json`` and, last, ``report.json``.

        A folder that has a report has all that the report names. Products of an older report are replaced.

        Args:
            folder: Where to; made if need be.

        Returns:
            The paths written.

        Raises:
            OutputError: The folder or a file cannot be written.
        """
        folder = Path(folder)
        files = {p.name: p.data for p in self.products}
        files[TIMINGS_NAME] = to_json(self.timings).encode()
        files[REPORT_NAME] = to_json(self.report).encode()
        older = read_report(folder)
        stale = [p["name"] for p in older["products"]] if older else []
        return write_folder(folder, files, seal=REPORT_NAME, stale=stale)


def read_report(folder: Path) -> dict[str, Any] | None:
    """The report in a folder; None where there is none, or something else by that name."""
    try:
        report = json.loads((folder / REPORT_NAME).read_bytes())
        names = [p["name"] for p in report["products"]]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    plain = all(isinstance(n, str) and Path(n).name == n for n in names)
    return report if plain and report.get("schema") == FORMAT else None


def is_complete(folder: Path, request_sha256: str) -> bool:
    """Whether a folder holds the whole, undamaged result of a request (see ``provenance.request_digest``)."""
    report = read_report(folder)
    if report is None or report.get("request_sha256") != request_sha256:
        return False
    return all(_is_intact(folder / p["name"], p) for p in _listing(report))


def _listing(report: dict[str, Any]) -> Sequence[dict[str, Any]]:
    products: list[dict[str, Any]] = report["products"]
    return products


def _is_intact(path: Path, product: dict[str, Any]) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == product.get("sha256")
    except OSError:
        return False
