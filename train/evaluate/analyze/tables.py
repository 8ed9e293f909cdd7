"""Tables of the runs' analyses: loss by training frequency, and how varied their continuations are."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ...figures.canvas import Plot
from ...figures.formats import listed
from ...figures.statistics.spread import by_seed, summarise
from ...figures.table import TITLES, Cell, Column, Table, figure_cells, figure_digits, table_of
from ...runs.alike import Alike, frame_of, likeness
from ...runs.load import Comparison, Run, number
from .plots import code_plot, decile_plots

_VARIETY = {
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "distinct_3": "distinct-3",
    "seq_rep_4": "seq-rep-4",
    "rare_share": "rare share",
    "word_distinct_1": "words: distinct-1",
    "word_distinct_2": "distinct-2",
    "word_distinct_3": "distinct-3",
    "word_seq_rep_4": "seq-rep-4",
}
_HUMAN = "human text"


def analysed(runs: Sequence[Run], kind: str) -> list[Alike]:
    """The records of a kind in sets that may be compared."""
    rows = [
        {**record, "variant": run.variant, "seed": run.seed}
        for run in runs
        for record in run.analysis
        if record.get("kind") == kind
    ]
    return Alike.sets(frame_of(rows), kind)


def analysis_tables(comparison: Comparison) -> list[Table]:
    """Loss by decile, then the variety of greedy and of sampled continuations; none where nothing was analysed."""
    tables = []
    for one in analysed(comparison.finished, "deciles"):
        tables += [_loss_table(comparison, one), _decile_table(comparison, one)]
    for one in analysed(comparison.finished, "continuations"):
        tables += [_variety_table(comparison, one, source) for source in ("greedy", "sampled")]
    return tables


def analysis_plots(comparison: Comparison) -> list[Plot]:
    """Loss by decile, its difference to the baseline, and the sizes of codes."""
    plots: list[Plot] = []
    for one in analysed(comparison.finished, "deciles"):
        lines = {name: one.rows(variant=name, logits="plain") for name in one.variants(comparison)}
        plots += decile_plots(lines, comparison.baseline, suffix=one.suffix, of=one.label)
    for one in analysed(comparison.finished, "codes"):
        lines = {name: one.rows(variant=name) for name in one.variants(comparison)}
        plots.append(code_plot(lines, suffix=one.suffix, of=one.label))
    return plots


def _loss_table(comparison: Comparison, one: Alike) -> Table:
    """The whole text's figures, plain and, for runs whose loss shifts the logits, debiased."""
    names = one.variants(comparison)
    counts = one.at(logits="plain")["variant"].value_counts()
    columns: list[Column] = [("Runs", {name: Cell(f"{counts.get(name, 0)}") for name in names})]
    notes = ["Cross-entropy in nats a token, unweighted, whatever was optimised. Mean ± standard deviation over seeds."]
    for logits in ("plain", "debiased"):
        rows = one.at(logits=logits)
        if rows.empty:
            continue
        for field, title in (("cross_entropy", "Cross-entropy"), ("word_perplexity", TITLES["word_perplexity"])):
            rows = rows.astype({field: "float64"})
            digits = 4 if field == "cross_entropy" else figure_digits(field, summarise(rows, field, names))
            figures = by_seed(rows, field, names)
            columns.append((title if logits == "plain" else f"{title}, {logits}", figure_cells(figures, digits)))
    if not one.at(logits="debiased").empty:
        notes.append(
            "Debiased: with the log of the loss's weights taken off the logits, which undoes the shift that a weighted "
            "loss gives its optimum; a dash where the loss has none."
        )
    return table_of(f"Plain loss{one.label}", names, comparison.baseline, columns, _sentence(one), notes)


def _decile_table(comparison: Comparison, one: Alike) -> Table:
    """A row for each variant, and one more for what its debiased logits give; then what stands behind the figures."""
    tokens, types = "tokens scored", "token ids"
    shifted = one.records["logits"] == "debiased"
    rows = one.records.assign(variant=one.records["variant"].where(~shifted, one.records["variant"] + ", debiased"))
    variants = [*comparison.variants, *(f"{name}, debiased" for name in comparison.variants)]
    names = [name for name in variants if (rows["variant"] == name).any()]
    columns: list[Column] = []
    empty = []
    for place, bucket in enumerate(one.first["buckets"]):
        title = f"decile {bucket['bucket']}" if bucket["bucket"].isdecimal() else bucket["bucket"]
        if not bucket["tokens"]:
            empty.append(title)
            continue
        rows["loss"] = [number(buckets[place]["cross_entropy"]) for buckets in rows["buckets"]]
        cells = figure_cells(by_seed(rows, "loss", names), 3, alone=_nothing)
        counts = {tokens: Cell(f"{bucket['tokens']:,}"), types: Cell(f"{bucket['types']:,}")}
        columns.append((title, cells | counts))
    notes = [
        f"Cross-entropy in nats a token, mean ± standard deviation where there are several seeds. {one.first['rule']}"
    ]
    if empty:
        notes.append(f"No scored token is in: {listed(empty)}.")
    title = f"Loss by training frequency{one.label}"
    return table_of(title, [*names, tokens, types], comparison.baseline, columns, _sentence(one), notes)


def _variety_table(comparison: Comparison, one: Alike, source: str) -> Table:
    first, names = one.first, one.variants(comparison)
    rows = one.records.astype(dict.fromkeys(_VARIETY, "float64"))
    rows = pd.concat([rows[rows["source"] == "human"].head(1).assign(variant=_HUMAN), rows[rows["source"] == source]])
    columns: list[Column] = [
        (title, figure_cells(by_seed(rows, key, [_HUMAN, *names]), 3, alone=_nothing))
        for key, title in _VARIETY.items()
    ]
    how = "the likeliest token each time" if source == "greedy" else "sampled at temperature 1 from all tokens"
    sentence = (
        f"{first['prompts']} prompts of {first['prompt_tokens']} tokens, continued by {first['new_tokens']} tokens, "
        f"{how}, beside what the text itself goes on with. {_sentence(one)}"
    )
    notes = [
        "distinct-n: different n-grams / n-grams of all continuations; seq-rep-4: mean over continuations of 1 − "
        f"different 4-grams / 4-grams; rare share: tokens that are not among the {first['frequent_types']} most "
        "frequent ids of the training text. The first five columns count tokens, the last four words between white "
        "space. What is near the human row is natural; neither end of a column is best. Mean ± standard deviation "
        "over seeds.",
        str(first["rule"]),
    ]
    if source == "sampled":
        notes = ["Columns and prompts as above."]
    title = f"{source.capitalize()} continuations{one.label}"
    return table_of(title, [_HUMAN, *names], comparison.baseline, columns, sentence, notes)


def _nothing(name: str) -> str:
    """Beside the figure of a single seed; the notes say what a spread is of."""
    return ""


def _sentence(one: Alike) -> str:
    passport, split = one.first["passport"], likeness(one.first, ["split"])["split"]
    text = (
        f"The {split} split of {passport['corpus']}, scored with float32 weights "
        f"({passport['dtype']}) on {passport['device']}."
    )
    if one.of == 1:
        return text
    here = ", ".join(f"{name} {value}" for name, value in likeness(one.first, one.why).items())
    return f"{text} The analyses stand in {one.of} tables because they differ; here: {here}."
