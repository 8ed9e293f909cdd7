"""Tables of the runs' analyses: loss by training frequency, and how varied their continuations are."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ...figures.canvas import Plot
from ...figures.formats import listed, perplexity_digits, plain, plus_minus
from ...figures.statistics.spread import Spread, spread
from ...figures.table import Cell, Table, TableRow
from ...runs.load import Comparison, Row, Run, number
from .plots import code_plot, decile_plots

# Analyses that differ in any of these answer different questions and never share a table or a picture.
_LIKE_PASSPORT = (
    "corpus",
    "text_sha256",
    "train_text_sha256",
    "tokenizer_sha256",
    "detokenize",
    "train_length",
    "dtype",
)
_LIKE = {
    "deciles": ("split", "protocol", "length"),
    "continuations": (
        "split",
        "prompts",
        "prompt_tokens",
        "new_tokens",
        "generation_seed",
        "batch_size",
        "frequent_types",
    ),
    "codes": (),
}
VARIETY = {
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


@dataclass(frozen=True)
class Analysed:
    """Records of one kind that may be compared, each with the run it is of.

    Attributes:
        place, of: which of how many such sets this is.
        why: the fields in which the sets differ.
    """

    kind: str
    rows: list[tuple[Run, Row]]
    place: int
    of: int
    why: tuple[str, ...]

    @property
    def suffix(self) -> str:
        """What tells the title from the others'."""
        return "" if self.of == 1 else f" ({self.place} of {self.of})"

    @property
    def first(self) -> Row:
        """One of the records, for what all share."""
        return self.rows[0][1]

    def of_variant(self, variant: str, **fields: str) -> list[Row]:
        """The records of a variant's runs that have these values, by seed."""
        return [
            record
            for run, record in self.rows
            if run.variant == variant and all(record.get(key) == value for key, value in fields.items())
        ]

    def variants(self, order: Iterable[str]) -> list[str]:
        """Those of ``order`` that have a record."""
        there = {run.variant for run, _ in self.rows}
        return [name for name in order if name in there]


def analysed(runs: Sequence[Run], kind: str) -> list[Analysed]:
    """The records of a kind in sets that may be compared."""
    found = [(run, record) for run in runs for record in run.analysis if record.get("kind") == kind]
    fields = (*_LIKE[kind], *_LIKE_PASSPORT)
    keys = [json.dumps([_value(record, name) for name in fields]) for _, record in found]
    distinct = list(dict.fromkeys(keys))
    values = [json.loads(key) for key in distinct]
    why = tuple(name for i, name in enumerate(fields) if len({json.dumps(v[i]) for v in values}) > 1)
    return [
        Analysed(kind, [row for row, key in zip(found, keys, strict=True) if key == one], i + 1, len(distinct), why)
        for i, one in enumerate(distinct)
    ]


def analysis_tables(comparison: Comparison) -> list[Table]:
    """Loss by decile, then the variety of greedy and of sampled continuations; none where nothing was analysed."""
    tables = []
    for one in analysed(comparison.finished, "deciles"):
        tables.append(_loss_table(comparison, one))
        tables.append(_decile_table(comparison, one))
    for one in analysed(comparison.finished, "continuations"):
        tables += [_variety_table(comparison, one, source) for source in ("greedy", "sampled")]
    return tables


def analysis_plots(comparison: Comparison) -> list[Plot]:
    """Loss by decile, its difference to the baseline, and the sizes of codes."""
    plots: list[Plot] = []
    for one in analysed(comparison.finished, "deciles"):
        lines = {name: one.of_variant(name, logits="plain") for name in one.variants(comparison.variants)}
        number_of = "" if one.of == 1 else f"-{one.place}"
        plots += decile_plots(lines, comparison.baseline, suffix=number_of, of=one.suffix)
    for one in analysed(comparison.finished, "codes"):
        number_of = "" if one.of == 1 else f"-{one.place}"
        lines = {name: one.of_variant(name) for name in one.variants(comparison.variants)}
        plots.append(code_plot(lines, suffix=number_of, of=one.suffix))
    return plots


def _value(record: Row, name: str) -> Any:
    return record.get(name, (record.get("passport") or {}).get(name))


