import math

import pandas as pd
import pytest
from lmzoo.train.figures.statistics.spread import spread, summarise


def test_mean_and_standard_deviation_divide_by_n_minus_one():
    result = spread([1.0, 2.0, 6.0])
    assert result.n == 3
    assert result.mean == pytest.approx(3.0)
    assert result.sd == pytest.approx(math.sqrt((4 + 1 + 9) / 2))


def test_one_value_has_no_spread_and_none_no_mean():
    assert spread([4.0]).mean == 4.0
    assert math.isnan(spread([4.0]).sd)
    assert spread([]).n == 0
    assert math.isnan(spread([]).mean)


def test_a_run_without_a_figure_does_not_vanish_in_the_mean():
    assert math.isnan(spread([1.0, math.nan]).mean)


def frame():
    rows = [("base", 0, 10.0), ("base", 1, 12.0), ("base", 2, 20.0), ("new", 0, 9.0), ("new", 1, 12.5), ("new", 7, 1.0)]
    return pd.DataFrame(rows, columns=["variant", "seed", "loss"])


def test_summary_leaves_out_variants_without_rows():
    assert list(summarise(frame(), "loss", ["new", "absent", "base"])) == ["new", "base"]
