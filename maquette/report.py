"""The report that goes with every result; its schema is ``report.schema.json`` beside this module."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from maquette.headmodel import ARKIT_NAMES, HeadModel, load_head_model
from maquette.measurements import SCALE_NOTE, measure
from maquette.provenance import data_files, networks, options_json, request_digest
from maquette.release import version
from maquette.rooms import ReconstructOptions
from maquette.types import Bool, Camera, Caution, Face, Head, View

FORMAT = "maquette-report/1"
REPORT_NAME = "report.json"
SCHEMA_FILE = Path(__file__).with_name("report.schema.json")
NETWORK_LICENCE = "Apache-2.0"

DETERMINISM = (
    "Nothing here is drawn at random. The same photos, options, release and numerical libraries on the same kind of "
    "processor make the same bytes in every file; only timings.json differs from run to run."
)


class PhotoFacts(Protocol):
    """What a report says of a photo; a ``Photo`` is one, and so is what is known of it where its pixels are not."""

    @property
    def name(self) -> str:
        """File name."""
        ...

    @property
    def sha256(self) -> str:
        """Hex digest of the file's bytes."""
        ...

    @property
    def width(self) -> int:
        """Width in pixels."""
        ...

    @property
    def height(self) -> int:
        """Height in pixels."""
        ...

    @property
    def focal_px(self) -> float | None:
        """Focal length in pixels."""
        ...


class Sitting(Protocol):
    """A photo with the face that was taken in it; a ``PhotoView`` is one."""

    @property
    def photo(self) -> PhotoFacts:
        """The photo."""
        ...

    @property
    def face(self) -> Face:
        """The face."""
        ...


class FileFacts(Protocol):
    """What a report says of a file; a ``Product`` is one, and so is the record of one that lies in the store."""

    @property
    def name(self) -> str:
        """File name."""
        ...

    @property
    def media_type(self) -> str:
        """Its media type."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes."""
        ...


@dataclass(frozen=True)
class Choice:
    """Which of a photo's faces was taken.

    Attributes:
        number: From 1, the most prominent first.
        count: Faces found in the photo.
    """

    number: int
    count: int


def build_report(
    head: Head,
    views: Sequence[Sitting],
    choices: Sequence[Choice],
    options: ReconstructOptions,
    face: int | str,
    products: Sequence[FileFacts],
    cautions: Sequence[Caution] = (),
) -> dict[str, Any]:
    """Everything about a result that is not in its files.

    Args:
        head: The complete head.
        views: The photos it was made from.
        choices: Which face was taken in each.
        options: What the caller chose.
        face: Which face the caller asked for.
        products: The files made.
        cautions: What was found out about them, beside what the head says of itself.

    Returns:
        A JSON-serialisable object that ``report.schema.json`` describes.
    """
    asked = options_json(options, face)
    model = _model_of(head)
    return {
        "schema": FORMAT,
        "maquette": version(),
        "engine": {"name": options.engine, "version": head.engine, "licence": head.licence},
        "model": _model(head, model),
        "data": [{"name": f.name, "sha256": f.sha256} for f in data_files()],
        "networks": [{"name": f.name, "sha256": f.sha256, "licence": NETWORK_LICENCE} for f in networks()],
        "request_sha256": request_digest([v.photo.sha256 for v in views], asked),
        "options": asked,
        "photos": [
            _photo(view, choice, fitted) for view, choice, fitted in zip(views, choices, head.fit.views, strict=True)
        ],
        "shape": _shape(head, model),
        "uncertainty": _uncertainty(head, model),
        "measurements": _measurements(head, model),
        "hair": [h.name for h in head.hair],
        "cautions": [{"code": c.code, "message": c.message} for c in (*head.fit.warnings, *cautions)],
        "products": [file_json(p) for p in products],
        "determinism": DETERMINISM,
    }


def file_json(file: FileFacts) -> dict[str, Any]:
    """A file as reports list it."""
    return {"name": file.name, "media_type": file.media_type, "bytes": file.size, "sha256": file.sha256}


def face_json(face: Face) -> dict[str, Any]:
    """A face as reports and ``maquette detect`` show it."""
    return {
        "box_px": _numbers(face.box, 2),
        "size_px": _number(face.size, 2),
        "score": _number(face.score, 4),
        "yaw_deg": _number(face.yaw, 2),
        "pitch_deg": _number(face.pitch, 2),
        "roll_deg": _number(face.roll, 2),
        "quality": {
            "verdict": str(face.quality.verdict),
            "reasons": list(face.quality.reasons),
            "measures": {k: _number(v, 4) for k, v in sorted(face.quality.measures.items())},
        },
        "landmarks_px": _numbers(face.landmarks, 2),
    }


