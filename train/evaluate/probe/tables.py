"""Tables of what the runs do with their context, where they were probed: copying, passkeys, loss from the start on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import pandas as pd

from ...figures.formats import bold_note, plain
from ...figures.statistics.spread import Better, share_interval
from ...figures.table import Cell, Table, figure_cells, table_of
from ...runs.alike import Alike, flatten_record, frame_of
from ...runs.load import Comparison

_SHARE = "In %; of a single seed in brackets Wilson's 95 % interval over the {}: another seed may differ more."
_DEVIATION = "± is the standard deviation (n − 1) over seeds."

Bounds = tuple[float | None, float | None]
Interval = Callable[[pd.DataFrame], Bounds]
"""The ends of what stands beside the figure of a single seed, from its rows; None where nothing does."""


def probed(comparison: Comparison, probe: str) -> list[Alike]:
    """The records of a probe in sets that may be compared; none where no run was probed so.

    Their seed is that of training, ``drawn_with`` that of the probe's texts; records of the copy probe have ``gain``.
    """
    rows = []
    for run in comparison.finished:
        for record in run.probes:
            if record["probe"] != probe or (probe == "start" and not record["tokens"]):
                continue  # no document was long enough
            rows.append(flatten_record(record, run.variant, run.seed) | {"drawn_with": record["seed"]})
            if probe == "copy":
                rows[-1]["gain"] = record["first_loss"] - record["loss"]
    return Alike.sets(frame_of(rows, ["train_length"]).infer_objects(), probe)


def probe_tables(comparison: Comparison) -> list[Table]:
    """Copying from the far end and what a repeat is worth, passkeys found, loss by index; those that were probed."""
    return [
        *(table for one in probed(comparison, "copy") for table in _copy_tables(comparison, one)),
        *(table for one in probed(comparison, "passkey") for table in _passkey_tables(comparison, one)),
        *(_start_table(comparison, one) for one in probed(comparison, "start")),
    ]


def longest_from_start(one: Alike) -> pd.DataFrame:
    """The rows of the longest length that every variant has, or of the longest one."""
    names = set(one.records["variant"])
    shared = [n for n in one.lengths() if set(one.at(length=n)["variant"]) == names]
    return one.at(length=(shared or one.lengths())[-1])


def _copy_tables(comparison: Comparison, one: Alike) -> list[Table]:
    first = one.first
    farthest = {n: max(one.at(length=n)["distance"]) for n in one.lengths()}
    parts = {f"{n:,} ({far:,} back)": one.at(length=n, distance=far) for n, far in farthest.items()}
    what = (
        f"Random tokens of which the last {first['segment_tokens']} are a repeat; after a cue of {first['cue_tokens']} "
        f"the others are to be continued, {first['samples']} sequences a length. Here the repeat stands as far back as "
        f"the sequence allows; the pictures have every distance.{one.apart}"
    )
    chance = f"By chance {plain(100 * first['chance_accuracy'], 3)}."
    gain = "Nats a token by which the repeat is easier than the same tokens the first time; 0 without copying."
    title = "Copying from the far end"
    copied = partial(_cells, field="accuracy", interval=_recorded("accuracy"), factor=100.0)
    worth = partial(_cells, field="gain", digits=3)
    notes = [chance, _SHARE.format("sequences")]
    return [
        _table(comparison, one, f"{title}: share copied", parts, copied, what, *notes),
        _table(comparison, one, f"{title}: what the repeat is worth", parts, worth, gain + one.apart),
    ]


def _passkey_tables(comparison: Comparison, one: Alike) -> list[Table]:
    first = one.first
    parts = {f"{n:,}": one.at(length=n) for n in one.lengths()}
    texts = f"{first['samples']} texts at each of {one.records['depth'].nunique()} depths"
    told = f"A number told once in a text is likelier, whole, than {first['distractors']} numbers that were not told"
    answer = f"The greedy answer is the number told, all {first['digits']} digits of it"
    tables = []
    for key, title, sentence in (
        ("ranked_first", "the told number is the likeliest", told),
        ("accuracy", "the told number is the answer", answer),
    ):
        cells = partial(_cells, field=key, interval=partial(_wilson, field=key), factor=100.0)
        what = f"{sentence}; {texts}, all depths together.{one.apart}"
        chance = f"By chance {plain(100 * first[f'chance_{key}'], 3)}."
        tables.append(_table(comparison, one, f"Passkeys: {title}", parts, cells, what, chance, _SHARE.format("texts")))
    return tables


def _start_table(comparison: Comparison, one: Alike) -> Table:
    rows = longest_from_start(one)
    first = rows.iloc[0]
    parts = {}
    for last in sorted(set(rows["last_index"])):
        own = rows[rows["last_index"] == last]
        begin = own["first_index"].iloc[0]
        parts[f"{begin:,}" if begin == last else f"{begin:,} to {last:,}"] = own
    return _table(
        comparison,
        one,
        "Loss by distance to the document's start",
        parts,
        partial(_cells, field="loss", digits=3, better="lower", interval=_recorded("loss")),
        f"Nats a token by the tokens' index in the document, over the first {first['length']:,} tokens of "
        f"{first['documents']} documents of {first['corpus']} that have so many, each read from its start.{one.apart}",
        "In brackets the 95 % interval over the documents where there is one seed.",
    )


def _recorded(field: str) -> Interval:
    """The interval that the record of a single seed has of a figure."""
    return lambda own: (own[f"{field}_low"].iloc[0], own[f"{field}_high"].iloc[0])


def _wilson(own: pd.DataFrame, field: str) -> Bounds:
    """The interval of a share over all texts of a single seed."""
    return share_interval(own[field].mean(), int(own["samples"].sum()))


def _cells(
    rows: pd.DataFrame,
    field: str,
    *,
    factor: float = 1.0,
    digits: int = 1,
    better: Better = "higher",
    interval: Interval | None = None,
) -> dict[str, Cell]:
    """A figure over seeds, those of one seed averaged, with the ``interval`` beside that of a single seed."""
    of_variant = {str(name): own for name, own in rows.groupby("variant")}

    def alone(name: str) -> str:
        low, high = interval(of_variant[name]) if interval else (None, None)
        if low is None or high is None or math.isnan(low):
            return "n=1"
        return f"[{plain(factor * low, digits)}, {plain(factor * high, digits)}]"

    figures = {name: own.groupby("seed")[field].mean() for name, own in of_variant.items()}
    return figure_cells(figures, digits, better, alone, factor)


def _table(
    comparison: Comparison,
    one: Alike,
    title: str,
    parts: Mapping[str, pd.DataFrame],
    cells: Callable[[pd.DataFrame], dict[str, Cell]],
    sentence: str,
    *notes: str,
) -> Table:
    """A column for each of ``parts``."""
    columns = [(heading, cells(rows)) for heading, rows in parts.items()]
    notes = (*notes, _DEVIATION, bold_note("best"))
    return table_of(f"{title}{one.label}", one.variants(comparison), comparison.baseline, columns, sentence, notes)
