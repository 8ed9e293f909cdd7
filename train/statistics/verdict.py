"""What a test says, in one word."""

from __future__ import annotations

import math
from typing import Literal

from .paired import Paired

Better = Literal["lower", "higher"]
"""Which way a metric is better; said before anything is measured."""

Word = Literal["better", "worse", "tie", "exact tie", "no spread", "diverged", "one seed", "no figure", "not paired"]

LEVEL = 0.05

MEANING = (
    "better or worse: the Holm-adjusted p is below 5 %; tie: it is not; exact tie: every seed's figures are equal; "
    "no spread: every seed differs by the same, which no test can weigh; diverged: the one that would be ahead "
    "lost a seed so; one seed: no verdict; no figure: a run has none; not paired: no seed in common."
)


def verdict(differences: Paired, adjusted_p: float, better: Better = "lower") -> Word:
    """The word for differences to the baseline whose p-value, corrected over their table, is ``adjusted_p``."""
    if not differences.n:
        return "not paired"
    if any(not math.isfinite(value) for value in differences.values):
        return "no figure"
    if differences.n == 1:
        return "one seed"
    if all(value == 0 for value in differences.values):
        return "exact tie"
    if differences.sd == 0:
        return "no spread"
    if adjusted_p >= LEVEL:
        return "tie"
    return "better" if (differences.mean < 0) == (better == "lower") else "worse"
