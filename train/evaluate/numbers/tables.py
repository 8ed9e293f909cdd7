"""Tables of what the runs have learned of numbers, where they were probed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from ...figures.formats import NONE, bold_note, plain, plus_minus, short_hash
from ...figures.statistics.spread import Spread, highest, lowest, means_in_common, paired_means, spread
from ...figures.table import Cell, Table, TableRow
from ...runs.alike import flatten_record
from ...runs.evaluation_files import share
from ...runs.load import Comparison

_INTERVAL = "In %, right answers of all asked. "
# What has to be equal for figures to share a table.
SAME_PROBLEMS = ("problems_sha256", "train_digits")
_SAME_TEXT = ("text_sha256", "length", "protocol", "split")
_TEXT_COLUMNS = {
    "number_bits_per_byte": "Words with a digit",
    "rest_bits_per_byte": "Other words",
    "bits_per_byte": "All",
}


def probe_frame(comparison: Comparison) -> pd.DataFrame:
    """Every record of every probed run, its passport's fields beside it; empty where none was probed."""
    rows = [flatten_record(run, record) for run in comparison.finished for record in run.numbers]
    return pd.DataFrame(rows, dtype=object)


def number_tables(comparison: Comparison) -> list[Table]:
    """Exact match by operation, then by length and by kind for each operation, then the loss on numbers."""
    frame = probe_frame(comparison)
    if frame.empty:
        return []
    tables: list[Table] = []
    for label, same in groups(frame[frame["probe"] == "exact_match"], SAME_PROBLEMS):
        tables.append(_by_operation(comparison, same, label))
        for operation in dict.fromkeys(same["operation"]):
            own = same[same["operation"] == operation]
            tables += [_by_length(comparison, own, operation, label), _by_kind(comparison, own, operation, label)]
    for label, same in groups(frame[frame["probe"] == "text_loss"], _SAME_TEXT):
        tables.append(_text_table(comparison, same, label))
    return tables


