"""Statistics of continuations against hand-worked cases."""

import math

import pytest
from lmzoo.train.evaluate.analyze.continuations import distinct, ngrams, sequence_repetition, share_outside, variety

# a b a b a: bigrams ab ba ab ba; b b: bigram bb
ONE, TWO = list("ababa"), list("bb")


def test_ngrams_are_counted_inside_a_continuation():
    assert list(ngrams("abc", 2)) == [("a", "b"), ("b", "c")]
    assert list(ngrams("abc", 3)) == [("a", "b", "c")]
    assert list(ngrams("ab", 3)) == []
    assert list(ngrams("", 1)) == []


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, 2 / 7),  # a, b of 5 + 2 units
        (2, 3 / 5),  # ab, ba, bb of 4 + 1: none reaches from the first into the second
        (3, 2 / 3),  # aba, bab of aba bab aba
        (5, 1.0),
    ],
)
def test_distinct_is_over_all_continuations_together(n, expected):
    assert distinct([ONE, TWO], n) == expected


def test_distinct_of_repeated_continuations_falls():
    assert distinct([[1, 2, 3]] * 4, 1) == 3 / 12
    assert distinct([[1, 2, 3]] * 4, 3) == 1 / 4


def test_repetition_is_a_mean_of_continuations_and_not_of_ngrams():
    constant = [7] * 10  # 7 4-grams, 1 different: 1 - 1/7
    varied = list(range(5))  # 2 4-grams, both different: 0
    assert sequence_repetition([constant, varied]) == (pytest.approx((6 / 7 + 0) / 2, rel=1e-15), 2)
    cycle = [1, 2, 3] * 4  # 9 4-grams, 3 different
    assert sequence_repetition([cycle]) == (pytest.approx(1 - 3 / 9, rel=1e-15), 1)


def test_the_same_ngram_in_two_continuations_is_no_repetition():
    assert sequence_repetition([[1, 2, 3, 4], [1, 2, 3, 4]]) == (0.0, 2)
    assert distinct([[1, 2, 3, 4], [1, 2, 3, 4]], 4) == 0.5


def test_continuations_too_short_for_an_ngram_are_left_out_and_counted():
    value, over = sequence_repetition([[1, 1, 1], [], [5] * 5])
    assert (value, over) == (0.5, 1)
    value, over = sequence_repetition([[1, 2], []])
    assert math.isnan(value)
    assert over == 0
    assert math.isnan(distinct([[1], []], 2))
    assert distinct([[1], []], 1) == 1.0


def test_the_share_of_rare_units_counts_every_occurrence():
    assert share_outside([[1, 2, 2, 9], [9, 9]], {1, 2}) == 3 / 6
    assert share_outside([[1, 2]], [1, 2, 3]) == 0.0
    assert math.isnan(share_outside([[], []], {1}))


def test_variety_of_nothing_is_undefined_and_not_zero():
    found = variety([])
    assert found["units"] == found["seq_rep_4_over"] == 0
    assert all(math.isnan(found[key]) for key in ("distinct_1", "distinct_2", "distinct_3", "seq_rep_4"))


def test_variety_of_words():
    words = ["the cat sat on the cat sat on the mat".split(), "a dog".split()]
    found = variety(words)
    assert found == {
        "units": 12,
        "distinct_1": 7 / 12,
        # the-cat, cat-sat, sat-on, on-the, the-mat, a-dog of 9 + 1
        "distinct_2": 6 / 10,
        "distinct_3": 5 / 8,  # the-cat-sat, cat-sat-on, sat-on-the, on-the-cat, on-the-mat of 8
        "seq_rep_4": pytest.approx(1 - 5 / 7),  # of 7, the-cat-sat-on and cat-sat-on-the come twice
        "seq_rep_4_over": 1,
    }
