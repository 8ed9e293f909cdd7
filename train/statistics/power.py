"""How many seeds a comparison needs to see an effect of a stated size."""

from __future__ import annotations

import math

from scipy import stats

from ...errors import require

EFFECT = 0.01
"""Relative difference of perplexity that a comparison wants to see, unless its file says otherwise."""

POWER = 0.8
ALPHA = 0.05


def power_of(n: int, effect: float, sd: float, *, alpha: float = ALPHA) -> float:
    r"""Chance that a two-sided paired t test of ``n`` seeds finds a mean difference of ``effect``, exactly.

    With t noncentral of n - 1 degrees of freedom and noncentrality :math:`\delta = |effect| \sqrt n / sd`:
    :math:`P(t_{n-1,\delta} > t_{1-\alpha/2}) + P(t_{n-1,\delta} < -t_{1-\alpha/2})`.
    """
    require(n >= 2, "n", "2 seeds or more", n)
    require(sd > 0, "sd", "above 0", sd)
    critical = stats.t.ppf(1 - alpha / 2, n - 1)
    delta = abs(effect) * math.sqrt(n) / sd
    return float(stats.nct.sf(critical, n - 1, delta) + stats.nct.cdf(-critical, n - 1, delta))


def seeds_needed(effect: float, sd: float, *, power: float = POWER, alpha: float = ALPHA) -> float:
    """The smallest number of seeds whose :func:`power_of` is at least ``power``; a whole number, or NaN or infinity.

    It is of one test at ``alpha``, before Holm's correction, and takes the observed ``sd`` for the true one, which of
    three seeds may be off by half or by three times. Without any spread two seeds are enough; with an unknown one the
    answer is NaN; for no effect no number is enough.
    """
    require(0 < power < 1, "power", "between 0 and 1", power)
    if math.isnan(sd) or math.isnan(effect):
        return math.nan
    if effect == 0:
        return math.inf
    if sd == 0:
        return 2.0
    # a test that knew sd would need this many; Student's, which does not, needs more: the search begins here
    z = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
    n = max(2, math.floor((z * sd / abs(effect)) ** 2))
    while power_of(n, effect, sd, alpha=alpha) < power:
        n += 1
    return float(n)
