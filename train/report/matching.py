"""What was made equal between the variants of a comparison, and how nearly."""

from __future__ import annotations

import math

import pandas as pd

from ..matching import Matching
from .formats import plain, signed
from .load import Comparison, Run, number
from .table import Cell

COLUMNS = {"feed_forward": "Feed-forward width", "depth": "Layers"}
RESIDUE = "Residue"


class MatchedBudget:
    """The columns that a comparison with ``match`` adds to the table of costs; without it there are none.

    Sizes and costs are those that the finished runs wrote down, not those that were planned.

    Args:
        comparison: as read back.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.matching = Matching(**comparison.match) if comparison.match else None
        self.baseline = comparison.baseline
        rows = [_row(run, self.matching) for run in comparison.finished if self.matching]
        self._frame = pd.DataFrame(rows, columns=["variant", "size", "cost"])

    @property
    def columns(self) -> list[str]:
        """Titles."""
        return [COLUMNS[self.matching.by], RESIDUE] if self.matching else []

    def cells(self, variant: str) -> list[Cell]:
        """The solved size, and how far the variant's cost is from the baseline's, in percent of that."""
        if self.matching is None:
            return []
        residue = self.residue(variant)
        size = Cell(plain(self._one(variant, "size"), 0))
        if variant == self.baseline or math.isnan(residue):
            return [size, Cell(plain(math.nan, 0))]
        return [size, Cell(f"{signed(residue, 3)} %")]

    def residue(self, variant: str) -> float:
        """100 (C - C_baseline) / C_baseline; NaN where one of them is not known."""
        reference = self._one(self.baseline, "cost")
        return 100.0 * (self._one(variant, "cost") - reference) / reference

    def notes(self) -> list[str]:
        """What was matched, in words."""
        if self.matching is None:
            return []
        text = (
            f"Matched: {self.matching.describe()}. Each variant's {COLUMNS[self.matching.by].lower()} was solved for "
            f"before training; the residue is what it then has more than {self.baseline}, in percent."
        )
        if self.matching.budget == "flops":
            text += (
                " FLOPs are those of matrix products; elementwise work and what a kernel does again in the backward "
                "pass are not in them, so equal FLOPs are not equal time."
            )
        return [text]

    def _one(self, variant: str, column: str) -> float:
        """The value that all runs of a variant share; NaN where there is none."""
        distinct = set(self._frame.loc[self._frame["variant"] == variant, column].tolist())
        return float(distinct.pop()) if len(distinct) == 1 else math.nan


def _row(run: Run, matching: Matching) -> tuple[str, float, float]:
    results = run.results or {}
    if matching.budget == "flops":
        cost = results.get("flops_per_token" if matching.of == "total" else "body_flops_per_token")
    else:
        cost = (results.get("parameters") or {}).get("total" if matching.of == "total" else "other")
    return run.variant, number((results.get("sizes") or {}).get(matching.by)), number(cost)
