"""How the runs behind the verdicts were trained: size, text, amount, and what was made equal; a row a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..matching import Matching
from ..report.formats import NONE
from ..tuning import Tuning
from . import words
from .outcome import Outcome
from .results import Results, Row

COLUMNS = ("Comparison", "Text", "Parameters", "Trained on", "Windows", "Precision", "Made equal", "Learning rate")

NOTE = (
    "A verdict is of models of this size, trained so far and no further. Of one seed all variants see the same text in "
    "the same order; where nothing else was made equal they have as many parameters as their layers come with, and one "
    "learning rate serves all."
)


def conditions(outcomes: Sequence[Outcome], results: Sequence[Results]) -> list[tuple[str, ...]]:
    """A row of :data:`COLUMNS` for each comparison with a measured claim, of the variants that its claims name."""
    wanted: dict[str, set[str]] = {}
    for outcome in outcomes:
        if outcome.differences is not None:
            wanted.setdefault(outcome.claim.comparison, set()).update(words.variants(outcome.claim))
    return [_row(one, wanted[one.name]) for one in sorted(results, key=lambda one: one.name) if one.name in wanted]


def _row(results: Results, variants: Iterable[str]) -> tuple[str, ...]:
    # the precision of an extrapolation is its own, and not that of training
    records = [row for row in results.records if row["variant"] in variants and "intervention" not in row]
    cards = [row["passport"] for row in records]
    return (
        results.name,
        _each(card["corpus"] + (", detokenised" if card.get("detokenize") else "") for card in cards),
        _numbers(card.get("parameters") for card in cards),
        _trained(records),
        _numbers(card.get("train_length") for card in cards),
        _each(card["dtype"] for card in cards),
        *_fairness(results),
    )


def _trained(records: Sequence[Row]) -> str:
    amount = _numbers((row.get("run") or {}).get("train_tokens") for row in records)
    if amount == NONE:
        return NONE
    further = any(row["passport"].get("init_from") for row in records)
    return f"{amount} tokens" + (", from a trained model" if further else "")


def _fairness(results: Results) -> tuple[str, str]:
    if results.asked is None:
        return NONE, NONE
    match, tuning = results.asked.match, results.asked.tuning
    equal = "steps and tokens" + (f", {Matching(**match).describe()}" if match else "")
    if tuning is None:
        return equal, "one for all"
    rates = ", ".join(f"{rate:g}" for rate in Tuning(**tuning).learning_rates)
    return equal, f"each variant's best of {rates}"


def _numbers(values: Iterable[Any]) -> str:
    known = sorted({int(value) for value in values if value is not None})
    if not known:
        return NONE
    return f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,} to {known[-1]:,}"


def _each(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values)) or NONE
