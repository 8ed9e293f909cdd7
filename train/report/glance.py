"""The first table: one row a variant, the figures that decide."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from .costs import COLUMNS, ONE_AFTER_ANOTHER, cost_table, memory_sentence
from .formats import NONE, listed, plain, plus_minus, signed
from .load import Comparison
from .passport import Group
from .software import software_sentence
from .statistics import Spread, paired_differences, summarise
from .tables import DELTA, TITLES, Cell, Table, TableRow, difference_cell, figure_digits

_FROM_COSTS = ("Parameters", "Training tokens/s", "Peak memory")


def glance_table(comparison: Comparison, groups: Sequence[Group]) -> Table | None:
    """One row a variant, also for those without a finished run; None as long as no run is finished.

    The last split (test, where there is one) comes first. A split whose records need several tables has no column
    here, and a note says so. The sentence before the table says where runs were made with different software.
    """
    costs = cost_table(comparison)
    if costs is None:
        return None
    columns: list[str] = []
    cells: dict[str, list[Cell]] = {name: [] for name in comparison.variants}
    notes: list[str] = []
    splits = list(dict.fromkeys(group.split for group in groups))[::-1]
    for split in splits:
        same_split = [group for group in groups if group.split == split]
        if len(same_split) > 1:
            notes.append(f"The {split} figures do not fit into one column; see the {len(same_split)} tables below.")
            continue
        metrics = _metrics(same_split[0])
        _add_figures(comparison, same_split[0], metrics[0], columns, cells)
        if split == splits[0]:
            for metric in metrics[1:]:
                _add_figures(comparison, same_split[0], metric, columns, cells, difference=False)
    if any(str(cell).endswith("n=1") for row in cells.values() for cell in row):
        notes.append("n=1: one seed: no spread.")
    of_costs = {row.variant: row.cells for row in costs.rows}
    for column in _FROM_COSTS:
        columns.append(column)
        for name in comparison.variants:
            cells[name].append(of_costs[name][COLUMNS.index(column)] if name in of_costs else Cell(NONE))
    columns.append("Runs")
    for name in comparison.variants:
        cells[name].append(Cell(_runs(comparison, name)))
    rows = [TableRow(name, cells[name], name == comparison.baseline) for name in comparison.variants]
    notes += [ONE_AFTER_ANOTHER, memory_sentence(comparison.finished)]
    sentence = software_sentence(pd.concat([group.records for group in groups])) if groups else ""
    return Table("At a glance", columns, rows, sentence, notes)


def _add_figures(
    comparison: Comparison,
    group: Group,
    metric: str,
    columns: list[str],
    cells: dict[str, list[Cell]],
    *,
    difference: bool = True,
) -> None:
    """Append the metric's column, and that of its difference to the baseline, to every variant's row."""
    summary = summarise(group.records, metric, comparison.variants)
    digits = figure_digits(metric, summary)
    lowest = min((s.mean for s in summary.values() if not math.isnan(s.mean)), default=None)
    columns += [f"{TITLES[metric]}, {group.split}", *([DELTA] if difference else [])]
    for name in comparison.variants:
        own = summary.get(name)
        cells[name].append(
            Cell(plain(own.mean, digits), plus_minus(own, digits), own.mean == lowest) if own else Cell(NONE)
        )
        if difference:
            paired = paired_differences(group.records, metric, name, comparison.baseline)
            cells[name].append(difference_cell(name == comparison.baseline, paired, digits))


def headline(comparison: Comparison, groups: Sequence[Group]) -> str:
    """One sentence: the lowest figure of the last split, with the baseline's beside it. No claim beyond that."""
    last = [group for group in groups if groups and group.split == groups[-1].split]
    if not last:
        return "No run is finished yet."
    if len(last) > 1:
        return "The runs were not scored alike, so no single figure ranks them."
    metric = _metrics(last[0])[0]
    summary = summarise(last[0].records, metric, comparison.variants)
    finite = {name: s for name, s in summary.items() if not math.isnan(s.mean)}
    if not finite:
        return "No run has a figure to rank by."
    lowest = min(s.mean for s in finite.values())
    best = [name for name, s in finite.items() if s.mean == lowest]
    digits = figure_digits(metric, summary)
    text = (
        f"{listed(best)} {'has' if len(best) == 1 else 'have'} the lowest {last[0].split} {TITLES[metric].lower()}: "
        f"{_spelt(finite[best[0]], digits)}"
    )
    if comparison.baseline in finite and comparison.baseline not in best:
        difference = paired_differences(last[0].records, metric, best[0], comparison.baseline)
        text += f", against {_spelt(finite[comparison.baseline], digits)} of the baseline {comparison.baseline}"
        if difference.n:
            text += f" (paired difference {signed(difference.mean, digits)} {plus_minus(difference, digits)})".replace(
                " )", ")"
            )
    counts = {s.n for s in finite.values()}
    few = min(counts)
    return f"{text}. " + (
        "One seed: no spread."
        if few < 2
        else f"{few} seeds{' or more' * (len(counts) > 1)}; no test of significance was made."
    )


def _metrics(group: Group) -> list[str]:
    return ["token_perplexity", "bits_per_byte"] if group.one_tokenizer else ["bits_per_byte"]


def _spelt(spread: Spread, digits: int) -> str:
    return plain(spread.mean, digits) if spread.n == 1 else f"{plain(spread.mean, digits)} {plus_minus(spread, digits)}"


def _runs(comparison: Comparison, variant: str) -> str:
    done = sum(run.variant == variant for run in comparison.finished)
    asked = len(comparison.seeds)
    return f"{done}" if done >= asked else f"{done} of {asked}"