def groups(frame: pd.DataFrame, fields: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """Records that agree in ``fields``, each group with what to add to a title where there are several."""
    if frame.empty:
        return []
    keys = [tuple(str(row[field]) for field in fields) for _, row in frame.iterrows()]
    distinct = list(dict.fromkeys(keys))
    return [
        ("" if len(distinct) == 1 else f" ({short_hash(key[0])})", frame[[other == key for other in keys]])
        for key in distinct
    ]


def exact_match(records: pd.DataFrame) -> tuple[Spread, dict[str, Any] | None]:
    """Share of right answers over seeds, each seed's from its sums; of a single seed also Wilson's interval."""
    shares = _shares(records)
    single = share(int(records["right"].sum()), int(records["problems"].sum())) if len(shares) == 1 else None
    return spread(shares.tolist()), single


def _shares(records: pd.DataFrame) -> pd.Series:
    """Share of right answers by seed."""
    by_seed = records.groupby("seed")[["right", "problems"]].sum().astype("float64")
    return by_seed["right"] / by_seed["problems"]


def where(digits: int, train_digits: Any) -> str:
    """Whether a length was trained on, as a heading has it."""
    if train_digits is None or (isinstance(train_digits, float) and math.isnan(train_digits)):
        return ""
    return f"up to {int(train_digits)} digits" if digits <= int(train_digits) else "longer"


def _by_operation(comparison: Comparison, frame: pd.DataFrame, label: str) -> Table:
    columns: dict[str, pd.DataFrame] = {}
    for operation in dict.fromkeys(frame["operation"]):
        columns |= _split_by_training(frame[frame["operation"] == operation], str(operation))
    first = frame.iloc[0]
    sentence = (
        f"Greedy answers to arithmetic problems of which no training split holds one ({_asked(frame):,} a run); "
        "an answer is right when it and the line's end match to the last character. Operands of "
        f"{min(frame['digits'])} to {max(frame['digits'])} digits, all of a problem equally long"
    )
    trained = where(1, first["train_digits"])
    sentence += f"; trained on {trained}." if trained else "; the runs were not trained on such problems."
    return _table(comparison, f"Exact match on arithmetic{label}", columns, sentence)


def _by_length(comparison: Comparison, frame: pd.DataFrame, operation: str, label: str) -> Table:
    columns = {f"{n} digits": frame[frame["digits"] == n] for n in sorted(set(frame["digits"]))}
    return _table(comparison, f"{operation.capitalize()} by length{label}", columns, "All kinds together.")


def _by_kind(comparison: Comparison, frame: pd.DataFrame, operation: str, label: str) -> Table:
    columns: dict[str, pd.DataFrame] = {}
    for kind in dict.fromkeys(frame["kind"]):
        columns |= _split_by_training(frame[frame["kind"] == kind], str(kind))
    return _table(comparison, f"{operation.capitalize()} by kind{label}", columns, "All lengths of a column together.")


def _split_by_training(frame: pd.DataFrame, name: str) -> dict[str, pd.DataFrame]:
    parts = [where(int(row["digits"]), row["train_digits"]) for _, row in frame.iterrows()]
    return {
        f"{name}, {part}" if part else name: frame[[other == part for other in parts]] for part in dict.fromkeys(parts)
    }


def _table(comparison: Comparison, title: str, columns: dict[str, pd.DataFrame], sentence: str) -> Table:
    names = [n for n in comparison.variants if any((part["variant"] == n).any() for part in columns.values())]
    cells: dict[str, list[Cell]] = {name: [] for name in names}
    single = False
    for part in columns.values():
        found = {name: exact_match(part[part["variant"] == name]) for name in names if (part["variant"] == name).any()}
        best = highest(means_in_common({name: _shares(part[part["variant"] == name]) for name in found})[0])
        for name in names:
            if name not in found:
                cells[name].append(Cell(NONE))
                continue
            mean, interval = found[name]
            single = single or interval is not None
            small = _range(interval) if interval else plus_minus(Spread(mean.n, 100 * mean.mean, 100 * mean.sd), 1)
            cells[name].append(Cell(plain(100 * mean.mean, 1), small, name in best))
    asked = ", ".join(f"{title} {_asked(part):,}" for title, part in columns.items())
    small = (
        "In brackets Wilson's 95 % interval over the problems of the one seed, as if drawn alike: it covers what "
        "another set of problems would change, not another seed."
        if single
        else "± is the standard deviation (n − 1) over seeds."
    )
    rows = [TableRow(name, cells[name], name == comparison.baseline) for name in names]
    return Table(
        title,
        list(columns),
        rows,
        sentence,
        [f"{_INTERVAL}Problems asked a run: {asked}.", small, bold_note("highest")],
    )


def _asked(part: pd.DataFrame) -> int:
    """Problems in a run's column: those of the first run, since all of a group were asked the same."""
    first = part.iloc[0]
    own = part[(part["variant"] == first["variant"]) & (part["seed"] == first["seed"])]
    return int(own["problems"].sum())


def _range(interval: dict[str, Any]) -> str:
    return f"[{plain(100 * interval['low'], 1)}, {plain(100 * interval['high'], 1)}]"


def _text_table(comparison: Comparison, frame: pd.DataFrame, label: str) -> Table:
    names = [name for name in comparison.variants if (frame["variant"] == name).any()]
    cells: dict[str, list[Cell]] = {name: [] for name in names}
    for key in _TEXT_COLUMNS:
        found = {name: _spread_of(frame.loc[frame["variant"] == name, key]) for name in names}
        best = lowest(paired_means(frame.assign(**{key: frame[key].astype("float64")}), key, names)[0])
        for name in names:
            mean = found[name]
            cells[name].append(Cell(plain(mean.mean, 4), plus_minus(mean, 4), name in best))
    for name in names:
        own = frame[frame["variant"] == name].iloc[0]
        cells[name].append(Cell(plain(int(own["number_tokens"]) / max(int(own["number_words"]), 1), 2)))
        cells[name].append(Cell(plain(int(own["bytes"]) / max(int(own["tokens"]), 1), 2)))
    first = frame.iloc[0]
    sentence = (
        f"{first['corpus']}, {first['split']}, windows of {int(first['length']):,} tokens: bits per byte of the "
        f"{int(first['number_words']):,} words that hold a digit ({int(first['number_bytes']):,} bytes, with the white "
        f"space before them) and of the others ({int(first['rest_bytes']):,} bytes). Bytes are those of the text, "
        "whatever the tokenizer; a window of equal length in tokens spans a different stretch of text under each."
    )
    notes = [bold_note("lowest")]
    straddling = {name: int(frame.loc[frame["variant"] == name, "straddling_tokens"].max()) for name in names}
    if any(straddling.values()):
        listed = ", ".join(f"{name} {n:,}" for name, n in straddling.items() if n)
        notes.append(f"Tokens that lie in words of both sorts count to those with a digit: {listed}.")
    rows = [TableRow(name, cells[name], name == comparison.baseline) for name in names]
    columns = [*_TEXT_COLUMNS.values(), "Tokens a number", "Bytes a token"]
    return Table(f"Bits per byte of numbers and of the rest{label}", columns, rows, sentence, notes)


def _spread_of(values: Iterable[Any]) -> Spread:
    return spread([math.nan if value is None else float(value) for value in values])
