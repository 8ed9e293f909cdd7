"""Tables of what the runs do with their context, where they were probed: copying, passkeys, loss from the start on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from ...figures.formats import NONE, bold_note, listed, plain, plus_minus
from ...figures.statistics.spread import highest, lowest, means_in_common, share_interval, spread
from ...figures.table import Cell, Table, TableRow
from ...runs.alike import WORDS
from ...runs.load import Comparison, Row, absent

# What has to be equal for records to share a table or a picture.
_LIKE = ("tokenizer_sha256", "train_length", "dtype", "intervention", "samples", "drawn_with")
_ALIKE = {
    "copy": (*_LIKE, "segment_tokens", "cue_tokens"),
    "passkey": (*_LIKE, "digits", "key_tokens", "distractors"),
    "start": (*_LIKE, "corpus", "split", "text_sha256", "detokenize"),
}
_SHARE = "In %; of a single seed in brackets Wilson's 95 % interval over the {}: another seed may differ more."
_DEVIATION = "± is the standard deviation (n − 1) over seeds."

Interval = Callable[[pd.DataFrame], tuple[float, float] | None]


@dataclass(frozen=True)
class Probed:
    """Records of one probe that may be compared.

    Attributes:
        label: what tells the title from those of other such sets.
        why: in which fields the sets differ, as a sentence.
        frame: a row a record, its passport's fields beside it, ``gain`` for the copy probe.
    """

    label: str
    why: str
    frame: pd.DataFrame

    @property
    def train_length(self) -> int | None:
        """Tokens of a training context."""
        length = self.frame["train_length"].iloc[0]
        return None if absent(length) else int(length)

    def variants(self, comparison: Comparison) -> list[str]:
        """The variants with records, in the file's order."""
        return [name for name in comparison.variants if (self.frame["variant"] == name).any()]

    def at(self, **fields: object) -> pd.DataFrame:
        """The rows that have these values."""
        chosen = self.frame
        for key, value in fields.items():
            chosen = chosen[chosen[key] == value]
        return chosen

    def lengths(self) -> list[int]:
        """In rising order."""
        return sorted({int(n) for n in self.frame["length"]})


def probed(comparison: Comparison, probe: str) -> list[Probed]:
    """The records of a probe in sets that may be compared; none where no run was probed so."""
    rows: list[Row] = []
    for run in comparison.finished:
        for record in run.probes:
            if record["probe"] != probe or (probe == "start" and not record["tokens"]):
                continue  # no document was long enough
            row = {**record["passport"], **record, "drawn_with": record["seed"]}
            row |= {"variant": run.variant, "seed": run.seed}
            row |= {"gain": record["first_loss"] - record["loss"]} if probe == "copy" else {}
            rows.append({key: value for key, value in row.items() if key not in ("passport", "versions")})
    if not rows:
        return []
    fields = _ALIKE[probe]
    columns = dict.fromkeys([*fields, *(key for row in rows for key in row)])
    frame = pd.DataFrame(rows, dtype=object).reindex(columns=list(columns)).infer_objects()
    keys = [tuple(None if absent(row[field]) else row[field] for field in fields) for row in frame.to_dict("records")]
    distinct = list(dict.fromkeys(keys))
    differing = [name for i, name in enumerate(fields) if len({key[i] for key in distinct}) > 1]
    why = "" if not differing else f" Apart because these differ: {listed([WORDS.get(n, n) for n in differing])}."
    return [
        Probed(
            "" if len(distinct) == 1 else f" ({place} of {len(distinct)})", why, frame[[other == key for other in keys]]
        )
        for place, key in enumerate(distinct, start=1)
    ]


def probe_tables(comparison: Comparison) -> list[Table]:
    """Copying from the far end and what a repeat is worth, passkeys found, loss by index; those that were probed."""
    tables: list[Table] = []
    for one in probed(comparison, "copy"):
        tables += _copy_tables(comparison, one)
    for one in probed(comparison, "passkey"):
        tables += _passkey_tables(comparison, one)
    for one in probed(comparison, "start"):
        tables.append(_start_table(comparison, one))
    return tables


def longest_from_start(one: Probed) -> pd.DataFrame:
    """The rows of the longest length that every variant has, or of the longest one."""
    names = set(one.frame["variant"])
    shared = [n for n in one.lengths() if set(one.at(length=n)["variant"]) == names]
    return one.at(length=(shared or one.lengths())[-1])


