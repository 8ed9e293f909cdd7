import math

import pytest
from lmzoo.train.report.claims.claim import Claim
from lmzoo.train.report.claims.judge import claimed, judge, threshold


def claim(direction, size=None, unit="absolute"):
    return Claim("c", "s", "p", metric="cross_entropy", direction=direction, size=size, unit=unit)


def p_of(interval, null):
    """A p that fits the interval: below 5 % where it does not hold ``null``."""
    return 0.01 if null is not None and not interval[0] <= null <= interval[1] else 0.5


def judged(interval, one, times=1):
    """The verdict from a 95 % interval and the p-values that belong to it, ``times`` what they are by themselves."""
    p, size_p = (min(1.0, times * p_of(interval, null)) for null in (threshold(one), claimed(one)))
    return judge(sum(interval) / 2, interval, p, size_p, one)


@pytest.mark.parametrize(
    ("direction", "size", "interval", "verdict", "remark"),
    [
        ("lower", None, (-0.3, -0.1), "supported", ""),
        ("lower", None, (0.1, 0.3), "not supported", "the other way round"),
        ("lower", None, (-0.1, 0.3), "tie", "the interval contains zero"),
        ("lower", None, (0.0, 0.0), "tie", "no difference at all"),
        ("higher", None, (0.1, 0.3), "supported", ""),
        ("higher", None, (-0.3, -0.1), "not supported", "the other way round"),
        ("lower", 0.2, (-0.3, -0.1), "supported", ""),
        ("lower", 0.05, (-0.3, -0.1), "supported", "larger than claimed"),
        ("lower", 0.4, (-0.3, -0.1), "not supported", "smaller than claimed"),
        ("higher", 0.4, (0.1, 0.3), "not supported", "smaller than claimed"),
        ("lower", 0.4, (-0.3, 0.1), "not supported", "no difference seen, and one of the claimed size excluded"),
        ("lower", 0.2, (-0.3, 0.1), "tie", "the interval contains zero"),
        # noise, by which the interval of a half of the size reaches it, is no support
        ("lower", 2.96, (-3.0, -0.01), "tie", "the direction holds, the claimed size is neither reached nor excluded"),
        ("lower", 2.96, (-1.67, -1.43), "not supported", "smaller than claimed"),
        ("higher", 0.22, (0.2, 0.23), "tie", "the direction holds, the claimed size is neither reached nor excluded"),
        ("at_most", 0.13, (0.0, 0.12), "supported", "within the bound"),
        ("at_most", 0.13, (-0.5, -0.4), "supported", "within the bound"),
        ("at_most", 0.13, (0.14, 0.2), "not supported", "beyond the bound"),
        ("at_most", 0.13, (0.0, 0.2), "tie", "the interval contains the bound"),
        ("at_most", 0.0, (0.1, 0.2), "not supported", "beyond the bound"),
        ("at_least", -0.1, (-0.05, 0.2), "supported", "within the bound"),
        ("at_least", -0.1, (-0.3, -0.2), "not supported", "beyond the bound"),
    ],
)
def test_the_rule(direction, size, interval, verdict, remark):
    assert judged(interval, claim(direction, size)) == (verdict, remark)


@pytest.mark.parametrize(
    ("direction", "size", "interval"),
    [
        ("lower", None, (-0.3, -0.1)),
        ("lower", None, (0.1, 0.3)),
        ("lower", 0.2, (-0.3, -0.1)),
        ("lower", 0.4, (-0.3, -0.1)),
        ("lower", 0.4, (-0.3, 0.1)),
        ("at_most", 0.13, (0.0, 0.12)),
        ("at_most", 0.13, (0.14, 0.2)),
    ],
)
def test_what_holm_takes_back_is_a_tie(direction, size, interval):
    assert judged(interval, claim(direction, size))[0] != "tie"
    assert judged(interval, claim(direction, size), times=10) == ("tie", "before Holm only")


@pytest.mark.parametrize(
    ("interval", "remark"),
    [
        ((-0.02, -0.001), "one of the claimed size excluded, a smaller one before Holm only"),
        ((0.001, 0.02), "one of the claimed size excluded, the other way round before Holm only"),
        ((-0.01, 0.02), "no difference seen, and one of the claimed size excluded"),
    ],
)
def test_what_is_excluded_says_what_holm_took_back(interval, remark):
    """The size is far enough away to be excluded after Holm as well, zero is not."""
    assert judge(sum(interval) / 2, interval, 0.1, 0.01, claim("lower", 2.0)) == ("not supported", remark)


def test_a_count_at_its_bound_is_within_it():
    assert judge(0.13, (0.13, 0.13), 0.0, 1.0, claim("at_most", 0.13)) == ("supported", "within the bound")


def test_relative_sizes_are_taken_on_the_scale_of_logarithms():
    assert threshold(claim("at_most", 0.04, "relative")) == pytest.approx(0.0392207)
    assert claimed(claim("lower", 0.99, "relative")) == pytest.approx(math.log(0.01))
    assert claimed(claim("higher", 0.5, "relative")) == pytest.approx(math.log(1.5))
    assert threshold(claim("lower", 0.5, "relative")) == 0.0
    inside, beyond = math.log(1.039), math.log(1.041)
    assert judged((0.0, inside), claim("at_most", 0.04, "relative"))[0] == "supported"
    assert judged((beyond, 0.1), claim("at_most", 0.04, "relative"))[0] == "not supported"
