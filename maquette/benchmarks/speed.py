"""How fast a photo becomes a head, and how much memory that takes.

All figures are of the sample photo, on at most two cores, with the time of a fixed piece of work beside them
(``calibration``). A warm process is one that has reconstructed before; a cold one is the command line, from its start
to its end, with its files in the system's cache and its code compiled, as installers do.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from maquette import pipeline
from maquette.benchmarks.calibration import calibrate
from maquette.benchmarks.process import max_rss_mb, usage
from maquette.demo import sample_photo
from maquette.events import Event, HeadReady
from maquette.result import TIMINGS_NAME
from maquette.rooms import ReconstructOptions
from maquette.settings import Settings

CORES = 2
OPTIONS = ReconstructOptions(texture_size=1024, detail=True, formats=("obj", "glb", "stl"))
"""Of the warm runs; the cold ones have the command line's own."""

LIMITS: dict[str, tuple[str, str, float]] = {
    "first_mesh": ("photo to first mesh, warm", "s", 0.4),
    "full": ("photo to all files, warm", "s", 3.0),
    "cold": ("command line, cold", "s", 6.0),
    "warm_peak": ("peak memory, warm", "MB", 1_000.0),
    "cold_peak": ("peak memory, cold", "MB", 1_000.0),
}
"""By figure what it is, its unit, and the most that its median may be."""

_SERVER = "from maquette.benchmarks.speed import serve; serve()"
_PROGRAM = "from maquette.cli import main; main()"
_IMPORTS = (
    "import maquette.cli, services.detector.photo; from maquette import pipeline; "
    "from maquette.settings import Settings; pipeline.local_rooms(Settings())"
)
_LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
_, status, used = os.wait4(child.pid, 0)
took = [time.perf_counter() - start, used.ru_utime + used.ru_stime]
print(json.dumps([*took, used.ru_maxrss, os.waitstatus_to_exitcode(status)]))
"""
"""Starts the program that is measured: were it started from here, its peak would be at least this process's."""


@dataclass(frozen=True)
class Measured:
    """A figure.

    Attributes:
        values: One a run, in the order of the runs.
    """

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Their median."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Speed:
    """All figures of one measurement.

    Attributes:
        cores: How many could be used; None where the system does not say.
        calibration: Seconds of the fixed work, before each run and after the last.
        figures: By name as in ``LIMITS``.
        processor: Processor seconds, of all threads together, of ``first_mesh``, ``full``, ``cold`` and
            ``calibration``; they depend less on what else the machine does.
        warm_stages: Seconds by stage of the warm runs, and of ``save``.
        cold_stages: Seconds by stage of the cold runs, and of the ``rest``: starting, loading code, saving.
    """

    cores: int | None
    calibration: Measured
    figures: dict[str, Measured]
    processor: dict[str, Measured]
    warm_stages: dict[str, Measured]
    cold_stages: dict[str, Measured]

    def kept(self, name: str) -> bool:
        """Whether the median of a figure is within its limit."""
        return self.figures[name].median <= LIMITS[name][2]

    @property
    def passed(self) -> bool:
        """Whether all are."""
        return all(map(self.kept, LIMITS))


def measure(warm_runs: int = 9, cold_runs: int = 5, *, progress: Callable[[], None] = lambda: None) -> Speed:
    """Measure; warm runs, cold runs and the fixed work take turns, so that a busy moment falls on all of them.

    Args:
        warm_runs: In one process that has done a run before.
        cold_runs: Each in a process of its own.
        progress: Called after each run.

    Raises:
        SetupError: Something that a reconstruction needs is missing.
        RuntimeError: A run failed.
    """
    pipeline.local_rooms(Settings())
    warm: list[dict[str, float]] = []
    cold: list[dict[str, float]] = []
    with _few_cores() as cores, _warm_process() as run_warm, _compiled() as run_cold:
        calibration = [_calibration()]
        for into, run in _turns((warm, run_warm, warm_runs), (cold, run_cold, cold_runs)):
            into.append(run())
            calibration.append(_calibration())
            progress()
    return Speed(
        cores,
        _column(calibration, "full"),
        {
            "first_mesh": _column(warm, "first_mesh"),
            "full": _column(warm, "full"),
            "cold": _column(cold, "full"),
            "warm_peak": Measured((warm[-1]["peak"],)),
            "cold_peak": _column(cold, "peak"),
        },
        {
            "first_mesh": _column(warm, "first_mesh_processor"),
            "full": _column(warm, "processor"),
            "cold": _column(cold, "processor"),
            "calibration": _column(calibration, "processor"),
        },
        _stages(warm),
        _stages(cold),
    )


