"""The tests of one table: every variant against the baseline."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from .holm import holm
from .paired import Paired, Scale, paired_differences
from .power import seeds_needed
from .verdict import Better, Word, verdict


@dataclass(frozen=True)
class Tested:
    """One variant's test against the baseline.

    Attributes:
        differences: variant - baseline by seed.
        p: of the paired t test, by itself.
        adjusted_p: by Holm over the table's variants.
        seeds_needed: to see the stated effect with 80 % power at 5 %, were the spread as observed.
    """

    differences: Paired
    p: float
    adjusted_p: float
    verdict: Word
    seeds_needed: float


def family(
    frame: pd.DataFrame,
    metric: str,
    variants: Sequence[str],
    baseline: str,
    *,
    scale: Scale = "log",
    better: Better = "lower",
    effect: float = math.nan,
    diverged: Collection[str] = (),
) -> dict[str, Tested]:
    """Test each of ``variants`` but the baseline; empty where the baseline has no rows.

    Args:
        frame: columns variant, seed and the metric.
        metric: the column.
        variants: those without rows are left out.
        baseline: one of them.
        scale: of the differences; ``log`` for perplexities.
        better: which way the metric is better.
        effect: the size for which seeds are counted: a ratio less 1 on the log scale, else a difference.
        diverged: of which a seed has no figure since its training diverged; none of them is called the better one.
    """
    present = set(frame["variant"])
    names = [name for name in variants if name != baseline and name in present] if baseline in present else []
    differences = [paired_differences(frame, metric, name, baseline, scale) for name in names]
    p_values = [one.p_value() for one in differences]
    size = math.log1p(effect) if scale == "log" else effect

    def word(name: str, found: Word) -> Word:
        ahead = {"better": name, "worse": baseline}.get(found)
        return "diverged" if ahead in diverged else found

    return {
        name: Tested(one, p, adjusted, word(name, verdict(one, adjusted, better)), seeds_needed(size, one.sd))
        for name, one, p, adjusted in zip(names, differences, p_values, holm(p_values), strict=True)
    }
