"""What is learnt from pictures of known heads: who is who, and how far off fits are."""

import numpy as np
import pytest

from services.reconstructor.engines.open.people import Person
from training.people import learn, rates
from training.uncertainty import TURNS, by_turn


def test_directions_follow_what_shape_explains_and_not_what_scatters_most() -> None:
    rng = np.random.default_rng(0)
    identities = rng.normal(0, 0.9, (4000, 30))
    answer = np.zeros((30, 40))
    answer[0, 0], answer[1, 1] = 1.0, 0.8
    scatter = np.ones(40)
    scatter[2] = 5.0
    check = learn(identities @ answer + rng.normal(0, 0.3, (4000, 40)) * scatter, identities)
    assert set(np.abs(check.directions[:2]).argmax(1)) == {0, 1}
    assert np.abs(check.directions[:2, 2]).max() < 0.1 * np.abs(check.directions[:2, :2]).max()
    assert (np.diff(check.between) <= 0).all()

    def person(identity: np.ndarray, name: str) -> Person:
        return Person(name, name, identity @ answer + rng.normal(0, 0.3, 40) * scatter, np.full(4, np.nan))

    people = [[person(i, f"{k}-{v}") for v in range(2)] for k, i in enumerate(rng.normal(0, 3, (20, 30)))]
    same, different = rates(check, people).splitlines()
    assert same.startswith("20 pairs of one person: 0.0 % refused")
    refused = float(different.split(": ")[1].split(" %")[0])
    assert different.startswith("760 pairs of two people") and refused > 50


def test_errors_of_heads_turned_right_count_on_the_other_side() -> None:
    mirror = np.array([1, 0, 2], np.int32)
    # The vertex on the side that the head turns to is twice as far off.
    squares = np.array([[4, 1, 2], [1, 4, 2], [4, 1, 2], [1, 4, 2]], np.float16)
    turns = np.array([TURNS[1], -TURNS[1], 60.0, -60.0])
    found = by_turn(squares, turns, mirror)
    assert found[1] == pytest.approx(np.array([4, 1, 2]))
    assert found[-1] == pytest.approx(np.array([4, 1, 2]))
    assert found[0] == pytest.approx(0)
