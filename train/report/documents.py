"""How far a difference of two variants would move with other documents of the kind."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..statistics.bootstrap import bootstrap_interval
from .formats import NONE, bracketed
from .load import absent
from .table import Cell

DOCUMENTS = "With other documents"
DOCUMENTS_NOTE = (
    f"{DOCUMENTS}: 95 % interval of the same difference, in nats, from drawing the scored documents with replacement, "
    "the same for both variants. It is the noise of the evaluation alone, of these trained models; another seed of "
    "training is not in it, and of few documents it is too narrow."
)

_UNIT = {"token_perplexity": "tokens", "word_perplexity": "words"}


def document_cells(records: pd.DataFrame, metric: str, variants: Sequence[str], baseline: str) -> dict[str, Cell]:
    """A cell a variant: the interval of its difference to the baseline over the seeds that both have.

    A dash where there is none, as for the baseline; empty where no variant has one: the records carry no sums by
    document, or not of the same ones.
    """
    if "by_document" not in records:
        return {}
    sums = {(row["variant"], row["seed"]): row["by_document"] for _, row in records.iterrows()}
    found: dict[str, tuple[float, float]] = {}
    for name in variants:
        seeds = [seed for variant, seed in sums if variant == name and (baseline, seed) in sums]
        pairs = [(sums[name, seed], sums[baseline, seed]) for seed in seeds]
        alike = all(not absent(a) and not absent(b) and a["document"] == b["document"] for a, b in pairs)
        interval = bootstrap_interval(pairs, _UNIT[metric]) if alike and name != baseline else None
        if interval is not None:
            found[name] = interval
    return {name: Cell(bracketed(found[name], 4) if name in found else NONE) for name in variants} if found else {}
