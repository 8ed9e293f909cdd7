import math

import numpy as np
import pytest
from lmzoo.errors import ArgumentError
from lmzoo.train.figures.statistics.family import power_of, seeds_needed


@pytest.mark.parametrize(("standardised", "n"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_the_published_sizes_of_a_paired_t_test(standardised, n):
    """Two-sided, 5 %, 80 %: as G*Power and the tables of textbooks have them."""
    assert seeds_needed(standardised, 1.0) == n
    assert seeds_needed(-0.01 * standardised, 0.01) == n


@pytest.mark.parametrize("ratio", [0.05, 0.3, 0.7, 1.5, 3.0, 10.0, 40.0])
def test_it_is_the_smallest_number(ratio):
    n = int(seeds_needed(ratio, 1.0))
    assert power_of(n, ratio, 1.0) >= 0.8
    assert n == 2 or power_of(n - 1, ratio, 1.0) < 0.8


def test_power_is_how_often_the_test_finds_the_effect():
    draw = np.random.default_rng(0).normal(1.0, 1.2, (20_000, 6))
    t = draw.mean(axis=1) / (draw.std(axis=1, ddof=1) / math.sqrt(6))
    found = (np.abs(t) > 2.570581835636314).mean()  # the 97.5 % quantile on 5 degrees
    assert power_of(6, 1.0, 1.2) == pytest.approx(found, abs=0.011)


def test_without_an_effect_power_is_the_level():
    assert power_of(5, 0.0, 1.0) == pytest.approx(0.05)


def test_the_edges():
    assert seeds_needed(0.01, 0.0) == 2
    assert math.isnan(seeds_needed(0.01, math.nan))
    assert math.isnan(seeds_needed(math.nan, 0.1))
    assert seeds_needed(0.0, 0.1) == math.inf
    with pytest.raises(ArgumentError, match="n: expected 2 seeds or more"):
        power_of(1, 1.0, 1.0)
