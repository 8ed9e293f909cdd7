import math

import numpy as np
import pytest
from lmzoo.train.figures.statistics.family import holm


def test_by_hand():
    # in order 0.005, 0.01, 0.03, 0.04: 4 x 0.005, 3 x 0.01, 2 x 0.03, then 0.04 itself, lifted to the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_no_p_exceeds_one_and_a_single_one_stays():
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def test_what_was_not_tested_stays_undefined_and_does_not_count():
    assert holm([0.02, math.nan, 0.5])[::2] == pytest.approx([0.04, 0.5])
    assert math.isnan(holm([0.02, math.nan])[1])


def test_the_chance_of_any_false_finding_is_held():
    # with p uniform and independent, P(any adjusted < 0.05) = 1 - (1 - 0.05 / m)^m, at most 0.05
    draws = np.random.default_rng(0).uniform(size=(4000, 5))
    found = sum(min(holm(list(row))) < 0.05 for row in draws) / 4000
    assert found == pytest.approx(1 - (1 - 0.05 / 5) ** 5, abs=0.012)
