"""Bad input: a series of hostile files through the pipeline, in processes that may die of them."""

import hashlib
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.benchmarks.specimens import KINDS, Specimen
from maquette.benchmarks.trial import Attempt
from maquette.benchmarks.worker import Worker, WorkerDied

SECONDS = 120.0
"""Most wall time for one file; one that is not done by then is hanging."""

PEAK_MB = 2_500.0
"""Most memory while a file is taken through; a photo of the most pixels allowed needs nearly this as animated WebP."""

GROWTH_MB = 40.0
"""Most memory that a process may hold more at its end than after its first files."""

_FEWEST_FOR_GROWTH = 20
_LARGEST_HASHED = 50_000_000


@dataclass(frozen=True)
class Finding:
    """One file and what became of it.

    Attributes:
        specimen: The file.
        sha256: Digest of its bytes; empty when it is no ordinary file or a very large one.
        attempt: What the process answered; None when it died or hung.
        faults: What should not have happened.
    """

    specimen: Specimen
    sha256: str
    attempt: Attempt | None
    faults: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """``result``, the code of the error, or ``failed``."""
        return "failed" if self.faults or self.attempt is None else self.attempt.outcome


@dataclass(frozen=True)
class Series:
    """What became of all files.

    Attributes:
        findings: One a file, in the order of the series.
        growth_mb: How much more memory the process that grew most held at its end than after its first files; None
            where the system does not say or no process took enough files.
        leaks: What processes held more of at their end than they should; empty when all is well.
        seconds: Wall time.
    """

    findings: tuple[Finding, ...]
    growth_mb: float | None
    leaks: tuple[str, ...]
    seconds: float

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The files that something went wrong with."""
        return tuple(f for f in self.findings if f.faults)

    @property
    def passed(self) -> bool:
        """Whether every file gave a result or a named error, and nothing leaked."""
        return not self.failures and not self.leaks

    @property
    def sha256(self) -> str:
        """Digest over the digests of all files: two series with the same one had the same files."""
        return hashlib.sha256("\n".join(f.sha256 for f in self.findings).encode()).hexdigest()


@dataclass(frozen=True)
class _Plan:
    """What all lanes have in common."""

    seconds: float
    heads: int | None
    keep: Path | None
    stop: threading.Event
    progress: Callable[[], None]


def run_series(
    series: Sequence[Specimen],
    *,
    workers: int = 1,
    seconds: float = SECONDS,
    heads: int | None = None,
    keep: Path | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Series:
    """Make files and take each through the pipeline.

    Args:
        series: The files, from ``specimens``.
        workers: Processes side by side.
        seconds: Most wall time for one file.
        heads: How many of the faces that a process finds get a head; all when None.
        keep: Folder for the files that something went wrong with.
        progress: Called after each file, from several threads.

    Raises:
        WorkerDied: A process does not even take the sample photo.
    """
    start = time.perf_counter()
    plan = _Plan(seconds, heads, keep, threading.Event(), progress)
    with ThreadPoolExecutor(workers) as pool:
        lanes = [pool.submit(_lane, series[k::workers], plan) for k in range(workers)]
        try:
            findings = [found for lane in lanes for found in lane.result()]
        except BaseException:
            plan.stop.set()
            raise
    ordered = sorted((f for life in findings for f in life), key=lambda f: f.specimen.number)
    growths = [g for life in findings if (g := _growth(life)) is not None]
    leaks = [leak for life in findings for leak in _leaks(life)]
    return Series(tuple(ordered), max(growths, default=None), tuple(leaks), time.perf_counter() - start)


def table(series: Series) -> tuple[list[str], list[list[str]]]:
    """Columns and rows that show a series: a row for each kind of file, a column for each outcome."""
    outcomes = [
        o for o, _ in Counter(f.outcome for f in series.findings).most_common() if o not in ("result", "failed")
    ]
    columns = ["kind", "files", "result", *outcomes, "failed", "slowest s", "peak MB"]
    rows = []
    for kind in [k for k in KINDS if any(f.specimen.kind == k for f in series.findings)]:
        rows.append([kind, *_row([f for f in series.findings if f.specimen.kind == kind], outcomes)])
    rows.append(["all", *_row(series.findings, outcomes)])
    return columns, rows


def _row(findings: Sequence[Finding], outcomes: Sequence[str]) -> list[str]:
    counts = Counter(f.outcome for f in findings)
    attempts = [f.attempt for f in findings if f.attempt is not None]
    slowest = max((a.seconds for a in attempts), default=0.0)
    peak = max((a.peak_mb for a in attempts), default=0.0)
    shown = [str(counts[o]) for o in ("result", *outcomes, "failed")]
    return [str(len(findings)), *shown, f"{slowest:.2f}", f"{peak:,.0f}"]


def summary(series: Series) -> dict[str, Any]:
    """A series as one JSON object."""
    attempts = [f.attempt for f in series.findings if f.attempt is not None]
    return {
        "benchmark": "hostile",
        "passed": series.passed,
        "count": len(series.findings),
        "files_sha256": series.sha256,
        "outcomes": dict(Counter(f.outcome for f in series.findings).most_common()),
        "kinds": {
            kind: dict(Counter(f.outcome for f in series.findings if f.specimen.kind == kind).most_common())
            for kind in KINDS
        },
        "reconstructed": sum(a.step == "reconstruct" and a.outcome == "result" for a in attempts),
        "failures": [
            {"number": f.specimen.number, "kind": f.specimen.kind, "name": f.specimen.name, "faults": list(f.faults)}
            for f in series.failures
        ],
        "leaks": list(series.leaks),
        "limits": {"peak_mb": PEAK_MB, "growth_mb": GROWTH_MB},
        "slowest_seconds": round(max((a.seconds for a in attempts), default=0.0), 3),
        "peak_mb": round(max((a.peak_mb for a in attempts), default=0.0), 1),
        "growth_mb": None if series.growth_mb is None else round(series.growth_mb, 1),
        "seconds": round(series.seconds, 1),
    }


def _lane(series: Sequence[Specimen], plan: _Plan) -> list[list[Finding]]:
    """Take files through one process after another; a list of findings for each process's life."""
    lives: list[list[Finding]] = []
    waiting = list(reversed(series))
    while waiting and not plan.stop.is_set():
        with tempfile.TemporaryDirectory(prefix="maquette-hostile-") as folder:
            worker = Worker(Path(folder), heads=plan.heads)
            lives.append([])
            try:
                worker.start()
                while waiting and not plan.stop.is_set():
                    finding = _take(waiting.pop(), worker, Path(folder), plan)
                    lives[-1].append(finding)
                    plan.progress()
                    if finding.attempt is None:
                        break
            finally:
                worker.end()
    return lives


