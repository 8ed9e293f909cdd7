"""A table as the report has it, independent of whether it ends as HTML, Markdown or on a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Literal

import pandas as pd

from .canvas import Plot
from .formats import NONE, bracketed, p_value, percent, perplexity_digits, plain, plus_minus, signed
from .statistics.family import MEANING, Tested
from .statistics.paired import Paired, paired_differences
from .statistics.spread import Better, Spread, by_seed, leaders, means_in_common, spread, summarise

TITLES = {
    "token_perplexity": "Token perplexity",
    "word_perplexity": "Word perplexity",
    "bits_per_byte": "Bits per byte",
}

DELTA = "Δ"

NATS = {"token_perplexity": "nats a token", "word_perplexity": "nats a word"}
"""The unit of a difference of logarithms, for each metric that is tested."""

Mark = Literal["good", "bad", "even", "open"]

_MARKS: dict[str, Mark] = {"better": "good", "worse": "bad", "tie": "even", "exact tie": "even"}


def figure_digits(metric: str, summary: Mapping[str, Spread]) -> int:
    """Digits behind the point, the same for a whole column."""
    if metric == "bits_per_byte":
        return 4
    return max((perplexity_digits(s.mean) for s in summary.values() if not math.isnan(s.mean)), default=2)


def md_cell(text: object) -> str:
    """A table cell on one line, its bars and HTML brackets escaped."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def md_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


@dataclass(frozen=True)
class Cell:
    """A figure and, smaller beside it, its spread.

    Attributes:
        mark: where the text is a verdict, the shape and colour it is shown with.
    """

    text: str
    spread: str = ""
    best: bool = False
    mark: Mark | None = None

    def __str__(self) -> str:
        return f"{self.text} {self.spread}".rstrip()


@dataclass(frozen=True)
class TableRow:
    """One variant's row."""

    variant: str
    cells: list[Cell]
    baseline: bool = False


@dataclass(frozen=True)
class Table:
    """Columns after the variant's name, rows, a sentence before and notes after; ``text`` where cells hold words."""

    title: str
    columns: list[str]
    rows: list[TableRow]
    sentence: str = ""
    notes: list[str] = field(default_factory=list)
    text: bool = False

    def column(self, heading: str) -> dict[str, Cell]:
        """The cells under a heading, by variant."""
        return {row.variant: row.cells[self.columns.index(heading)] for row in self.rows}

    @property
    def one_seed(self) -> bool:
        """Whether every figure is of one seed, which a note then says better than a mark at each."""
        return {cell.spread for row in self.rows for cell in row.cells} <= {"", "n=1"}


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it.

    Attributes:
        sentence: before anything else; words between backticks are set as code.
        plots: pictures, before the tables that hold their figures.
    """

    title: str
    sentence: str = ""
    plots: list[Plot] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """What a link to the section ends in."""
        return anchor(self.title)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.plots or self.tables)


def anchor(title: str) -> str:
    """``Loss by frequency, and more -> loss-by-frequency-and-more``, as Markdown's readers make it of a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


Column = tuple[str, Mapping[str, Cell]]
"""A heading, and the cell of each variant that has one."""


def table_of(
    title: str,
    variants: Iterable[str],
    baseline: str,
    columns: Sequence[Column],
    sentence: str = "",
    notes: Iterable[str] = (),
) -> Table:
    """A table with a row for each of ``variants``; a dash where a column has no cell of one."""
    rows = [
        TableRow(name, [cells.get(name, Cell(NONE)) for _, cells in columns], name == baseline) for name in variants
    ]
    return Table(title, [heading for heading, _ in columns], rows, sentence, list(notes))


def figure_cells(
    figures: Mapping[str, pd.Series],
    digits: int,
    better: Better | None = None,
    alone: Callable[[str], str] | None = None,
    factor: float = 1.0,
) -> dict[str, Cell]:
    """A column of figures: of each variant the mean and the standard deviation over its seeds.

    Args:
        figures: of each variant, indexed by seed.
        digits: behind the point.
        better: which mean, over the seeds that all variants have, is set bold; None for none.
        alone: what stands beside the figure of a single seed of a variant; ``n=1`` where it is None.
        factor: that mean and deviation are shown multiplied by, such as 100 for percent.
    """
    best = leaders(means_in_common(figures)[0], better) if better else []
    cells = {}
    for name, own in figures.items():
        n, mean, sd = astuple(spread(own))
        over = Spread(n, factor * mean, factor * sd)
        small = alone(name) if alone and n == 1 else plus_minus(over, digits)
        cells[name] = Cell(plain(over.mean, digits), small, name in best)
    return cells


