"""Loss against window length: which records compare, and their tables by protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ...figures.formats import NONE, bold_note, plain, plus_minus
from ...figures.statistics.spread import lowest, paired_means, summarise
from ...figures.table import TITLES, Cell, Table, TableRow, figure_digits
from ...runs.alike import TOKENIZER, WORDS
from ...runs.load import absent

# Figures that differ in one of these never share a table. A picture marks training lengths, and so may show several.
DRAWN = ("corpus", "split", "text_sha256", "detokenize", "dtype")
_TEXT = (*DRAWN, "train_length")
_SCORED = ("words", "bytes", "longest", "within", "targets")
_LONGEST = _SCORED.index("longest")
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
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """The variant, with the change it was evaluated under, if any."""
        intervention = self.record.get("intervention")
        return f"{self.variant}, {intervention}" if intervention else self.variant


@dataclass(frozen=True)
class Group:
    """What may share a table: one protocol on one text, the same tokens scored.

    Attributes:
        told_apart: in what it differs from the others of its protocol, in words; empty where there are none.
    """

    protocol: str
    text: tuple[Any, ...]
    scored: tuple[Any, ...]
    frame: pd.DataFrame
    told_apart: str = ""

    @property
    def title(self) -> str:
        """As a heading, which no other group has where what differs can be said in a few words."""
        return SAYS[self.protocol][0] + (f", {self.told_apart}" if self.told_apart else "")


def extrapolation_tables(scored: Sequence[Scored], variants: Sequence[str], baseline: str) -> list[Table]:
    """A table for each protocol, or more where passports differ; a column for each length and stride, mean over seeds.

    Token perplexity, or bits per byte where the rows have different tokenizers.
    """
    groups = like_scored(scored)
    tables = []
    for group in groups:
        metric = "token_perplexity" if one_tokenizer(group.frame) else "bits_per_byte"
        names = names_in(group.frame, variants)
        columns = list(dict.fromkeys(zip(group.frame["length"], group.frame["stride"])))
        rows: dict[str, list[Cell]] = {name: [] for name in names}
        counts: set[int] = set()
        for length, stride in columns:
            same = group.frame[(group.frame["length"] == length) & (group.frame["stride"] == stride)]
            summary = summarise(same, metric, names)
            digits = figure_digits(metric, summary)
            best = lowest(paired_means(same, metric, names)[0])
            for name in names:
                own = summary.get(name)
                counts |= set() if own is None else {own.n}
                rows[name].append(
                    Cell(plain(own.mean, digits), plus_minus(own, digits) if own.n > 1 else "", name in best)
                    if own
                    else Cell(NONE)
                )
        tables.append(
            Table(
                f"{group.title}: {TITLES[metric].lower()} by window length",
                _headings(columns),
                [TableRow(name, rows[name], name == baseline) for name in names],
                _sentence(group, groups),
                [_spread_note(counts), bold_note("lowest")],
            )
        )
    return tables


def _spread_note(counts: set[int]) -> str:
    if counts == {1}:
        return "One seed: no spread over seeds."
    alone = " A figure without ± is of one seed." if 1 in counts else ""
    return f"Mean ± standard deviation (n − 1) over seeds.{alone}"


def like_scored(scored: Sequence[Scored], text: Sequence[str] = _TEXT) -> list[Group]:
    """Cut records into groups that agree in ``text`` and in what was scored, in the order of protocols."""
    rows = []
    for one in scored:
        record = one.record
        passport = record.get("passport") or {}
        row = {**passport, **{k: v for k, v in record.items() if k not in ("passport", "by_document")}}
        rows.append({**row, "variant": one.name, "seed": one.seed, "stride": record.get("stride") or 0})
    if not rows:
        return []
    columns = list(dict.fromkeys([*_TEXT, *_SCORED, TOKENIZER, *(key for row in rows for key in row)]))
    frame = pd.DataFrame(rows, dtype=object).reindex(columns=columns)
    for metric in ("cross_entropy", *TITLES):
        frame[metric] = frame[metric].astype("float64")
    keys = [
        tuple(tuple(None if absent(row[k]) else row[k] for k in fields) for fields in (("protocol",), text, _SCORED))
        for row in frame.to_dict("records")
    ]
    groups = []
    for key in sorted(dict.fromkeys(keys), key=lambda key: (_ORDER.index(key[0][0]), key[2][_LONGEST] or 0)):
        same = frame[[other == key for other in keys]].sort_values(["length", "stride"], kind="stable")
        # evaluated again, as after an upgrade: the newest counts
        same = same.drop_duplicates(["variant", "seed", "length", "stride"], keep="last")
        groups.append(Group(str(key[0][0]), key[1], key[2], same))
    return [replace(group, told_apart=_told_apart(group, groups)) for group in groups]


def _told_apart(group: Group, groups: Sequence[Group]) -> str:
    """Which tokens a group scores, where others of its protocol score others."""
    alike = [dict(zip(_SCORED, other.scored, strict=True)) for other in groups if other.protocol == group.protocol]
    own = dict(zip(_SCORED, group.scored, strict=True))
    said = {"longest": "{:,} tokens before them", "within": "within the {}", "targets": "{:,} of them at most"}
    differ = [key for key in said if own[key] is not None and len({other[key] for other in alike}) > 1]
    return ", ".join(said[key].format(own[key] if key == "within" else int(own[key])) for key in differ)


def one_tokenizer(frame: pd.DataFrame) -> bool:
    """Whether figures per token compare."""
    return frame[TOKENIZER].nunique() == 1


def names_in(frame: pd.DataFrame, variants: Sequence[str]) -> list[str]:
    """The variants in their order, each followed by itself under interventions."""
    present = [str(name) for name in dict.fromkeys(frame["variant"])]
    order = {name: i for i, name in enumerate(variants)}
    return sorted(present, key=lambda name: order.get(name, order.get(name.split(", ")[0], len(order))))


def _headings(columns: Sequence[tuple[int, int]]) -> list[str]:
    """Lengths; with the stride only where one length has several."""
    lengths = [length for length, _ in columns]
    return [f"{n:,}" + (f" (stride {stride:,})" if lengths.count(n) > 1 else "") for n, stride in columns]


def _strides(frame: pd.DataFrame) -> str:
    found = sorted({int(stride) for stride in frame["stride"] if stride})
    if not found:
        return ""
    return f", stride {found[0]:,}" if len(found) == 1 else f", strides {found[0]:,} to {found[-1]:,} by length"


def _sentence(group: Group, groups: Sequence[Group]) -> str:
    first = group.frame.iloc[0]
    of = "" if absent(first.get("eligible")) or first["eligible"] == first["tokens"] else f" of {first['eligible']:,}"
    tokens = f"{first['tokens']:,}{of} tokens" if one_tokenizer(group.frame) else "the text"
    what = f"{SAYS[group.protocol][1]}{_strides(group.frame)}. "
    what += f"Scored: {tokens}, {first['words']:,} words, {first['bytes']:,} bytes of {first['corpus']}"
    what += "." if absent(first["train_length"]) else f"; trained at {first['train_length']:,} tokens."
    alike = [other for other in groups if other.protocol == group.protocol]
    fields = [
        name
        for i, name in enumerate((*_TEXT, *_SCORED))
        if len({(*other.text, *other.scored)[i] for other in alike}) > 1
    ]
    if fields:
        what += " Not in one table with the others of this protocol because these differ: "
        what += ", ".join(f"{WORDS.get(name, name)} ({_short(group, name)} here)" for name in fields) + "."
    return what


def _short(group: Group, name: str) -> str:
    value = (*group.text, *group.scored)[(*_TEXT, *_SCORED).index(name)]
    return NONE if value is None else str(value)[:12]
