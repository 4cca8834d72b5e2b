import itertools
from collections import Counter
from dataclasses import replace

import pytest

from bench.chaos import Made, Verdict
from bench.trouble import VICTIMS, blows

MODEL = Made("done", {"head.ply": "aa", "report.json": "bb"}, (10, 20, 30), ("head.ply", "report.json"), gapless=True)


def judged(made: Made) -> Verdict:
    verdict = Verdict(jobs=1, acknowledged=1)
    verdict.judge("head 0", made, MODEL)
    return verdict


def test_the_same_seed_kills_the_same_parts_at_the_same_times() -> None:
    first, again, other = (list(itertools.islice(blows(seed, VICTIMS, 4.0), 50)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_each_round_kills_every_part_once_at_random_times() -> None:
    plan = list(itertools.islice(blows(7, VICTIMS, 4.0), 20 * len(VICTIMS)))
    for start in range(0, len(plan), len(VICTIMS)):
        assert Counter(b.victim for b in plan[start : start + len(VICTIMS)]) == Counter(VICTIMS)
    assert sum(b.pause_s for b in plan) / len(plan) == pytest.approx(4.0, rel=0.15)
    assert {0.0 <= b.pause_s <= 8.0 and 0.0 <= b.down_s <= 2.0 for b in plan} == {True}


def test_a_head_as_undisturbed_is_as_it_should_be() -> None:
    assert judged(MODEL).passed


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (replace(MODEL, state="failed"), "lost"),
        (replace(MODEL, state="queued", products={}), "lost"),
        (replace(MODEL, announced=("head.ply", "head.ply", "report.json")), "duplicated"),
        (replace(MODEL, objects=(10, 20, 20, 30)), "duplicated"),
        (replace(MODEL, products={"head.ply": "ab", "report.json": "bb"}), "different"),
        (replace(MODEL, products={"head.ply": "aa"}), "different"),
        (replace(MODEL, objects=(10, 20)), "different"),
        (replace(MODEL, gapless=False), "gaps"),
    ],
)
def test_what_is_wrong_with_a_head_is_counted_and_named(made: Made, what: str) -> None:
    verdict = judged(made)
    counts = {name: getattr(verdict, name) for name in ("lost", "duplicated", "different", "gaps")}
    assert {name for name, count in counts.items() if count} == {what}
    assert not verdict.passed
    assert verdict.notes[0].startswith("head 0: ")


def test_heads_that_were_never_acknowledged_are_no_success() -> None:
    assert not Verdict(jobs=2, acknowledged=1).passed
    assert Verdict(jobs=2, acknowledged=2).passed
