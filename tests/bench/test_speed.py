import json
import os
from dataclasses import replace

import cv2
import pytest

from maquette.benchmarks import calibration, speed
from maquette.benchmarks.process import usage
from maquette.benchmarks.speed import LIMITS, Measured, Speed, measure, summary, table
from maquette.cli import exits
from maquette.cli.main import run
from maquette.events import Stage
from maquette.settings import Settings

STAGES = [str(stage) for stage in Stage]


@pytest.fixture(scope="module")
def measured(settings: Settings) -> Speed:
    return measure(1, 1)


def of(**medians: float) -> Speed:
    """Figures that keep all limits but where told otherwise."""
    within = {name: Measured((limit / 4, limit / 2, limit)) for name, (_, _, limit) in LIMITS.items()}
    figures = within | {name: Measured((value,)) for name, value in medians.items()}
    stages = {"read": Measured((0.1,))}
    processor = {name: Measured((1.0,)) for name in ("first_mesh", "full", "cold", "calibration")}
    return Speed(2, Measured((0.5, 2.0, 1.0)), figures, processor, stages, stages)


def test_the_fixed_work_is_the_same_each_time() -> None:
    assert calibration.work(1) == calibration.work(1)
    assert calibration.work(1) != calibration.work(2)


def test_the_fixed_work_takes_about_a_second_and_leaves_the_threads_as_they_were() -> None:
    cv2.setNumThreads(2)
    try:
        assert 0.1 < calibration.calibrate() < 60
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(-1)


def test_all_figures_are_measured(measured: Speed) -> None:
    assert set(measured.figures) == set(LIMITS)
    first, full, cold = (measured.figures[name].median for name in ("first_mesh", "full", "cold"))
    assert 0 < first < full < cold
    assert len(measured.calibration.values) == 3
    first, full, cold = (measured.processor[name].median for name in ("first_mesh", "full", "cold"))
    assert 0 < first < full < cold < 4 * measured.figures["cold"].median
    assert measured.cores in (1, 2)


def test_the_peak_is_that_of_the_process_itself_not_of_who_started_it() -> None:
    assert usage().peak_mb > 60
    small = speed._launch(["-c", "import sys; sys.stderr.write('hello'); sys.exit(3)"], {})
    assert 2 < small.peak_mb < 40
    assert 0 < small.processor < small.seconds < 20
    assert (small.status, small.said) == (3, "hello")
    large = speed._launch(["-c", "held = b'x' * 50_000_000"], {})
    assert 45 < large.peak_mb - small.peak_mb < 60


def test_stages_add_up_to_the_whole(measured: Speed) -> None:
    assert list(measured.warm_stages) == [*STAGES, "save"]
    assert list(measured.cold_stages) == [*STAGES, "rest"]
    cold = sum(stage.median for stage in measured.cold_stages.values())
    assert cold == pytest.approx(measured.figures["cold"].median)
    warm = sum(stage.median for stage in measured.warm_stages.values())
    full = measured.figures["full"].median
    assert 0.8 * full < warm <= full + 0.001
    to_fit = sum(measured.warm_stages[stage].median for stage in STAGES[:3])
    assert to_fit == pytest.approx(measured.figures["first_mesh"].median, rel=0.2)


def test_cores_are_given_back(measured: Speed) -> None:
    if hasattr(os, "sched_getaffinity"):
        before = os.sched_getaffinity(0)
        with speed._few_cores() as cores:
            assert cores == len(os.sched_getaffinity(0)) <= 2
        assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("name", LIMITS)
def test_a_median_above_its_limit_is_missed(name: str) -> None:
    assert of().passed
    late = of(**{name: LIMITS[name][2] * 1.01})
    assert not late.passed
    assert [n for n in LIMITS if not late.kept(n)] == [name]
    assert [n for n, f in summary(late)["figures"].items() if not f["kept"]] == [name]
    missed = [row[0] for row in table(late)[1] if "missed" in row]
    assert missed == [LIMITS[name][0]]


def test_times_are_told_as_multiples_of_the_fixed_work() -> None:
    told = summary(replace(of(full=2.5), calibration=Measured((2.0, 2.0, 9.0))))
    assert told["figures"]["full"]["ratio"] == 1.25
    assert "ratio" not in told["figures"]["warm_peak"]


def test_the_last_line_is_json(
    measured: Speed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "measure", lambda *_args, **_options: measured)
    status = run(["bench", "time"])
    assert status == (exits.OK if measured.passed else exits.SOME_FAILED)
    *shown, last = capsys.readouterr().out.splitlines()
    assert json.loads(last) == summary(measured)
    assert any("photo to first mesh, warm" in line for line in shown)
    run(["bench", "time", "--json"])
    assert json.loads(capsys.readouterr().out) == summary(measured)
