"""Figures beside the limits that they have to keep, as a table and as JSON."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """Something that was measured.

    Attributes:
        what: What it is, for people.
        unit: Its unit; empty for a ratio or a number.
        value: What counts.
        least: The least that it may be, if there is such a limit.
        most: The most that it may be, if there is such a limit.
        values: What ``value`` was made of, in the order in which it was measured.
        beside: Further figures that explain it, by name.
    """

    what: str
    unit: str
    value: float
    least: float | None = None
    most: float | None = None
    values: Sequence[float] = ()
    beside: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether the limits are kept; a value that is no number keeps none."""
        below = self.most is None or self.value <= self.most
        return below and (self.least is None or self.value >= self.least)


def median(values: Sequence[float]) -> float:
    """Median; NaN where there is nothing."""
    return statistics.median(values) if values else float("nan")


def summary(benchmark: str, figures: Mapping[str, Figure], **about: Any) -> dict[str, Any]:
    """All figures as one JSON object."""
    shown = {}
    for name, figure in figures.items():
        limits = {"least": figure.least, "most": figure.most}
        told: dict[str, Any] = {"unit": figure.unit, "value": _rounded(figure.value)}
        told |= {kind: limit for kind, limit in limits.items() if limit is not None}
        told["kept"] = figure.kept
        if figure.values:
            told["values"] = [_rounded(v) for v in figure.values]
        shown[name] = told | {k: _rounded(v) if isinstance(v, float) else v for k, v in figure.beside.items()}
    passed = bool(figures) and all(figure.kept for figure in figures.values())
    return {"benchmark": benchmark, "passed": passed, **about, "figures": shown}


def table(figures: Mapping[str, Figure]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: each figure beside its limit, with what explains it below."""
    rows = []
    for figure in figures.values():
        limit = f"≥ {figure.least:,g}" if figure.least is not None else f"≤ {figure.most:,g}"
        verdict = "kept" if figure.kept else "missed"
        rows.append([figure.what, _cell(figure.value, figure.unit), f"{limit} {figure.unit}".strip(), verdict])
        rows += [[f"  {name.replace('_', ' ')}", _plain(value), "", ""] for name, value in figure.beside.items()]
    return ["figure", "found", "limit", ""], rows


def _rounded(value: float) -> float | None:
    return None if value != value else round(value, 4)


def _cell(value: float, unit: str) -> str:
    return f"{_plain(value)} {unit}".strip()


def _plain(value: Any) -> str:
    return (
        f"{value:,.3g}"
        if isinstance(value, float) and abs(value) < 100
        else (f"{value:,.0f}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value))
    )
