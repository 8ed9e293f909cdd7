"""The report's first table on a terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table as RichTable

from .document import Document


def terminal_table(document: Document) -> RichTable | None:
    """One row a variant; None as long as no run is finished."""
    if document.glance is None:
        return None
    table = RichTable(title=escape(document.title), title_justify="left", caption_justify="left")
    table.add_column("Variant")
    for column in document.glance.columns:
        table.add_column(escape(column), justify="right")
    for row in document.glance.rows:
        name = f"[bold]{escape(row.variant)}[/bold]" + (" [dim](baseline)[/dim]" if row.baseline else "")
        cells = [
            (f"[bold]{cell.text}[/bold]" if cell.best else cell.text)
            + (f" [dim]{cell.spread}[/dim]" if cell.spread else "")
            for cell in row.cells
        ]
        table.add_row(name, *cells)
    table.caption = " ".join(document.glance.notes) or None
    return table
