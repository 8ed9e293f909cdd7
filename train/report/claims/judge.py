"""The rule by which tests over seeds decide a claim."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal

from ...figures.statistics.paired import ROUNDING
from .claim import Claim

Verdict = Literal["supported", "not supported", "tie", "not tested"]

RULE = """Every claim is decided by the mean difference to the baseline, paired by seed, and two-sided t tests at 5 %:
one against no difference and, where a size is claimed, one against that size. Both are corrected by Holm over the
claims of the paper that our comparisons measure. A claim that has no figures yet counts as one with p = 1, so that how
many there are never depends on which runs are there.
supported: the mean lies on the claimed side and differs from zero; where a size is claimed the mean also reaches it.
not supported: the mean lies on the other side and differs from zero ('the other way round'), or it falls short of the
claimed size and differs from it: 'smaller than claimed' where the direction holds, else 'no difference seen, and one of
the claimed size excluded', with word of a difference that is there before Holm only.
tie: neither, since not enough is known. The remark says where the direction holds but the size is neither reached nor
excluded, and where the 95 % interval, which stands for its claim alone, would decide 'before Holm only'.
not tested: fewer than two seeds in common, no runs, figures that do not compare, a task that neither solves (every
figure is 0 %), or seeds that all differ by the same, so that nothing tells how far chance moves them. The reason is
given. Of what is counted and not estimated, such as parameters, equal differences are taken at their word.
A run that failed, diverged or has not ended has no figure, and the remark says so. Where a seed of the variant diverged
the claim is never called supported, where one of the baseline did never refuted, but a tie.
Where a claim is a bound ('at most 4 % more') the bound takes the place of zero: supported when the mean lies within the
bound and differs from it, not supported when it lies beyond and differs, else a tie.
Perplexities and other relative sizes are compared by their logarithms."""

LEVEL = 0.05
_BEFORE_HOLM = "before Holm only"
_NONE_SEEN = "no difference seen, and one of the claimed size excluded"
_SIZE_EXCLUDED = "one of the claimed size excluded, {} " + _BEFORE_HOLM


def claimed(claim: Claim) -> float | None:
    """The claimed difference on the test's scale, of logarithms where it is relative, signed; None without a size."""
    if claim.size is None:
        return None
    size = -claim.size if claim.direction == "lower" else claim.size
    return math.log1p(size) if claim.unit == "relative" else size


def threshold(claim: Claim) -> float:
    """The difference that separates the claimed side from the other: zero, or the bound."""
    return (claimed(claim) or 0.0) if claim.is_bound else 0.0


def judge(
    mean: float, interval: tuple[float, float], adjusted_p: float, adjusted_size_p: float, claim: Claim
) -> tuple[Verdict, str]:
    """The verdict for a paired difference, and a remark (may be empty); see :data:`RULE`.

    Args:
        mean: on the scale of the test.
        interval: 95 %, on the same scale, which says what the claim would be by itself; NaN where no seed differs.
        adjusted_p: against :func:`threshold`.
        adjusted_size_p: against :func:`claimed`; NaN where no size is claimed, and not looked at for a bound.
        claim: what was claimed.
    """
    zero, size = threshold(claim), claimed(claim)
    sign = -1 if claim.direction in ("lower", "at_most") else 1  # turned round, so that the claimed side is above zero
    ahead = sign * (mean - zero)
    low, high = sorted(sign * (end - zero) for end in interval)
    differs, alone = adjusted_p < LEVEL, low > 0 or high < 0
    if claim.is_bound:
        if differs:
            return ("supported", "within the bound") if ahead > -ROUNDING else ("not supported", "beyond the bound")
        return "tie", _BEFORE_HOLM if alone else "the interval contains the bound"
    size = None if size is None else sign * (size - zero)
    short = size is not None and ahead < size - ROUNDING
    other = adjusted_size_p < LEVEL
    if differs and ahead < 0:
        return "not supported", "the other way round"
    if short and other:
        if differs:
            return "not supported", "smaller than claimed"
        by_itself = "a smaller one" if ahead > 0 else "the other way round"
        return "not supported", _SIZE_EXCLUDED.format(by_itself) if alone else _NONE_SEEN
    if differs and not short:
        return "supported", "larger than claimed" if other else ""
    if differs:
        return "tie", "the direction holds, the claimed size is neither reached nor excluded"
    if alone or (size is not None and high < size):
        return "tie", _BEFORE_HOLM
    return "tie", "no difference at all" if low == high == 0 or math.isnan(low) else "the interval contains zero"


def without_diverged(verdict: Verdict, remark: str, claim: Claim, diverged: Collection[str]) -> tuple[Verdict, str]:
    """The verdict and remark with what did not survive in mind: none is in favour of whose seed diverged."""
    favoured = {"supported": claim.variant, "not supported": claim.baseline}.get(verdict)
    if favoured not in diverged:
        return verdict, remark
    return "tie", f"of the seeds that did not diverge it would be {verdict}"
