import math

import pandas as pd
import pytest
from lmzoo.train.figures.statistics.family import family, holm, seeds_needed, verdict
from lmzoo.train.figures.statistics.paired import Paired


def frame(**nats):
    rows = [(name, seed, math.exp(value)) for name, values in nats.items() for seed, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["variant", "seed", "perplexity"])


def test_every_variant_is_tested_once_and_corrected_for_all():
    data = frame(base=[5.0, 5.1, 5.2], low=[4.5, 4.61, 4.7], high=[5.3, 5.41, 5.49], noise=[5.0, 4.9, 5.5])
    found = family(data, "perplexity", ["base", "low", "high", "noise", "absent"], "base", effect=0.01)
    assert list(found) == ["low", "high", "noise"]
    own = [found[name].differences.p_value() for name in found]
    assert [found[name].p for name in found] == own
    assert [found[name].adjusted_p for name in found] == pytest.approx(holm(own))
    assert [found[name].verdict for name in found] == ["better", "worse", "tie"]
    assert found["noise"].seeds_needed == seeds_needed(math.log(1.01), found["noise"].differences.sd)
    assert found["low"].differences.mean == pytest.approx(-0.49666667)


def test_a_difference_that_holm_takes_back_is_a_tie():
    differences = Paired((0, 1, 2), (-0.10, -0.11, -0.09))
    assert differences.p_value() < 0.05
    assert verdict(differences, holm([differences.p_value()] * 20)[0]) == "tie"


def test_words():
    def word(*values, p=0.001, better="lower"):
        return verdict(Paired(tuple(range(len(values))), values), p, better)

    assert word(-1.0, -1.1) == "better"
    assert word(-1.0, -1.1, better="higher") == "worse"
    assert word(1.0, 1.1, better="higher") == "better"
    assert word(-1.0, -1.1, p=0.2) == "tie"
    assert word(0.0, 0.0, p=1.0) == "exact tie"
    assert word(-0.1, -0.1, p=math.nan) == "no spread"
    assert word(-1.0, p=math.nan) == word(0.0, p=math.nan) == "one seed"
    assert word(-1.0, math.nan, p=math.nan) == "no figure"
    assert word(p=math.nan) == "not paired"


def test_without_the_baseline_nothing_is_tested():
    assert family(frame(a=[1.0, 2.0]), "perplexity", ["a", "base"], "base") == {}
