"""Holm's correction: p-values that stand beside each other in one table."""

from __future__ import annotations

import math
from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    r"""Adjusted p-values of Holm, 1979, in the order given: a test is significant at a level if its own is below it.

    With the m p-values in rising order, :math:`\tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1) p_{(j)})`. It holds
    the chance of any false finding in the table at the level, however the tests depend on each other.

    NaN, of what could not be tested, stays NaN and is not counted in m.
    """
    tested = [i for i, p in enumerate(p_values) if not math.isnan(p)]
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for place, i in enumerate(sorted(tested, key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(tested) - place) * p_values[i]))
        adjusted[i] = largest
    return adjusted
