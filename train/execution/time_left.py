"""How long the rest of a comparison will take."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence


def time_left(
    running: Sequence[tuple[float, float]], waiting: Sequence[str], done: Mapping[str, Sequence[float]]
) -> float:
    """Seconds until the last run has ended, as many going on at once as now; NaN where nothing is known yet.

    A run is expected to take as long as the mean of its variant's finished runs, else of all finished runs, else as
    those going on will have taken by their own estimate. Whoever ends first takes the next that waits.

    Args:
        running: for each run going on, the seconds it has taken and those it still needs (NaN if not known).
        waiting: the variants of the runs that have not begun, in their order.
        done: for each variant the seconds that its finished runs took.
    """
    taken = [seconds for each in done.values() for seconds in each]
    taken = taken or [gone + left for gone, left in running if math.isfinite(left)]
    usual = statistics.fmean(taken) if taken else math.nan
    free = sorted(left if math.isfinite(left) else max(usual - gone, 0.0) for gone, left in running) or [0.0]
    last = max(free)
    for variant in waiting:
        seconds = statistics.fmean(done[variant]) if done.get(variant) else usual
        free = sorted([free[0] + seconds, *free[1:]])
        last = max(last, free[-1])
    # a comparison with NaN is never true, so that max and sorted would hide one
    return math.nan if any(math.isnan(end) for end in free) else last
