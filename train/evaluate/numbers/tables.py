"""Tables of what the runs have learned of numbers, where they were probed."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ...figures.formats import bold_note, plain, short_hash
from ...figures.statistics.spread import Spread, by_seed, share_interval, spread
from ...figures.table import Cell, Column, Table, figure_cells, table_of
from ...runs.alike import FIELDS, Alike, flatten_record
from ...runs.load import Comparison, absent

_TEXT_COLUMNS = {
    "number_bits_per_byte": "Words with a digit",
    "rest_bits_per_byte": "Other words",
    "bits_per_byte": "All",
}


def probe_frame(comparison: Comparison) -> pd.DataFrame:
    """Every record of every probed run, its passport's fields beside it; empty where none was probed."""
    rows = [flatten_record(record, run.variant, run.seed) for run in comparison.finished for record in run.numbers]
    return pd.DataFrame(rows, dtype=object)


def groups(frame: pd.DataFrame, kind: str) -> list[tuple[str, pd.DataFrame]]:
    """Records of a kind that may be compared, each group with what to add to a title where there are several."""
    sets = Alike.sets(frame[frame["probe"] == kind], kind)
    return [("" if one.of == 1 else f" ({short_hash(one.first[FIELDS[kind][0]])})", one.records) for one in sets]


def number_tables(comparison: Comparison) -> list[Table]:
    """Exact match by operation, then by length and by kind for each operation, then the loss on numbers."""
    frame = probe_frame(comparison)
    if frame.empty:
        return []
    tables: list[Table] = []
    for label, same in groups(frame, "exact_match"):
        parts = _split_by_training(same, "operation")
        tables.append(_table(comparison, f"Exact match on arithmetic{label}", parts, _problems(same)))
        for operation, own in same.groupby("operation", sort=False):
            title = str(operation).capitalize()
            lengths = {f"{n} digits": rows for n, rows in own.groupby("digits")}
            kinds = _split_by_training(own, "kind")
            tables += [
                _table(comparison, f"{title} by length{label}", lengths, "All kinds together."),
                _table(comparison, f"{title} by kind{label}", kinds, "All lengths of a column together."),
            ]
    return tables + [_text_table(comparison, same, label) for label, same in groups(frame, "text_loss")]


def exact_match(records: pd.DataFrame) -> tuple[Spread, dict[str, Any] | None]:
    """Share of right answers over seeds, each seed's from its sums; of a single seed also Wilson's interval."""
    shares = _shares(records)
    low, high = _wilson(records)
    return spread(shares), {"low": low, "high": high} if len(shares) == 1 else None


def _shares(records: pd.DataFrame) -> pd.Series:
    """Share of right answers by seed."""
    sums = records.groupby("seed")[["right", "problems"]].sum().astype("float64")
    return sums["right"] / sums["problems"]


def _wilson(records: pd.DataFrame) -> tuple[float, float]:
    """The interval of the share of right answers, as if all were of one seed."""
    right, problems = int(records["right"].sum()), int(records["problems"].sum())
    return share_interval(right / problems, problems)


def where(digits: int, train_digits: Any) -> str:
    """Whether a length was trained on, as a heading has it."""
    if absent(train_digits):
        return ""
    return f"up to {int(train_digits)} digits" if digits <= int(train_digits) else "longer"


def _problems(frame: pd.DataFrame) -> str:
    """What was asked, and whether the runs were trained on it."""
    trained = where(1, frame["train_digits"].iloc[0])
    return (
        f"Greedy answers to arithmetic problems of which no training split holds one ({_asked(frame):,} a run); "
        "an answer is right when it and the line's end match to the last character. Operands of "
        f"{min(frame['digits'])} to {max(frame['digits'])} digits, all of a problem equally long"
        + (f"; trained on {trained}." if trained else "; the runs were not trained on such problems.")
    )


