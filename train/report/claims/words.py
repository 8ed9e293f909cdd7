"""An outcome's figures as a person reads them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from ...figures.formats import NONE, bracketed, p_value, signed
from ...figures.table import percent_digits, ratio_percent
from .claim import Claim
from .judge import Verdict, claimed
from .metrics import METRICS
from .verdicts import Outcome

VERDICTS: tuple[Verdict, ...] = ("supported", "not supported", "tie", "not tested")
"""In the order in which they are shown."""

_BOUNDS = {"at_most": "at most", "at_least": "at least"}


def decided_first(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those with a verdict before those that are not tested, each in the order given."""
    return sorted(outcomes, key=lambda outcome: not outcome.decided)


def counts(outcomes: Sequence[Outcome]) -> str:
    """How many have which verdict: ``2 supported, 1 tie``."""
    found = Counter(outcome.verdict for outcome in outcomes)
    return ", ".join(f"{found[word]} {word}" for word in VERDICTS if found[word])


def difference(outcome: Outcome) -> str:
    """Mean and interval with their unit: ``−2.31 % [−3.10, −1.51]``; a dash where there is none."""
    if math.isnan(outcome.mean):
        return NONE
    mean, low, high = (_shown(outcome.claim, value) for value in (outcome.mean, outcome.low, outcome.high))
    digits, unit = _digits(outcome.claim, mean, low, high)
    text = f"{signed(mean, digits)}{unit}"
    return text if math.isnan(low) else f"{text} {bracketed((low, high), digits)}"


def claim_in_figures(claim: Claim) -> str:
    """What was claimed: ``lower``, ``−99 %``, ``at most +4 %``; empty where nothing is measured."""
    if claim.not_tested:
        return ""
    size = claimed(claim)
    if size is None:
        return claim.direction
    value = _shown(claim, size)
    _, unit = _digits(claim, value)
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return f"{_BOUNDS.get(claim.direction, '')} {sign}{abs(round(value, 6)):g}{unit}".strip()


def tests(outcome: Outcome) -> str:
    """The p-values and the seeds; empty where nothing was tested."""
    if not outcome.decided or outcome.differences is None:
        return ""
    if outcome.differences.sd == 0:
        return f"{outcome.differences.n} seeds, which all say the same"
    text = f"{outcome.differences.n} seeds, p {p_value(outcome.p)}, by Holm {p_value(outcome.adjusted_p)}"
    if math.isnan(outcome.size_p):
        return text
    return f"{text}; of the claimed size p {p_value(outcome.size_p)}, by Holm {p_value(outcome.adjusted_size_p)}"


def documents(outcome: Outcome) -> str:
    """The interval of the evaluation's noise; empty where there is none."""
    return "" if outcome.documents is None else f"{bracketed(outcome.documents, 4)} nats"


def verdict(outcome: Outcome) -> str:
    """The verdict with its remark."""
    return f"{outcome.verdict} ({outcome.remark})" if outcome.remark else outcome.verdict


def protocol(claim: Claim) -> str:
    """The metric and its settings."""
    if claim.not_tested:
        return ""
    given = ", ".join(f"{key} {value}" for key, value in claim.protocol.items() if value is not None)
    return METRICS[claim.metric].title + (f" ({given})" if given else "")


def decided_by(claim: Claim) -> str:
    """Comparison, variant and baseline."""
    if claim.not_tested:
        return ""
    against = f" against {claim.baseline}" if claim.baseline else ""
    return f"{claim.comparison}: {claim.variant}{against}"


def sentence(outcome: Outcome) -> str:
    """All figures in one line."""
    claim = outcome.claim
    parts = [decided_by(claim), difference(outcome), f"claimed: {claim_in_figures(claim)}", tests(outcome)]
    if outcome.documents is not None:
        parts.append(f"with other documents {documents(outcome)}")
    return "" if claim.not_tested else "; ".join(part for part in parts if part and part != NONE)


def _shown(claim: Claim, value: float) -> float:
    if claim.unit == "relative":
        return ratio_percent(value)
    return 100 * value if METRICS[claim.metric].unit.startswith("share") else value


def _digits(claim: Claim, *values: float) -> tuple[int, str]:
    if claim.unit == "relative":
        return percent_digits(*values), " %"
    unit = METRICS[claim.metric].unit
    if unit.startswith("share"):
        return 1, " points"
    return 4, f" {unit}" if unit else ""
