"""Intervals of shares and means over independent sequences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.stats import norm, t

_LEVEL = 0.95


def share_interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of ``n`` independent trials; it has a width where the share is 0 or 1, too.

    With z the normal quantile: (share + z^2 / 2n ± z sqrt(share (1 - share) / n + z^2 / 4n^2)) / (1 + z^2 / n).
    ``share`` may be a mean of trials that are themselves shares in [0, 1], whose variance is smaller: the interval is
    then wider than it need be, never narrower.
    """
    z = float(norm.ppf(0.5 + _LEVEL / 2))
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    below, above = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return max(0.0, below), min(1.0, above)


def mean_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean and 95 % interval (Student's t, n - 1) of independent values; no interval below two of them."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, None, None
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    half = float(t.ppf(0.5 + _LEVEL / 2, n - 1)) * error
    return mean, mean - half, mean + half
