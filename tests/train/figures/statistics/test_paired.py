import math

import numpy as np
import pandas as pd
import pytest
from lmzoo.train.figures.statistics.paired import Paired, paired, paired_differences
from scipy import stats


def frame():
    rows = [("base", 0, 10.0), ("base", 1, 12.0), ("base", 2, 20.0), ("new", 0, 9.0), ("new", 1, 12.5), ("new", 7, 1.0)]
    return pd.DataFrame(rows, columns=["variant", "seed", "loss"])


def test_differences_pair_by_the_seeds_both_have():
    result = paired_differences(frame(), "loss", "new", "base")
    assert result.seeds == (0, 1)
    assert result.values == pytest.approx((-1.0, 0.5))
    assert result.mean == pytest.approx(-0.25)
    assert result.sd == pytest.approx(1.5 / math.sqrt(2))


def test_no_common_seed_no_difference():
    result = paired_differences(frame(), "loss", "new", "absent")
    assert result.n == 0
    assert all(map(math.isnan, (result.mean, result.sd, *result.interval(), result.p_value())))


def test_two_runs_of_one_seed_are_never_paired_at_random():
    with pytest.raises(AssertionError, match="several loss of one seed"):
        paired_differences(pd.concat([frame(), frame()]), "loss", "new", "base")


def test_interval_and_p_by_hand():
    # differences 1, 2, 3: mean 2, sd 1, t = 2 sqrt 3 on 2 degrees, for which p = 1 - t / sqrt(t^2 + 2) and
    # the 97.5 % quantile is 4.302653
    result = Paired((0, 1, 2), (1.0, 2.0, 3.0))
    low, high = result.interval()
    assert (low, high) == pytest.approx((2 - 4.302652729911275 / math.sqrt(3), 2 + 4.302652729911275 / math.sqrt(3)))
    t = 2 * math.sqrt(3)
    assert result.p_value() == pytest.approx(1 - t / math.sqrt(t * t + 2))
    assert result.p_value(2.0) == pytest.approx(1.0)


def test_the_p_value_is_that_of_scipys_paired_t_test():
    draw = np.random.default_rng(0)
    new, base = draw.normal(1.0, 1.0, 7), draw.normal(0.5, 1.0, 7)
    result = paired(dict(enumerate(new)), dict(enumerate(base)))
    theirs = stats.ttest_rel(new, base)
    assert result.p_value() == pytest.approx(theirs.pvalue)
    assert result.interval() == pytest.approx(tuple(theirs.confidence_interval(0.95)))


def test_the_log_scale_gives_nats_and_a_ratio():
    result = paired({0: math.exp(4.9), 1: math.exp(5.1)}, {0: math.exp(5.0), 1: math.exp(5.0)}, "log")
    assert result.values == pytest.approx((-0.1, 0.1))
    assert result.scale == "log"


def test_a_figure_without_a_logarithm_does_not_vanish():
    result = paired({0: 0.0, 1: 2.0, 2: 2.0}, {0: 1.0, 1: 1.0, 2: 1.0}, "log")
    assert result.n == 3
    assert all(map(math.isnan, (result.mean, result.sd, *result.interval(), result.p_value())))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_makes_everything_undefined(bad):
    result = Paired((0, 1, 2), (bad, 1.0, -bad))
    assert all(map(math.isnan, (result.mean, result.sd, *result.interval(), result.p_value())))


def test_without_spread_there_is_no_interval_and_no_certainty():
    equal, none = Paired((0, 1), (0.15 - 0.1, 0.2 - 0.15)), Paired((0, 1), (0.0, 0.0))
    assert equal.values[0] != equal.values[1]  # rounding alone parts them
    assert equal.sd == none.sd == 0
    assert all(map(math.isnan, (*equal.interval(), equal.p_value())))
    assert equal.p_value(0.05) == none.p_value() == 1.0


def test_one_seed_has_a_difference_and_no_interval():
    result = Paired((4,), (0.3,))
    assert result.mean == 0.3
    assert all(map(math.isnan, (*result.interval(), result.p_value())))