def _split_by_training(frame: pd.DataFrame, field: str) -> dict[str, pd.DataFrame]:
    """By the value of a field, and by whether the length was trained on."""
    parts = [where(int(digits), trained) for digits, trained in zip(frame["digits"], frame["train_digits"])]
    split: dict[str, pd.DataFrame] = {}
    for value, own in frame.assign(part=parts).groupby(field, sort=False):
        split |= {", ".join(filter(None, [str(value), str(part)])): r for part, r in own.groupby("part", sort=False)}
    return split


def _table(comparison: Comparison, title: str, parts: dict[str, pd.DataFrame], sentence: str) -> Table:
    """Exact match with a column for each of ``parts``."""
    columns = [(heading, _cells(rows)) for heading, rows in parts.items()]
    present = {name for _, cells in columns for name in cells}
    asked = ", ".join(f"{heading} {_asked(rows):,}" for heading, rows in parts.items())
    single = any(cell.spread.startswith("[") for _, cells in columns for cell in cells.values())
    notes = [
        f"In %, right answers of all asked. Problems asked a run: {asked}.",
        "In brackets Wilson's 95 % interval over the problems of the one seed, as if drawn alike: it covers what "
        "another set of problems would change, not another seed."
        if single
        else "± is the standard deviation (n − 1) over seeds.",
        bold_note("highest"),
    ]
    names = [name for name in comparison.variants if name in present]
    return table_of(title, names, comparison.baseline, columns, sentence, notes)


def _cells(rows: pd.DataFrame) -> dict[str, Cell]:
    """Exact match of each variant in percent, of a single seed with Wilson's interval."""
    of_variant = {str(name): own for name, own in rows.groupby("variant")}

    def alone(name: str) -> str:
        low, high = _wilson(of_variant[name])
        return f"[{plain(100 * low, 1)}, {plain(100 * high, 1)}]"

    return figure_cells({name: _shares(own) for name, own in of_variant.items()}, 1, "higher", alone, 100.0)


def _asked(part: pd.DataFrame) -> int:
    """Problems in a run's column: those of the first run, since all of a group were asked the same."""
    first = part.iloc[0]
    own = part[(part["variant"] == first["variant"]) & (part["seed"] == first["seed"])]
    return int(own["problems"].sum())


def _text_table(comparison: Comparison, frame: pd.DataFrame, label: str) -> Table:
    frame = frame.astype(dict.fromkeys(_TEXT_COLUMNS, "float64"))
    runs = {str(name): own.iloc[0] for name, own in frame.groupby("variant")}
    columns: list[Column] = [
        (heading, figure_cells(by_seed(frame, field, runs), 4, "lower")) for field, heading in _TEXT_COLUMNS.items()
    ]
    for heading, field, of in (
        ("Tokens a number", "number_tokens", "number_words"),
        ("Bytes a token", "bytes", "tokens"),
    ):
        columns.append(
            (heading, {name: Cell(plain(int(run[field]) / max(int(run[of]), 1), 2)) for name, run in runs.items()})
        )
    first = frame.iloc[0]
    sentence = (
        f"{first['corpus']}, {first['split']}, windows of {int(first['length']):,} tokens: bits per byte of the "
        f"{int(first['number_words']):,} words that hold a digit ({int(first['number_bytes']):,} bytes, with the white "
        f"space before them) and of the others ({int(first['rest_bytes']):,} bytes). Bytes are those of the text, "
        "whatever the tokenizer; a window of equal length in tokens spans a different stretch of text under each."
    )
    names = [name for name in comparison.variants if name in runs]
    notes = [bold_note("lowest")]
    straddling = {name: int(frame.loc[frame["variant"] == name, "straddling_tokens"].max()) for name in names}
    if any(straddling.values()):
        listed = ", ".join(f"{name} {n:,}" for name, n in straddling.items() if n)
        notes.append(f"Tokens that lie in words of both sorts count to those with a digit: {listed}.")
    title = f"Bits per byte of numbers and of the rest{label}"
    return table_of(title, names, comparison.baseline, columns, sentence, notes)