def to_json(value: Any) -> str:
    """JSON text with an indent of one, but lists of plain values on one line each."""
    return _lines(value, 0) + "\n"


def load_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of reports."""
    schema: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return schema


def _model_of(head: Head) -> HeadModel | None:
    """The project's own head model where the head is of it; other engines bring their own meshes."""
    model = load_head_model()
    return model if head.model == f"{model.name} {model.version}" else None


def _model(head: Head, model: HeadModel | None) -> dict[str, Any]:
    if model is None:
        return {"name": head.model, "licence": head.licence}
    return {
        "name": head.model,
        "topology": model.topology,
        "sha256": model.sha256,
        "licence": model.licence,
        "sources": list(model.sources),
    }


def _photo(view: Sitting, choice: Choice, fitted: View) -> dict[str, Any]:
    photo = view.photo
    residual = np.asarray(fitted.residual_px, np.float64)
    return {
        "name": photo.name,
        "sha256": photo.sha256,
        "width": photo.width,
        "height": photo.height,
        "exif_focal_px": None if photo.focal_px is None else _number(photo.focal_px, 2),
        "face": {"number": choice.number, "count": choice.count, **face_json(view.face)},
        "camera": _camera(fitted.camera),
        "expression": {n: _number(w, 4) for n, w in zip(ARKIT_NAMES, fitted.expression, strict=True)},
        "gaze_deg": {
            side: {"yaw": _number(g[0], 2), "pitch": _number(g[1], 2)}
            for side, g in zip(("left", "right"), fitted.gaze, strict=True)
        },
        "landmark_rms_px": _number(np.sqrt((residual**2).sum(1).mean()), 3),
    }


def _camera(camera: Camera) -> dict[str, Any]:
    return {
        "focal_px": _number(camera.focal, 3),
        "centre_px": _numbers(camera.centre, 3),
        "rotation": _numbers(camera.rotation, 7),
        "translation_mm": _numbers(camera.translation, 3),
    }


def _shape(head: Head, model: HeadModel | None) -> dict[str, Any]:
    shape: dict[str, Any] = {"vertices": len(head.neutral), "identity": _numbers(head.fit.identity, 4)}
    if model is not None:
        shape["landmarks_mm"] = {
            "mediapipe478": _numbers(model.landmarks(head.neutral), 3),
            "ibug68": _numbers(model.ibug68(head.neutral), 3),
            "now7": _numbers(head.neutral[model.now7], 3),
        }
    return shape


def _uncertainty(head: Head, model: HeadModel | None) -> dict[str, Any]:
    fit = head.fit

    def summary(vertices: Bool) -> dict[str, float]:
        sigma, seen = fit.uncertainty[vertices], fit.determined[vertices]
        return {
            "median_mm": _number(np.median(sigma), 3),
            "p90_mm": _number(np.percentile(sigma, 90), 3),
            "determined": _number(seen.mean(), 3),
        }

    regions = (
        {} if model is None else {n: summary(model.region(n)) for n in model.region_names if model.region(n).any()}
    )
    return {"whole": summary(np.ones(len(fit.uncertainty), bool)), "regions": regions}


def _measurements(head: Head, model: HeadModel | None) -> dict[str, Any] | None:
    if model is None:
        return None
    measured = measure(model, head.neutral, head.fit.uncertainty, head.fit.determined)
    return {
        "scale": SCALE_NOTE,
        "distances": {
            m.name: {
                "mm": _number(m.millimetres, 2),
                "uncertainty_mm": _number(m.uncertainty_mm, 2),
                "determined": _number(m.determined, 3),
            }
            for m in measured
        },
    }


def _number(value: Any, digits: int) -> float:
    # Adding zero turns -0.0 into 0.0.
    return round(float(value), digits) + 0.0


def _numbers(values: ArrayLike, digits: int) -> list[Any]:
    rounded: list[Any] = (np.round(np.asarray(values, np.float64), digits) + 0.0).tolist()
    return rounded


def _lines(value: Any, depth: int) -> str:
    pad, end = " " * (depth + 1), " " * depth
    if isinstance(value, dict) and value:
        inner = (f"{pad}{json.dumps(k)}: {_lines(v, depth + 1)}" for k, v in value.items())
        return "{\n" + ",\n".join(inner) + f"\n{end}}}"
    if isinstance(value, list) and any(isinstance(v, dict | list) for v in value):
        return "[\n" + ",\n".join(pad + _lines(v, depth + 1) for v in value) + f"\n{end}]"
    return json.dumps(value, allow_nan=False)
