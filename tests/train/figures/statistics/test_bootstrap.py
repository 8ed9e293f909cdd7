import numpy as np
import pytest
from lmzoo.errors import ArgumentError
from lmzoo.train.evaluate.extrapolate.sums import interval
from lmzoo.train.figures.statistics.bootstrap import bootstrap_interval


def sums(nll, tokens, first=0):
    return {
        "document": list(range(first, first + len(nll))),
        "nll": nll,
        "tokens": tokens,
        "words": [n // 2 for n in tokens],
        "bytes": [4 * n for n in tokens],
    }


TOKENS = [100, 300, 50, 200, 120]
BASE = [500.0, 1400.0, 300.0, 950.0, 640.0]


def test_against_a_plain_resampling_of_both_models_together():
    new = [480.0, 1420.0, 280.0, 900.0, 600.0]
    low, high = bootstrap_interval([(sums(new, TOKENS), sums(BASE, TOKENS))], resamples=4000)
    draw = np.random.default_rng(7).integers(0, 5, (4000, 5))
    differences = (np.array(new)[draw].sum(1) - np.array(BASE)[draw].sum(1)) / np.array(TOKENS)[draw].sum(1)
    assert (low, high) == pytest.approx(tuple(np.percentile(differences, (2.5, 97.5))), abs=0.012)


def test_what_both_models_find_hard_cancels():
    new = [value - 0.1 * n for value, n in zip(BASE, TOKENS, strict=True)]  # 0.1 nats a token less in every document
    low, high = bootstrap_interval([(sums(new, TOKENS), sums(BASE, TOKENS))])
    assert (low, high) == pytest.approx((-0.1, -0.1))
    alone = interval(sums(BASE, TOKENS))
    assert alone["cross_entropy_high"] - alone["cross_entropy_low"] > 0.2


def test_seeds_are_averaged_within_a_draw():
    up = [value + 0.3 * n for value, n in zip(BASE, TOKENS, strict=True)]
    down = [value - 0.1 * n for value, n in zip(BASE, TOKENS, strict=True)]
    base = sums(BASE, TOKENS)
    assert bootstrap_interval([(sums(up, TOKENS), base), (sums(down, TOKENS), base)]) == pytest.approx((0.1, 0.1))


def test_units():
    new = [value + 0.5 * n for value, n in zip(BASE, TOKENS, strict=True)]
    pairs = [(sums(new, TOKENS), sums(BASE, TOKENS))]
    assert bootstrap_interval(pairs, "words") == pytest.approx((1.0, 1.0))
    with pytest.raises(ArgumentError, match="unit: expected tokens or words or bytes"):
        bootstrap_interval(pairs, "nll")


def test_other_documents_are_refused_and_one_is_not_resampled():
    with pytest.raises(ArgumentError, match="the same documents"):
        bootstrap_interval([(sums(BASE, TOKENS), sums(BASE, TOKENS, first=1))])
    assert bootstrap_interval([(sums(BASE[:1], TOKENS[:1]), sums(BASE[:1], TOKENS[:1]))]) is None
    assert bootstrap_interval([]) is None
