"""Predictions against scans: ``maquette bench scans``.

Any folder of this layout: ``images/*.jpg`` (or png) with a JSON file beside each that names its ``head``, and for each
head ``gt/HEAD.json`` and ``gt/HEAD_pts.npz`` (see ``maquette.benchmarks.scoring``). The pictures go the way of any
photo; the cameras in their JSON files are not used.
"""

import json as jsonlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from maquette import pipeline
from maquette.benchmarks.scoring import Scan, Score, load_scan, score
from maquette.cli.console import show_json, show_table
from maquette.errors import InputError
from maquette.headmodel import HeadModel, load_head_model
from maquette.rooms import PhotoView, ReconstructOptions
from maquette.settings import Settings
from maquette.types import Float32, Head

SUFFIXES = (".jpg", ".jpeg", ".png")

Meshes = Mapping[str, Float32]
"""(V, 3) vertices by the name of their picture."""


@dataclass(frozen=True)
class Case:
    """A head with its scan and its pictures."""

    scan: Scan
    pictures: tuple[Path, ...]


def run(root: Path, json: bool = False, rooms: pipeline.Rooms | None = None) -> dict[str, Any]:
    """Reconstruct every picture whose head has a scan, alone and all of a head together; print and return the scores.

    Args:
        root: Folder of the layout above.
        json: Print one JSON object rather than a table.
        rooms: Where the work is done; in this process when None.

    Raises:
        InputError: The folder has no such layout.
        MaquetteError: See ``maquette.errors``; a picture that cannot be reconstructed is listed rather than raised.
    """
    cases = find_cases(root)
    settings = Settings()
    result = _measure(cases, rooms or pipeline.local_rooms(settings), settings)
    if json:
        show_json(result)
    else:
        _print(result)
    return result


def find_cases(root: Path) -> tuple[Case, ...]:
    """Heads with a scan and at least one picture, by name.

    Raises:
        InputError: There are none.
    """
    pictures: dict[str, list[Path]] = {}
    for path in sorted((root / "images").glob("*")):
        about = path.with_suffix(".json")
        if path.suffix.lower() in SUFFIXES and about.is_file():
            try:
                name = str(jsonlib.loads(about.read_text(encoding="utf-8"))["head"])
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{about}: expected a JSON object that names its head ({error})") from error
            pictures.setdefault(name, []).append(path)
    cases = [
        Case(load_scan(root, n), tuple(p)) for n, p in sorted(pictures.items()) if (root / f"gt/{n}.json").is_file()
    ]
    if not cases:
        raise InputError(f"{root}: expected images/*.jpg with JSON files and gt/*.json of their heads, found none")
    return tuple(cases)


def _measure(cases: Sequence[Case], rooms: pipeline.Rooms, settings: Settings) -> dict[str, Any]:
    model = load_head_model()
    triangles = model.triangles[model.part_triangles("skin")]

    def rate(vertices: Float32, scan: Scan) -> Score:
        return score(vertices, triangles, vertices[model.now7], scan)

    options = ReconstructOptions()
    heads: dict[str, dict[str, Any]] = {}
    own: dict[str, dict[str, float]] = {}
    for case in track(cases, description="Scans", console=Console(stderr=True), transient=True):
        views, failed = _views(case.pictures, rooms, settings)
        alone: dict[str, Float32] = {}
        neutral: dict[str, Float32] = {}
        for name, view in views.items():
            try:
                head = rooms.reconstructor.coarse([view], options)
            except InputError as error:
                failed[name] = str(error)
                continue
            alone[name], neutral[name] = head.posed, head.neutral
        together = None
        if alone:
            together = _together(model, rooms.reconstructor.coarse([views[n] for n in alone], options))
        rated = {other.scan.name: {n: rate(v, other.scan) for n, v in alone.items()} for other in cases}
        heads[case.scan.name] = {
            "mean_head": _figures(rate(model.mean, case.scan)),
            "joint": None if together is None else _figures(rate(together, case.scan)),
            "images": {n: _figures(r) for n, r in rated[case.scan.name].items()},
            "neutral": {n: _figures(rate(v, case.scan)) for n, v in neutral.items()},
            "failed": failed,
        }
        if alone:
            own[case.scan.name] = {n: float(np.mean([r.median for r in by.values()])) for n, by in rated.items()}
    # A head's own predictions against those of the others' heads, all on its scan.
    for name, entry in heads.items():
        entry["by_predictions_of"] = {of: round(scores[name], 4) for of, scores in own.items()}
    return _summary(heads)