def _take(specimen: Specimen, worker: Worker, root: Path, plan: _Plan) -> Finding:
    folder = root / f"{specimen.number}"
    folder.mkdir()
    path = specimen.place(folder)
    digest, before = _digest(path), _listing(folder)
    faults: list[str] = []
    attempt = None
    try:
        attempt = worker.attempt(path, plan.seconds)
        faults += attempt.wrong
        if attempt.peak_mb > PEAK_MB:
            faults.append(f"memory: {attempt.peak_mb:,.0f} MB, at most {PEAK_MB:,.0f}")
    except WorkerDied as error:
        faults.append(str(error))
    if noise := worker.noise():
        faults.append(f"noise: {noise}")
    if _listing(folder) != before:
        faults.append(f"files left: {sorted(_listing(folder) ^ before)}")
    if left := _listing(worker.scratch):
        faults.append(f"files left in the working folder: {sorted(left)}")
        _remove(worker.scratch)
        worker.scratch.mkdir()
    if faults and plan.keep is not None:
        plan.keep.mkdir(parents=True, exist_ok=True)
        shutil.move(folder, plan.keep / f"{specimen.number}")
    else:
        _remove(folder)
    return Finding(specimen, digest, attempt, tuple(faults))


def _growth(life: Sequence[Finding]) -> float | None:
    """How much more memory a process held at its end than after its first files, 10⁶ bytes.

    The least of some files at either end is compared, because what a large picture leaves in the C library's lists of
    free memory comes and goes.
    """
    held = [f.attempt.resident_mb for f in life if f.attempt is not None and f.attempt.resident_mb is not None]
    if len(held) < _FEWEST_FOR_GROWTH:
        return None
    part = len(held) // 4
    return min(held[-part:]) - min(held[:part])


def _leaks(life: Sequence[Finding]) -> Iterator[str]:
    growth = _growth(life)
    if growth is not None and growth > GROWTH_MB:
        yield f"memory: {growth:.0f} MB more at the end of {len(life)} files, at most {GROWTH_MB:.0f}"
    attempts = [f.attempt for f in life if f.attempt is not None]
    for what in ("descriptors", "threads"):
        counts = [n for a in attempts if (n := getattr(a, what)) is not None]
        if counts and counts[-1] > statistics.median_low(counts[: max(1, len(counts) // 10)]):
            yield f"{what}: {counts[-1]} at the end of {len(life)} files, {counts[0]} after the first"


def _digest(path: Path) -> str:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST_HASHED:
            return ""
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError):
        # What cannot be read here cannot be read there either.
        return ""


def _listing(folder: Path) -> frozenset[tuple[str, int]]:
    """What lies in a folder and below: names and sizes."""
    return frozenset(
        (os.fsencode(p.relative_to(folder)).decode("utf-8", errors="backslashreplace"), p.lstat().st_size)
        for p in folder.rglob("*")
    )


def _remove(folder: Path) -> None:
    """Remove a folder with all that is in it, also what its owner may not enter."""
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder)
