"""A table as the report has it, independent of whether it ends as HTML, Markdown or on a terminal."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
    """A figure and, smaller beside it, its spread."""

    text: str
    spread: str = ""
    best: bool = False

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