def _views(
    pictures: Sequence[Path], rooms: pipeline.Rooms, settings: Settings
) -> tuple[dict[str, PhotoView], dict[str, str]]:
    views: dict[str, PhotoView] = {}
    failed: dict[str, str] = {}
    for path in pictures:
        try:
            (photo,) = pipeline.read_photos([path], settings)
            face = rooms.detector.detect(photo)[0]
        except InputError as error:
            failed[path.name] = str(error)
            continue
        views[path.name] = PhotoView(photo, face, rooms.detector.mask(photo, face))
    return views, failed


def _together(model: HeadModel, head: Head) -> Float32:
    """(V, 3) mm, the head of several photos with the mean of their expressions."""
    return model.vertices(head.fit.identity, np.mean([v.expression for v in head.fit.views], axis=0))


def _figures(rated: Score) -> dict[str, float]:
    return {"median_mm": round(rated.median, 4), "mean_mm": round(rated.mean, 4)}


def _summary(heads: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Means over the heads of each head's mean over its pictures."""

    def over(key: str, what: str) -> float | None:
        found = []
        for entry in heads.values():
            part = entry[key]
            rows = [part] if key in ("mean_head", "joint") else list(part.values())
            if rows and rows[0] is not None:
                found.append(np.mean([r[what] for r in rows]))
        return round(float(np.mean(found)), 4) if found else None

    best = [n for n, e in heads.items() if (by := e["by_predictions_of"]) and n in by and by[n] == min(by.values())]
    base = over("mean_head", "median_mm")
    single, joint = over("images", "median_mm"), over("joint", "median_mm")
    return {
        "single_median_mm": single,
        "single_mean_mm": over("images", "mean_mm"),
        "joint_median_mm": joint,
        "joint_mean_mm": over("joint", "mean_mm"),
        "neutral_median_mm": over("neutral", "median_mm"),
        "mean_head_median_mm": base,
        "mean_head_mean_mm": over("mean_head", "mean_mm"),
        "single_gain_percent": _gain(single, base),
        "joint_gain_percent": _gain(joint, base),
        "own_best": f"{len(best)} of {len(heads)}",
        "failed": sum(len(e["failed"]) for e in heads.values()),
        "heads": heads,
    }


def _gain(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else round(100 * (1 - value / base), 2)


def _print(result: dict[str, Any]) -> None:
    rows = []
    for name, entry in result["heads"].items():
        rows.append([name, "mean head", *_cells(entry["mean_head"])])
        rows += [[name, picture, *_cells(f)] for picture, f in entry["images"].items()]
        rows += [[name, picture, "failed", ""] for picture in entry["failed"]]
        if entry["joint"] is not None:
            rows.append([name, "all together", *_cells(entry["joint"])])
    for label, key in (("mean head", "mean_head"), ("one photo", "single"), ("all photos together", "joint")):
        rows.append(["all", label, *_cells({k: result[f"{key}_{k}"] for k in ("median_mm", "mean_mm")})])
    show_table(["head", "prediction", "median mm", "mean mm"], rows, right=("median mm", "mean mm"))
    show_table(
        ["better than the mean head", "together", "own prediction best"],
        [[_percent(result["single_gain_percent"]), _percent(result["joint_gain_percent"]), result["own_best"]]],
    )


def _cells(figures: Mapping[str, float | None]) -> list[str]:
    return ["–" if v is None else f"{v:.3f}" for v in (figures["median_mm"], figures["mean_mm"])]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"
