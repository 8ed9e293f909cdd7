"""A table as the report has it, independent of whether it ends as HTML, Markdown or on a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .canvas import Plot
from .formats import NONE, bracketed, p_value, percent, perplexity_digits, plain, signed
from .statistics.family import MEANING, Tested
from .statistics.paired import Paired
from .statistics.spread import Spread

TITLES = {
    "token_perplexity": "Token perplexity",
    "word_perplexity": "Word perplexity",
    "bits_per_byte": "Bits per byte",
}


DELTA = "Δ"


def figure_digits(metric: str, summary: dict[str, Spread]) -> int:
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


Mark = Literal["good", "bad", "even", "open"]


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


NATS = {"token_perplexity": "nats a token", "word_perplexity": "nats a word"}
"""The unit of a difference of logarithms, for each metric that is tested."""

_MARKS: dict[str, Mark] = {"better": "good", "worse": "bad", "tie": "even", "exact tie": "even"}


def test_columns(effect: float) -> list[str]:
    """Headings of :func:`test_cells`."""
    return ["p (Holm)", "Verdict", f"Seeds for {percent(effect)}"]


def test_cells(tested: Tested | None) -> list[Cell]:
    """The adjusted p, the word, and the seeds that the stated effect needs; dashes for the baseline."""
    if tested is None:
        return [Cell(NONE)] * 3
    return [
        Cell(p_value(tested.adjusted_p)),
        Cell(tested.verdict, mark=_MARKS.get(tested.verdict, "open")),
        Cell(plain(tested.seeds_needed, 0)),
    ]


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


def ratio_cell(differences: Paired | None) -> Cell:
    """Differences of logarithms as a ratio less 1, in percent, with its interval; a dash without a shared seed."""
    if differences is None or differences.n == 0:
        return Cell(NONE)
    mean, low, high = (ratio_percent(value) for value in (differences.mean, *differences.interval()))
    digits = percent_digits(mean, low, high)
    text = NONE if math.isnan(mean) else f"{signed(mean, digits)} %"
    return Cell(text, _small(differences, (low, high), digits))


def difference_cell(differences: Paired | None, digits: int) -> Cell:
    """Plain differences with their interval; a dash without a shared seed."""
    if differences is None or differences.n == 0:
        return Cell(NONE)
    return Cell(signed(differences.mean, digits), _small(differences, differences.interval(), digits))


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


def nats_cells(tested: Mapping[str, Tested], names: list[str]) -> list[Cell]:
    """The differences of logarithms as they are, a cell a variant."""
    return [difference_cell(tested[name].differences if name in tested else None, 4) for name in names]


def _small(differences: Paired, interval: tuple[float, float], digits: int) -> str:
    return "n=1" if differences.n == 1 else bracketed(interval, digits)
