"""How far a difference of two variants would move with other documents of the kind."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..extrapolation.interval import FIGURES
from ..statistics.bootstrap import Sums, bootstrap_interval, pairs_of
from .formats import NONE, bracketed, listed
from .load import absent
from .table import Cell

DOCUMENTS = "With other documents"


def document_cells(records: pd.DataFrame, metric: str, variants: Sequence[str], baseline: str) -> dict[str, Cell]:
    """A cell a variant: the interval of its difference to the baseline over the seeds that both have.

    A dash where there is none, as for the baseline; empty where no record has sums by document.
    """
    sums = _by_seed(records, variants)
    if not any(of_seed for own in sums.values() for of_seed in own.values()):
        return {}
    cells = dict.fromkeys(variants, Cell(NONE))
    for name in variants:
        pairs = [] if name == baseline else pairs_of(sums[name], sums[baseline])
        interval = bootstrap_interval(pairs, FIGURES[metric])
        if interval is not None:
            cells[name] = Cell(bracketed(interval, 4))
    return cells


def document_notes(records: pd.DataFrame, variants: Sequence[str]) -> list[str]:
    """What the column says, of how many documents, and which runs carry no sums."""
    sums = _by_seed(records, variants)
    known = [of_seed for own in sums.values() for of_seed in own.values() if of_seed]
    counts = sorted({len(of_seed["document"]) for of_seed in known})
    number = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    notes = [
        f"{DOCUMENTS}: 95 % interval of the same difference, in nats, from drawing the {number} scored documents with "
        "replacement, the same for both variants. It is the noise of the evaluation alone, of these trained models: "
        "another seed of training is not in it, and of a few dozen documents it is somewhat too narrow."
    ]
    without = [
        f"{name} seed {listed([str(seed) for seed, of_seed in own.items() if not of_seed])}"
        for name, own in sums.items()
        if not all(own.values())
    ]
    if without:
        notes.append(f"Without sums by document, and so without that interval: {'; '.join(without)}.")
    return notes


def _by_seed(records: pd.DataFrame, variants: Sequence[str]) -> dict[str, dict[int, Sums | None]]:
    found: dict[str, dict[int, Sums | None]] = {name: {} for name in variants}
    for row in records.to_dict("records"):
        sums = row.get("by_document")
        found[row["variant"]][int(row["seed"])] = None if absent(sums) else sums
    return found