def _loss_table(comparison: Comparison, one: Analysed) -> Table:
    """The whole text's figures, plain and, for runs whose loss shifts the logits, debiased."""
    names = one.variants(comparison.variants)
    kinds = [k for k in ("plain", "debiased") if any(one.of_variant(name, logits=k) for name in names)]
    columns, cells = ["Runs"], {name: [Cell(f"{len(one.of_variant(name, logits='plain'))}")] for name in names}
    for kind in kinds:
        for field, title in (("cross_entropy", "Cross-entropy"), ("word_perplexity", "Word perplexity")):
            columns.append(title if kind == "plain" else f"{title}, debiased")
            summary = {name: _spread(one.of_variant(name, logits=kind), field) for name in names}
            digits = 4 if field == "cross_entropy" else _digits(summary.values())
            for name in names:
                cells[name].append(Cell(plain(summary[name].mean, digits), plus_minus(summary[name], digits)))
    notes = ["Cross-entropy in nats a token, unweighted, whatever was optimised. Mean ± standard deviation over seeds."]
    if "debiased" in kinds:
        notes.append(
            "Debiased: with the log of the loss's weights taken off the logits, which undoes the shift that a weighted "
            "loss gives its optimum; a dash where the loss has none."
        )
    rows = [TableRow(name, cells[name], name == comparison.baseline) for name in names]
    return Table(f"Plain loss{one.suffix}", columns, rows, _sentence(one), notes)


def _decile_table(comparison: Comparison, one: Analysed) -> Table:
    names = one.variants(comparison.variants)
    buckets = one.first["buckets"]
    shown = [i for i, bucket in enumerate(buckets) if bucket["tokens"]]
    columns = [_bucket_title(buckets[i]["bucket"]) for i in shown]
    kept: list[TableRow] = []
    for kind in ("plain", "debiased"):
        for name in names:
            records = one.of_variant(name, logits=kind)
            if not records:
                continue
            spreads = [bucket_spread(records, i) for i in shown]
            cells = [Cell(plain(s.mean, 3), plus_minus(s, 3) if s.n > 1 else "") for s in spreads]
            label = name if kind == "plain" else f"{name}, debiased"
            kept.append(TableRow(label, cells, kind == "plain" and name == comparison.baseline))
    kept.append(TableRow("tokens scored", [Cell(f"{buckets[i]['tokens']:,}") for i in shown]))
    kept.append(TableRow("token ids", [Cell(f"{buckets[i]['types']:,}") for i in shown]))
    empty = [_bucket_title(b["bucket"]) for i, b in enumerate(buckets) if i not in shown]
    notes = [
        f"Cross-entropy in nats a token, mean ± standard deviation where there are several seeds. {one.first['rule']}"
    ]
    if empty:
        notes.append(f"No scored token is in: {listed(empty)}.")
    return Table(f"Loss by training frequency{one.suffix}", columns, kept, _sentence(one), notes)


def bucket_spread(records: Sequence[Row], place: int) -> Spread:
    """The cross-entropy of one bucket over seeds."""
    return spread([number(record["buckets"][place]["cross_entropy"]) for record in records])


def _variety_table(comparison: Comparison, one: Analysed, source: str) -> Table:
    names = one.variants(comparison.variants)
    rows = [TableRow(_HUMAN, _variety_cells([next(r for _, r in one.rows if r["source"] == "human")]))]
    rows += [
        TableRow(name, _variety_cells(one.of_variant(name, source=source)), name == comparison.baseline)
        for name in names
    ]
    first = one.first
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
    return Table(f"{source.capitalize()} continuations{one.suffix}", list(VARIETY.values()), rows, sentence, notes)


def _variety_cells(records: Sequence[Row]) -> list[Cell]:
    cells = []
    for key in VARIETY:
        own = _spread(records, key)
        cells.append(Cell(plain(own.mean, 3), plus_minus(own, 3) if len(records) > 1 else ""))
    return cells


def _spread(records: Sequence[Row], field: str) -> Spread:
    return spread([number(record[field]) for record in records])


def _digits(spreads: Iterable[Spread]) -> int:
    return max((perplexity_digits(s.mean) for s in spreads if not math.isnan(s.mean)), default=2)


def _bucket_title(bucket: str) -> str:
    return f"decile {bucket}" if bucket.isdecimal() else bucket


def _sentence(one: Analysed) -> str:
    passport = one.first["passport"]
    text = (
        f"The {_value(one.first, 'split')} split of {passport['corpus']}, scored with float32 weights "
        f"({passport['dtype']}) on {passport['device']}."
    )
    if one.of == 1:
        return text
    here = ", ".join(f"{name} {_value(one.first, name)}" for name in one.why)
    return f"{text} The analyses stand in {one.of} tables because they differ; here: {here}."
