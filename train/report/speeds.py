"""Training speeds that compare: those that ``lmzoo speed`` timed in turn, or what the runs logged one by one."""

from __future__ import annotations

from .formats import plain
from .load import Comparison, Row
from .table import Cell


def timed(comparison: Comparison) -> dict[str, Row]:
    """By variant, what was timed in turn against the comparison's own baseline; empty where nothing was."""
    return {row["variant"]: row for row in comparison.speed if row["baseline"] == comparison.baseline}


def ratio_cell(row: Row) -> Cell:
    """The ratio to the baseline, with the quartiles of its rounds."""
    low, high = row["to_baseline_low"], row["to_baseline_high"]
    return Cell(f"{row['to_baseline']:.2f}×", f"{plain(low, 2)} to {plain(high, 2)}")


def timed_sentence(comparison: Comparison) -> str:
    """How the speeds were timed; empty where they were not."""
    rows = list(timed(comparison).values())
    if not rows:
        return ""
    machine = rows[0]["environment"]
    return (
        f"Speeds are of training steps timed in turn in one process (lmzoo speed): medians of {rows[0]['rounds']} "
        f"rounds on {machine['device']} with {machine['torch_threads']} threads; ratios are taken round by round, with "
        "their quartiles."
    )
