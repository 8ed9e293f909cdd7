"""A table as the report has it, independent of whether it ends as HTML, Markdown or on a terminal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

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
