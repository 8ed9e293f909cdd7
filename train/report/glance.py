"""The first table: one row a variant, the figures that decide."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..figures.formats import listed, p_value, plain, plus_minus
from ..figures.statistics.spread import Spread, by_seed, leaders, means_in_common, summarise
from ..figures.table import (
    DELTA,
    TITLES,
    Cell,
    Column,
    Table,
    delta_cells,
    figure_digits,
    metric_cells,
    ratio_cell,
    table_of,
    test_columns,
    test_note,
)
from ..runs.alike import Group
from ..runs.load import Comparison, fates_of, lost_note
from .costs import cost_table, memory_sentence, speed_sentence
from .quality import against_baseline, one_seed_note, software_sentence

GLANCE = "At a glance"

_FROM_COSTS = ("Parameters", "Training tokens/s", "Peak memory")


def glance_table(comparison: Comparison, groups: Sequence[Group]) -> Table | None:
    """One row a variant, also for those without a finished run; None as long as no run is finished.

    The last split (test, where there is one) comes first. A split whose records need several tables has no column
    here, and a note says so. The sentence before the table says where runs were made with different software.
    """
    costs = cost_table(comparison)
    if costs is None:
        return None
    # first, where a narrow screen shows it: what the figures are means of
    columns: list[Column] = [("Runs", {name: _runs(comparison, name) for name in comparison.variants})]
    notes: list[str] = []
    splits = list(dict.fromkeys(group.split for group in groups))[::-1]
    for split in splits:
        group, *others = (group for group in groups if group.split == split)
        if others:
            notes.append(f"The {split} figures do not fit into one column; see the {group.of} tables below.")
            continue
        metric, *further = _metrics(group)
        delta = delta_cells(group.records, metric, comparison.variants, comparison.baseline)
        columns += [_figures(comparison, group, metric), (DELTA, delta)]
        if split == splits[0]:
            tested = against_baseline(comparison, group.records, _tested(group))
            # the seeds that an effect would need stand in the tables of quality: here every column counts
            columns += test_columns(tested, None) if tested else []
            notes += [test_note(_tested(group), comparison.baseline, None)] if tested else []
            columns += [_figures(comparison, group, metric) for metric in further]
    notes += one_seed_note(cells for _, cells in columns)
    columns += [(heading, costs.column(heading)) for heading in _FROM_COSTS]
    notes += [*lost_note(fates_of(comparison)), speed_sentence(comparison), memory_sentence(comparison.finished)]
    sentence = software_sentence(pd.concat([group.records for group in groups])) if groups else ""
    return table_of(GLANCE, comparison.variants, comparison.baseline, columns, sentence, notes)


def _figures(comparison: Comparison, group: Group, metric: str) -> Column:
    return f"{TITLES[metric]}, {group.split}", metric_cells(group.records, metric, comparison.variants)


def headline(comparison: Comparison, groups: Sequence[Group]) -> str:
    """One sentence: the lowest figure of the last split, with the baseline's beside it. No claim beyond that.

    Variants are ranked over the seeds that all of them have: another seed alone can make a mean lower.
    """
    last = [group for group in groups if groups and group.split == groups[-1].split]
    if not last:
        return "No run is finished yet."
    if len(last) > 1:
        return "The runs were not scored alike, so no single figure ranks them."
    metric = _metrics(last[0])[0]
    records = last[0].records
    means, seeds = means_in_common(by_seed(records, metric, comparison.variants))
    if not means:
        what = "seed has a figure of every variant" if records[metric].notna().any() else "run has a figure"
        return f"No {what} to rank by."
    common = summarise(records[records["seed"].isin(seeds)], metric, list(means))
    best = leaders(means)
    digits = figure_digits(metric, common)
    text = (
        f"{listed(best)} {'has' if len(best) == 1 else 'have'} the lowest {last[0].split} {TITLES[metric].lower()}: "
        f"{_spelt(common[best[0]], digits)}"
    )
    if comparison.baseline in means and comparison.baseline not in best:
        text += f", against {_spelt(common[comparison.baseline], digits)} of the baseline {comparison.baseline}"
        tested = against_baseline(comparison, records, _tested(last[0]))[best[0]]
        if tested.differences.n:
            text += f" ({_tested(last[0]).replace('_', ' ')} {ratio_cell(tested.differences)}".removesuffix(" n=1")
            text += f"; Holm-adjusted p {p_value(tested.adjusted_p)}" if tested.differences.n > 1 else ""
            text += f": {tested.verdict})"
    counts = [int((records["variant"] == name).sum()) for name in means]
    if max(counts) > len(seeds):
        which = f"seed{'s' * (len(seeds) > 1)} {listed([str(seed) for seed in seeds])}"
        return f"{text}. Ranked over what all variants have, {which}; fewest seeds of a variant: {min(counts)}."
    return f"{text}. " + ("One seed: no verdict." if len(seeds) < 2 else f"{len(seeds)} seeds.")


def _tested(group: Group) -> str:
    """The perplexity whose differences are tested; of unlike tokenizers only that of words compares."""
    return "token_perplexity" if group.one_tokenizer else "word_perplexity"


def _metrics(group: Group) -> list[str]:
    return ["token_perplexity", "bits_per_byte"] if group.one_tokenizer else ["bits_per_byte"]


def _spelt(spread: Spread, digits: int) -> str:
    return plain(spread.mean, digits) if spread.n == 1 else f"{plain(spread.mean, digits)} {plus_minus(spread, digits)}"


def _runs(comparison: Comparison, variant: str) -> Cell:
    fates = list(fates_of(comparison)[variant].values())
    done, asked = fates.count("finished"), len(comparison.seeds)
    gone = [f"{n} {fate}" for fate in ("diverged", "failed") if (n := fates.count(fate))]
    return Cell(f"{done}" if done >= asked else f"{done} of {asked}", f"({', '.join(gone)})" if gone else "")
