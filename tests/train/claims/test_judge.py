import math

import pytest
from lmzoo.train.claims.claim import Claim
from lmzoo.train.claims.judge import claimed, judge, threshold


def claim(direction, size=None, unit="absolute"):
    return Claim("c", "s", "p", metric="cross_entropy", direction=direction, size=size, unit=unit)


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
        ("at_most", 0.13, (0.0, 0.12), "supported", "within the bound"),
        ("at_most", 0.13, (-0.5, -0.4), "supported", "within the bound"),
        ("at_most", 0.13, (0.13, 0.13), "supported", "within the bound"),
        ("at_most", 0.13, (0.14, 0.2), "not supported", "beyond the bound"),
        ("at_most", 0.13, (0.0, 0.2), "tie", "the interval contains the bound"),
        ("at_most", 0.0, (0.1, 0.2), "not supported", "beyond the bound"),
        ("at_least", -0.1, (-0.05, 0.2), "supported", "within the bound"),
        ("at_least", -0.1, (-0.3, -0.2), "not supported", "beyond the bound"),
    ],
)
def test_the_rule(direction, size, interval, verdict, remark):
    assert judge(*interval, claim(direction, size)) == (verdict, remark)


def test_relative_sizes_are_taken_on_the_scale_of_logarithms():
    assert threshold(claim("at_most", 0.04, "relative")) == pytest.approx(0.0392207)
    assert claimed(claim("lower", 0.99, "relative")) == pytest.approx(math.log(0.01))
    assert claimed(claim("higher", 0.5, "relative")) == pytest.approx(math.log(1.5))
    assert threshold(claim("lower", 0.5, "relative")) == 0.0
    inside, beyond = math.log(1.039), math.log(1.041)
    assert judge(0.0, inside, claim("at_most", 0.04, "relative"))[0] == "supported"
    assert judge(beyond, 0.1, claim("at_most", 0.04, "relative"))[0] == "not supported"
