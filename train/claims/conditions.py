"""How the runs behind the verdicts were trained: size, text, amount, and what was made equal; a row a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..matching import Matching
from ..report.formats import NONE
from ..report.passport import TOKENIZER
from ..tuning import Tuning
from . import words
from .outcome import Outcome
from .results import Results, Row

COLUMNS = ("Comparison", "Text", "Parameters", "Trained on", "Windows", "Precision", "Made equal", "Learning rate")

NOTE = (
    "The figures are of models of this size, trained so far and no further. Where parameters were not made equal, "
    "variants have as many as their layers come with. Of unlike tokenizers equal tokens are unlike amounts of text."
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
    cards = [row.get("passport") or {} for row in records]
    return (
        results.name,
        _each(_text(card) for card in cards if "corpus" in card),
        _numbers(card.get("parameters") for card in cards),
        _trained(records, cards),
        _numbers(card.get("train_length") for card in cards),
        _each(str(card["dtype"]) for card in cards if "dtype" in card),
        _made_equal(results, records, cards),
        _learning_rate(results, variants),
    )


def _text(card: Row) -> str:
    return f"{card['corpus']}, detokenised" if card.get("detokenize") else str(card["corpus"])


def _trained(records: Sequence[Row], cards: Sequence[Row]) -> str:
    amount = _numbers((row.get("run") or {}).get("train_tokens") for row in records)
    if amount == NONE:
        return NONE
    further = [bool(card.get("init_from")) for card in cards]
    start = "from a trained model" if all(further) else "some from a trained model" if any(further) else ""
    return ", ".join(filter(None, [f"{amount} tokens", start]))


def _made_equal(results: Results, records: Sequence[Row], cards: Sequence[Row]) -> str:
    """What the runs have as much of as each other, and what the comparison solved for."""
    runs = [row.get("run") or {} for row in records]
    same = [what for what in ("steps", "train_tokens") if len({run.get(what) for run in runs}) == 1 and what in runs[0]]
    equal = " and ".join(what.removeprefix("train_") for what in same)
    if equal and len({card.get(TOKENIZER) for card in cards}) > 1:
        equal += " of unlike tokenizers"
    solved = Matching(**results.asked.match).describe() if results.asked and results.asked.match else ""
    return ", ".join(filter(None, [equal, solved])) or NONE


def _learning_rate(results: Results, variants: Iterable[str]) -> str:
    if results.asked is None:
        return NONE
    if results.asked.tuning:
        rates = Tuning(**results.asked.tuning).learning_rates
        return f"each variant's best of {', '.join(f'{rate:g}' for rate in rates)}"
    runs = [run for run in results.asked.finished if run.variant in variants]
    given = ((run.config.get("model") or {}).get("learning_rate") for run in runs)
    found = sorted({rate for rate in given if rate is not None})
    if not found:
        return NONE
    return f"{found[0]:g} for all" if len(found) == 1 else f"{found[0]:g} to {found[-1]:g}, not tuned"


def _numbers(values: Iterable[Any]) -> str:
    known = sorted({int(value) for value in values if value is not None})
    if not known:
        return NONE
    return f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,} to {known[-1]:,}"


def _each(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values)) or NONE