def serve() -> None:
    """Do one run for each line on standard input, and print its figures as a line of JSON."""
    settings = Settings()
    rooms = pipeline.local_rooms(settings)
    _run_warm(rooms, settings)
    for _ in sys.stdin:
        sys.stdout.write(json.dumps(_run_warm(rooms, settings)) + "\n")
        sys.stdout.flush()


def summary(speed: Speed) -> dict[str, Any]:
    """All figures as one JSON object; ``ratio`` is the median by that of the fixed work."""
    shown = {}
    for name, (_, unit, limit) in LIMITS.items():
        figure = speed.figures[name]
        shown[name] = {"unit": unit, "limit": limit, "kept": speed.kept(name), **_spread(figure)}
        if unit == "s":
            shown[name]["ratio"] = round(figure.median / speed.calibration.median, 3)
    return {
        "benchmark": "time",
        "passed": speed.passed,
        "cores": speed.cores,
        "calibration": _spread(speed.calibration),
        "figures": shown,
        "processor": {name: _spread(m) for name, m in speed.processor.items()},
        "warm_stages": {stage: _spread(m) for stage, m in speed.warm_stages.items()},
        "cold_stages": {stage: _spread(m) for stage, m in speed.cold_stages.items()},
    }


def table(speed: Speed) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: the figures beside their limits, then the stages, then the fixed work."""
    columns = ["figure", "median", "min", "max", "limit", "", "of fixed work", "processor"]
    rows = []
    for name, (text, unit, limit) in LIMITS.items():
        of_work = f"{speed.figures[name].median / speed.calibration.median:.2f}" if unit == "s" else ""
        verdict = "kept" if speed.kept(name) else "missed"
        processor = _cell(speed.processor[name].median, "s") if name in speed.processor else ""
        rows.append([text, *_cells(speed.figures[name], unit), _cell(limit, unit), verdict, of_work, processor])
    for title, stages in (("warm", speed.warm_stages), ("cold", speed.cold_stages)):
        for stage, measured in stages.items():
            of_work = f"{measured.median / speed.calibration.median:.2f}"
            rows.append([f"  {title}, {stage}", *_cells(measured, "s"), "", "", of_work, ""])
    processor = _cell(speed.processor["calibration"].median, "s")
    rows.append(["fixed work", *_cells(speed.calibration, "s"), "", "", "1.00", processor])
    return columns, rows


def _run_warm(rooms: pipeline.Rooms, settings: Settings) -> dict[str, float]:
    first_mesh: list[tuple[float, float]] = []

    def listen(event: Event) -> None:
        if isinstance(event, HeadReady) and not event.complete:
            first_mesh.append((time.perf_counter() - start, time.process_time() - processor))

    with tempfile.TemporaryDirectory(prefix="maquette-time-") as folder:
        start, processor = time.perf_counter(), time.process_time()
        result = pipeline.reconstruct(
            [sample_photo()], rooms=rooms, settings=settings, options=OPTIONS, listener=listen
        )
        made = time.perf_counter()
        result.save(folder)
        end = time.perf_counter()
    stages = {f"stage {name}": seconds for name, seconds in result.timings["seconds"].items()}
    ((to_mesh, to_mesh_processor),) = first_mesh
    return {
        "first_mesh": to_mesh,
        "first_mesh_processor": to_mesh_processor,
        "full": end - start,
        "processor": time.process_time() - processor,
        "peak": usage().peak_mb,
        **stages,
        "stage save": end - made,
    }


def _calibration() -> dict[str, float]:
    processor = time.process_time()
    return {"full": calibrate(), "processor": time.process_time() - processor}


@contextmanager
def _compiled() -> Iterator[Callable[[], dict[str, float]]]:
    """Runs of the command line with code that has been compiled before, however this environment came about."""
    with tempfile.TemporaryDirectory(prefix="maquette-time-") as folder:
        environment = {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        _launch(["-c", _IMPORTS], environment)
        yield partial(_run_cold, environment)


def _run_cold(environment: Mapping[str, str]) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="maquette-time-") as folder:
        run = _launch(["-c", _PROGRAM, "reconstruct", str(sample_photo()), "-o", folder], environment)
        if run.status != 0:
            raise RuntimeError(f"expected the command line to exit with 0, found {run.status}: {run.said}")
        timings = json.loads(Path(folder, TIMINGS_NAME).read_bytes())["seconds"]
    stages = {f"stage {name}": took for name, took in timings.items()}
    figures = {"full": run.seconds, "processor": run.processor, "peak": run.peak_mb}
    return {**figures, **stages, "stage rest": run.seconds - sum(timings.values())}


@dataclass(frozen=True)
class _Launched:
    """A process that has run: wall and processor seconds, peak in 10⁶ bytes, exit status, standard error."""

    seconds: float
    processor: float
    peak_mb: float
    status: int
    said: str


def _launch(words: Sequence[str], environment: Mapping[str, str]) -> _Launched:
    """Run Python, with some variables added to the environment."""
    launcher = [sys.executable, "-S", "-c", _LAUNCHER, sys.executable, *words]
    done = subprocess.run(launcher, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    seconds, processor, max_rss, status = json.loads(done.stdout)
    return _Launched(seconds, processor, max_rss_mb(max_rss), status, done.stderr.strip())


@contextmanager
def _warm_process() -> Iterator[Callable[[], dict[str, float]]]:
    """A process that does a run each time it is asked to."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked, told = process.stdin, process.stdout

        def run() -> dict[str, float]:
            asked.write("\n")
            asked.flush()
            line = told.readline()
            if not line:
                raise RuntimeError(f"expected the warm process to answer, found it ended with {process.wait()}")
            figures: dict[str, float] = json.loads(line)
            return figures

        try:
            yield run
        finally:
            asked.close()