def _copy_tables(comparison: Comparison, one: Probed) -> list[Table]:
    first = one.frame.iloc[0]
    farthest = {n: max(one.at(length=n)["distance"]) for n in one.lengths()}
    columns = {f"{n:,} ({far:,} back)": one.at(length=n, distance=far) for n, far in farthest.items()}
    what = (
        f"Random tokens of which the last {first['segment_tokens']} are a repeat; after a cue of {first['cue_tokens']} "
        f"the others are to be continued, {first['samples']} sequences a length. Here the repeat stands as far back as "
        f"the sequence allows; the pictures have every distance.{one.why}"
    )
    chance = f"By chance {plain(100 * first['chance_accuracy'], 3)}."
    gain = "Nats a token by which the repeat is easier than the same tokens the first time; 0 without copying."
    return [
        _table(
            comparison,
            one,
            f"Copying from the far end: share copied{one.label}",
            columns,
            ("accuracy", 100.0, 1),
            highest,
            what,
            [chance, _SHARE.format("sequences")],
            lambda own: (own["accuracy_low"].iloc[0], own["accuracy_high"].iloc[0]),
        ),
        _table(
            comparison,
            one,
            f"Copying from the far end: what the repeat is worth{one.label}",
            columns,
            ("gain", 1.0, 3),
            highest,
            gain + one.why,
            [],
            lambda own: None,
        ),
    ]


def _passkey_tables(comparison: Comparison, one: Probed) -> list[Table]:
    first = one.frame.iloc[0]
    columns = {f"{n:,}": one.at(length=n) for n in one.lengths()}
    texts = f"{first['samples']} texts at each of {one.frame['depth'].nunique()} depths"
    titles = {
        "ranked_first": (
            "the told number is the likeliest",
            f"A number told once in a text is likelier, whole, than {first['distractors']} numbers that were not told",
        ),
        "accuracy": (
            "the told number is the answer",
            f"The greedy answer is the number told, all {first['digits']} digits of it",
        ),
    }
    return [
        _table(
            comparison,
            one,
            f"Passkeys: {title}{one.label}",
            columns,
            (key, 100.0, 1),
            highest,
            f"{sentence}; {texts}, all depths together.{one.why}",
            [f"By chance {plain(100 * first[f'chance_{key}'], 3)}.", _SHARE.format("texts")],
            lambda own, key=key: share_interval(own[key].mean(), int(own["samples"].sum())),  # type: ignore[misc]
        )
        for key, (title, sentence) in titles.items()
    ]


def _start_table(comparison: Comparison, one: Probed) -> Table:
    rows = longest_from_start(one)
    first = rows.iloc[0]
    columns = {}
    for last in sorted(set(rows["last_index"])):
        own = rows[rows["last_index"] == last]
        begin = own["first_index"].iloc[0]
        columns[f"{begin:,}" if begin == last else f"{begin:,} to {last:,}"] = own
    return _table(
        comparison,
        one,
        f"Loss by distance to the document's start{one.label}",
        columns,
        ("loss", 1.0, 3),
        lowest,
        f"Nats a token by the tokens' index in the document, over the first {first['length']:,} tokens of "
        f"{first['documents']} documents of {first['corpus']} that have so many, each read from its start.{one.why}",
        ["In brackets the 95 % interval over the documents where there is one seed."],
        lambda own: None if absent(own["loss_low"].iloc[0]) else (own["loss_low"].iloc[0], own["loss_high"].iloc[0]),
    )


def _table(
    comparison: Comparison,
    one: Probed,
    title: str,
    columns: dict[str, pd.DataFrame],
    figure: tuple[str, float, int],
    best: Callable[[Mapping[str, float]], list[str]],
    sentence: str,
    notes: list[str],
    interval: Interval,
) -> Table:
    """A figure (field, factor, digits) by variant and column: its mean over seeds, and its spread or its interval."""
    field, factor, digits = figure
    names = one.variants(comparison)
    cells: dict[str, list[Cell]] = {name: [] for name in names}
    for column in columns.values():
        own = {name: column[column["variant"] == name] for name in names}
        by_seed = {name: rows.groupby("seed")[field].mean() for name, rows in own.items() if not rows.empty}
        means = {name: spread([factor * float(value) for value in values]) for name, values in by_seed.items()}
        top = best(means_in_common(by_seed)[0])
        for name in names:
            if name not in means:
                cells[name].append(Cell(NONE))
                continue
            bounds = interval(own[name]) if means[name].n == 1 else None
            small = plus_minus(means[name], digits)
            if bounds is not None:
                small = f"[{', '.join(plain(factor * float(bound), digits) for bound in bounds)}]"
            cells[name].append(Cell(plain(means[name].mean, digits), small, name in top))
    rows = [TableRow(name, cells[name], name == comparison.baseline) for name in names]
    return Table(title, list(columns), rows, sentence, [*notes, _DEVIATION, bold_note("best")])
