"""Differences to the baseline as a table shows them, and what the tests on them say."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..statistics.family import Tested
from ..statistics.paired import Paired
from ..statistics.verdict import MEANING
from .formats import NONE, bracketed, p_value, percent, plain, signed
from .table import Cell, Mark

NATS = {"token_perplexity": "nats a token", "word_perplexity": "nats a word"}
"""The unit of a difference of logarithms, for each metric that is tested."""

_MARKS: dict[str, Mark] = {"better": "good", "worse": "bad", "tie": "even", "exact tie": "even"}


def test_columns(effect: float) -> list[str]:
    """Headings of :func:`test_cells`."""
    return ["p (Holm)", "Verdict", f"Seeds for {percent(effect)}"]


def test_cells(tested: Tested | None) -> list[Cell]:
    """The adjusted p, the word, and the seeds that the stated effect needs; dashes for the baseline."""
    if tested is None:
        return [Cell(NONE)] * 3
    return [
        Cell(p_value(tested.adjusted_p)),
        Cell(tested.verdict, mark=_MARKS.get(tested.verdict, "open")),
        Cell(plain(tested.seeds_needed, 0)),
    ]


def test_note(metric: str, baseline: str, effect: float | None) -> str:
    """What the columns of the tests mean; None for an ``effect`` where no column says how many seeds it needs."""
    name = metric.replace("_", " ")
    text = (
        f"Δ is the mean difference to {baseline}, paired by seed, with its 95 % t interval; of perplexities that of "
        f"their logarithms, shown as a ratio. p: paired t test of log {name}, adjusted by Holm over the variants of "
        f"the table. {MEANING[0].upper()}{MEANING[1:]}"
    )
    if effect is None:
        return text
    return (
        f"{text} Seeds for {percent(effect)}: how many would see a {name} that "
        f"differs by {percent(effect)} with 80 % power at 5 % (one test, before Holm), were the spread of the paired "
        "differences as observed here, which few seeds tell only roughly."
    )


def ratio_cell(differences: Paired | None) -> Cell:
    """Differences of logarithms as a ratio less 1, in percent, with its interval; a dash without a shared seed."""
    if differences is None or differences.n == 0:
        return Cell(NONE)
    mean, low, high = (ratio_percent(value) for value in (differences.mean, *differences.interval()))
    digits = percent_digits(mean, low, high)
    text = NONE if math.isnan(mean) else f"{signed(mean, digits)} %"
    return Cell(text, _small(differences, (low, high), digits))


def difference_cell(differences: Paired | None, digits: int) -> Cell:
    """Plain differences with their interval; a dash without a shared seed."""
    if differences is None or differences.n == 0:
        return Cell(NONE)
    return Cell(signed(differences.mean, digits), _small(differences, differences.interval(), digits))


def ratio_percent(log_ratio: float) -> float:
    """100 (e^x - 1), infinite where that overflows."""
    try:
        return 100 * math.expm1(log_ratio)
    except OverflowError:
        return math.inf


def percent_digits(*percents: float) -> int:
    """Digits behind the point, the same for a mean and the ends of its interval: about three figures."""
    largest = max((abs(value) for value in percents if math.isfinite(value)), default=0.0)
    return 2 if largest < 10 else 1 if largest < 100 else 0


def nats_cells(tested: Mapping[str, Tested], names: list[str]) -> list[Cell]:
    """The differences of logarithms as they are, a cell a variant."""
    return [difference_cell(tested[name].differences if name in tested else None, 4) for name in names]


def _small(differences: Paired, interval: tuple[float, float], digits: int) -> str:
    return "n=1" if differences.n == 1 else bracketed(interval, digits)
