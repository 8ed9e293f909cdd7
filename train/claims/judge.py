"""The rule by which an interval decides a claim."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal

from .claim import Claim

Verdict = Literal["supported", "not supported", "tie", "not tested"]

RULE = """Every claim is decided by the 95 % t interval of the mean difference to the baseline, paired by seed:
supported: the interval lies wholly on the claimed side; where a size is claimed it also reaches that size.
not supported: it lies wholly on the other side, or excludes the claimed size: 'smaller than claimed' where the
direction holds, else 'no difference seen, and one of the claimed size excluded'.
tie: it contains zero, and the claimed size, if any, is not excluded: not enough is known.
not tested: fewer than two seeds in common, no runs, figures that do not compare, a task that neither solves (every
figure is 0 %), or seeds that all differ by the same, so that nothing tells how far chance moves them. The reason is
given. Of what is counted and not estimated, such as parameters, equal differences are taken at their word.
A run that failed, diverged or has not ended has no figure, and the remark says so. Where a seed of the variant diverged
the claim is never called supported, where one of the baseline did never refuted, but a tie.
Where a claim is a bound ('at most 4 % more') the bound takes the place of zero: supported when the interval lies wholly
within the bound, not supported when wholly beyond it, a tie when it contains the bound.
Perplexities and other relative sizes are compared by their logarithms. The interval of each claim stands for itself;
beside it is its p-value, corrected by Holm over the claims of its paper."""


def on_scale(value: float, unit: str) -> float:
    """A size of the file as a difference on the scale of the test: of logarithms where it is relative."""
    return math.log1p(value) if unit == "relative" else value


def threshold(claim: Claim) -> float:
    """The difference that separates the claimed side from the other: zero, or the bound."""
    return on_scale(claim.size, claim.unit) if claim.direction in ("at_most", "at_least") and claim.size else 0.0


def claimed(claim: Claim) -> float | None:
    """The claimed difference on the test's scale, signed; None where no size is claimed."""
    if claim.size is None:
        return None
    return on_scale(-claim.size if claim.direction == "lower" else claim.size, claim.unit)


def judge(low: float, high: float, claim: Claim) -> tuple[Verdict, str]:
    """The verdict for an interval of the paired difference, and a remark (may be empty); see :data:`RULE`.

    The ends are on the scale of the test; NaN where no seed differs at all.
    """
    zero, size = threshold(claim), claimed(claim)
    if claim.direction in ("lower", "at_most"):  # turned round, so that the claimed side is above zero
        low, high, size = zero - high, zero - low, None if size is None else zero - size
    else:
        low, high, size = low - zero, high - zero, None if size is None else size - zero
    if claim.direction in ("at_most", "at_least"):
        if low >= 0:  # the bound itself is within the bound
            return "supported", "within the bound"
        return ("not supported", "beyond the bound") if high < 0 else ("tie", "the interval contains the bound")
    if high < 0:
        return "not supported", "the other way round"
    if low > 0:
        if size is not None and high < size:
            return "not supported", "smaller than claimed"
        return "supported", "larger than claimed" if size is not None and low > size else ""
    if size is not None and high < size:
        return "not supported", "no difference seen, and one of the claimed size excluded"
    return "tie", "no difference at all" if low == high == 0 or math.isnan(low) else "the interval contains zero"


def without_diverged(verdict: Verdict, remark: str, claim: Claim, diverged: Collection[str]) -> tuple[Verdict, str]:
    """The verdict and remark with what did not survive in mind: none is in favour of whose seed diverged."""
    favoured = {"supported": claim.variant, "not supported": claim.baseline}.get(verdict)
    if favoured not in diverged:
        return verdict, remark
    return "tie", f"of the seeds that did not diverge it would be {verdict}"