@contextmanager
def _few_cores() -> Iterator[int | None]:
    """Hold this process, and those that it starts, to a few cores, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield os.cpu_count()
        return
    all_cores = os.sched_getaffinity(0)
    few = sorted(all_cores)[:CORES]
    os.sched_setaffinity(0, few)
    try:
        yield len(few)
    finally:
        os.sched_setaffinity(0, all_cores)


_Kind = tuple[list[dict[str, float]], Callable[[], dict[str, float]], int]


def _turns(*kinds: _Kind) -> Iterator[tuple[list[dict[str, float]], Callable[[], dict[str, float]]]]:
    """The kinds by turns, each as often as it is to be, spread evenly."""
    order = sorted(((k + 0.5) / count, which) for which, (_, _, count) in enumerate(kinds) for k in range(count))
    for _, which in order:
        yield kinds[which][0], kinds[which][1]


def _column(runs: Sequence[dict[str, float]], name: str) -> Measured:
    return Measured(tuple(run[name] for run in runs))


def _stages(runs: Sequence[dict[str, float]]) -> dict[str, Measured]:
    prefix = "stage "
    return {name.removeprefix(prefix): _column(runs, name) for name in runs[0] if name.startswith(prefix)}


def _spread(measured: Measured) -> dict[str, Any]:
    low, high = min(measured.values), max(measured.values)
    return {"median": round(measured.median, 4), "min": round(low, 4), "max": round(high, 4)}


def _cells(measured: Measured, unit: str) -> list[str]:
    return [_cell(value, unit) for value in (measured.median, min(measured.values), max(measured.values))]


def _cell(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if unit == "MB" else f"{value:.2f} {unit}"
