"""Loss against window length: which records compare, and their tables by protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ...figures.formats import NONE, bold_note
from ...figures.table import TITLES, Table, metric_cells, table_of
from ...runs.alike import FIELDS, TEXT, TOKENIZER, WORDS, Alike, Row, flatten_record, frame_of, likeness
from ...runs.load import absent

_ORDER = ("non_overlapping", "sliding", "fixed_target", "lm-eval", "fairseq")

# title of a panel and a table, and what a reader has to know
SAYS = {
    "non_overlapping": (
        "Windows side by side",
        "Longer windows lower this loss by themselves: less lacks context",
    ),
    "sliding": ("Sliding windows", "Only the end of each window is scored, with nearly the full context"),
    "fixed_target": ("The same tokens at every length", "The loss falls with the length only where context helps"),
    "lm-eval": ("As lm-eval", "Page by page, detokenised; words and bytes are those of the original"),
    "fairseq": ("As fairseq", "Lines with their ends, which are scored like any token"),
}


@dataclass(frozen=True)
class Scored:
    """A record of an extrapolation and whose it is."""

    variant: str
    seed: int
    record: Row

    @property
    def name(self) -> str:
        """The variant, with the change it was evaluated under, if any."""
        intervention = self.record.get("intervention")
        return f"{self.variant}, {intervention}" if intervention else self.variant


@dataclass(frozen=True)
class Group(Alike):
    """Records of one protocol that scored the same tokens of one text."""

    @property
    def protocol(self) -> str:
        """How windows were laid."""
        return str(self.first["protocol"])

    @property
    def text(self) -> tuple[Any, ...]:
        """What tells the text from others, and its scoring."""
        return tuple(likeness(self.first, TEXT).values())

    @property
    def title(self) -> str:
        """As a heading, which no other group has where what differs can be said in a few words."""
        said = {
            "longest": "{:,.0f} tokens before them",
            "within": "within the {}",
            "targets": "{:,.0f} of them at most",
        }
        values = {key: value for key, value in likeness(self.first, said).items() if key in self.why}
        own = [said[key].format(value) for key, value in values.items() if value is not None]
        return ", ".join([SAYS[self.protocol][0], *own])


def extrapolation_tables(scored: Sequence[Scored], variants: Sequence[str], baseline: str) -> list[Table]:
    """A table for each protocol, or more where passports differ; a column for each length and stride, mean over seeds.

    Token perplexity, or bits per byte where the rows have different tokenizers.
    """
    tables = []
    for group in like_scored(scored):
        metric = "token_perplexity" if one_tokenizer(group.records) else "bits_per_byte"
        names = names_in(group.records, variants)
        windows = group.records.groupby(["length", "stride"], sort=False, dropna=False)
        cells = [metric_cells(same, metric, names, alone=lambda _: "") for _, same in windows]
        columns = list(zip(_headings(group.records), cells, strict=True))
        counts = set(group.records.groupby(["variant", "length", "stride"], dropna=False).size())
        notes = [_spread_note(counts), bold_note("lowest")]
        title = f"{group.title}: {TITLES[metric].lower()} by window length"
        tables.append(table_of(title, names, baseline, columns, _sentence(group), notes))
    return tables


def _spread_note(counts: set[int]) -> str:
    if counts == {1}:
        return "One seed: no spread over seeds."
    alone = " A figure without ± is of one seed." if 1 in counts else ""
    return f"Mean ± standard deviation (n − 1) over seeds.{alone}"


def like_scored(scored: Sequence[Scored], kind: str = "extrapolation") -> list[Group]:
    """Cut records into groups of one protocol that agree in the fields of ``kind``, in the order of protocols."""
    rows = []
    for one in scored:
        record = {key: value for key, value in one.record.items() if key != "by_document"}
        rows.append(flatten_record(record, one.name, one.seed) | {"stride": record.get("stride") or 0})
    if not rows:
        return []
    rows.sort(key=lambda row: (_ORDER.index(row["protocol"]), row.get("longest") or 0))
    frame = frame_of(rows, (*FIELDS["extrapolation"], TOKENIZER), ("cross_entropy", *TITLES))
    return [
        replace(group, records=_newest(group.records))
        for protocol in dict.fromkeys(frame["protocol"])
        for group in Group.sets(frame[frame["protocol"] == protocol], kind)
    ]


def _newest(records: pd.DataFrame) -> pd.DataFrame:
    """By length and stride; of what was evaluated again, as after an upgrade, the newest alone."""
    ordered = records.sort_values(["length", "stride"], kind="stable")
    return ordered.drop_duplicates(["variant", "seed", "length", "stride"], keep="last")


def one_tokenizer(frame: pd.DataFrame) -> bool:
    """Whether figures per token compare."""
    return frame[TOKENIZER].nunique() == 1


def names_in(frame: pd.DataFrame, variants: Sequence[str]) -> list[str]:
    """The variants in their order, each followed by itself under interventions."""
    present = [str(name) for name in dict.fromkeys(frame["variant"])]
    order = {name: i for i, name in enumerate(variants)}
    return sorted(present, key=lambda name: order.get(name, order.get(name.split(", ")[0], len(order))))


def _headings(frame: pd.DataFrame) -> list[str]:
    """Lengths; with the stride only where one length has several."""
    columns = dict.fromkeys(zip(frame["length"], frame["stride"]))
    lengths = [length for length, _ in columns]
    return [f"{n:,}" + (f" (stride {stride:,})" if lengths.count(n) > 1 else "") for n, stride in columns]


def _strides(frame: pd.DataFrame) -> str:
    found = sorted({int(stride) for stride in frame["stride"] if stride})
    if not found:
        return ""
    return f", stride {found[0]:,}" if len(found) == 1 else f", strides {found[0]:,} to {found[-1]:,} by length"


def _sentence(group: Group) -> str:
    first = group.first
    of = "" if absent(first.get("eligible")) or first["eligible"] == first["tokens"] else f" of {first['eligible']:,}"
    tokens = f"{first['tokens']:,}{of} tokens" if one_tokenizer(group.records) else "the text"
    what = f"{SAYS[group.protocol][1]}{_strides(group.records)}. "
    what += f"Scored: {tokens}, {first['words']:,} words, {first['bytes']:,} bytes of {first['corpus']}"
    what += "." if absent(first["train_length"]) else f"; trained at {first['train_length']:,} tokens."
    if group.why:
        here = {key: NONE if value is None else str(value)[:12] for key, value in likeness(first, group.why).items()}
        what += " Not in one table with the others of this protocol because these differ: "
        what += ", ".join(f"{WORDS.get(key, key)} ({value} here)" for key, value in here.items()) + "."
    return what
