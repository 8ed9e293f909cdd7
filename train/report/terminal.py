"""The report's first table on a terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table as RichTable

from .document import Document
from .tables import Table

_BORDER = 3  # between two columns


def terminal_tables(document: Document, width: int) -> list[RichTable]:
    """One row a variant; several tables where ``width`` characters are too few, so that no figure is cut off.

    Empty as long as no run is finished.
    """
    glance = document.glance
    if glance is None:
        return []
    names = [row.variant + (" (baseline)" if row.baseline else "") for row in glance.rows]
    room = width - max(map(len, names)) - _BORDER - 1
    parts: list[list[int]] = [[]]
    left = room
    for place in range(len(glance.columns)):
        needed = _width(glance, place) + _BORDER
        if needed > left and parts[-1]:
            parts.append([])
            left = room
        parts[-1].append(place)
        left -= needed
    tables = [_table(glance, names, part) for part in parts]
    tables[0].title = escape(document.title)
    tables[-1].caption = " ".join(glance.notes) or None
    return tables


def _width(table: Table, place: int) -> int:
    """The room of a column: its longest figure, or the longest word of its title."""
    words = table.columns[place].split()
    return max(map(len, [*words, *(str(row.cells[place]) for row in table.rows)]))


def _table(glance: Table, names: list[str], places: list[int]) -> RichTable:
    table = RichTable(title_justify="left", caption_justify="left")
    table.add_column("Variant", no_wrap=True)
    for place in places:
        table.add_column(escape(glance.columns[place]), justify="right", width=_width(glance, place))
    for name, row in zip(names, glance.rows, strict=True):
        cells = [row.cells[place] for place in places]
        marked = [
            (f"[bold]{cell.text}[/bold]" if cell.best else cell.text)
            + (f" [dim]{cell.spread}[/dim]" if cell.spread else "")
            for cell in cells
        ]
        table.add_row(escape(name), *marked)
    return table