def metric_cells(
    frame: pd.DataFrame, metric: str, variants: Sequence[str], alone: Callable[[str], str] | None = None
) -> dict[str, Cell]:
    """:func:`figure_cells` of one of :data:`TITLES` in ``frame`` (columns variant, seed, metric); less is better."""
    digits = figure_digits(metric, summarise(frame, metric, variants))
    return figure_cells(by_seed(frame, metric, variants), digits, "lower", alone)


def delta_cells(frame: pd.DataFrame, metric: str, variants: Iterable[str], baseline: str) -> dict[str, Cell]:
    """The paired difference of each variant but the baseline: of a perplexity as a ratio, else as it is."""
    others = [name for name in variants if name != baseline]
    if metric in NATS:
        return {name: ratio_cell(paired_differences(frame, metric, name, baseline, "log")) for name in others}
    digits = figure_digits(metric, {})
    return {name: difference_cell(paired_differences(frame, metric, name, baseline), digits) for name in others}


def test_columns(tested: Mapping[str, Tested], effect: float | None) -> list[Column]:
    """The adjusted p, the word and, unless ``effect`` is None, the seeds that it needs."""
    columns: list[Column] = [
        ("p (Holm)", {name: Cell(p_value(own.adjusted_p)) for name, own in tested.items()}),
        (
            "Verdict",
            {name: Cell(own.verdict, mark=_MARKS.get(own.verdict, "open")) for name, own in tested.items()},
        ),
    ]
    if effect is not None:
        needed = {name: Cell(plain(own.seeds_needed, 0)) for name, own in tested.items()}
        columns.append((f"Seeds for {percent(effect)}", needed))
    return columns


def test_note(metric: str, baseline: str, effect: float | None) -> str:
    """What the columns of the tests mean; None for an ``effect`` where no column says how many seeds it needs."""
    name = metric.replace("_", " ")
    text = (
        f"Δ is the mean difference to {baseline}, paired by seed, with its 95 % t interval; of perplexities that of "
        f"their logarithms, shown as a ratio. p: paired t test of log {name}, adjusted by Holm over the variants of "
        f"the table. {MEANING[0].upper()}{MEANING[1:]}"
    )
    if effect is None:
        return text
    return (
        f"{text} Seeds for {percent(effect)}: how many would see a {name} that "
        f"differs by {percent(effect)} with 80 % power at 5 % (one test, before Holm), were the spread of the paired "
        "differences as observed here, which few seeds tell only roughly."
    )


def ratio_cell(differences: Paired) -> Cell:
    """Differences of logarithms as a ratio less 1, in percent, with its interval; a dash without a shared seed."""
    ends = [ratio_percent(value) for value in (differences.mean, *differences.interval())]
    digits = percent_digits(*ends)
    return _difference(differences, ends, digits, "" if math.isnan(ends[0]) else " %")


def difference_cell(differences: Paired, digits: int) -> Cell:
    """Plain differences with their interval; a dash without a shared seed."""
    return _difference(differences, [differences.mean, *differences.interval()], digits)


def _difference(differences: Paired, ends: Sequence[float], digits: int, unit: str = "") -> Cell:
    """Of a mean and the ends of its interval."""
    if differences.n == 0:
        return Cell(NONE)
    mean, low, high = ends
    return Cell(signed(mean, digits) + unit, "n=1" if differences.n == 1 else bracketed((low, high), digits))


def ratio_percent(log_ratio: float) -> float:
    """100 (e^x - 1), infinite where that overflows."""
    try:
        return 100 * math.expm1(log_ratio)
    except OverflowError:
        return math.inf


def percent_digits(*percents: float) -> int:
    """Digits behind the point, the same for a mean and the ends of its interval: about three figures."""
    largest = max((abs(value) for value in percents if math.isfinite(value)), default=0.0)
    return 2 if largest < 10 else 1 if largest < 100 else 0
