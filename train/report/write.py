"""A comparison's report: one HTML page that needs nothing else, the same as Markdown, and its figures on a terminal."""

from __future__ import annotations

import base64
import math
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich.markup import escape
from rich.table import Column
from rich.table import Table as RichTable

from ..figures.table import DELTA, Cell, Table, md_cell
from ..runs.load import load_comparison
from ..runs.rows import RECORDS, extra_rows, record_rows
from ..storage import write_atomically, write_records
from .claims import words
from .claims.judge import RULE
from .document import Document, build_document
from .glance import GLANCE

_BORDER = 3  # between two columns of a terminal's table


def write_report(output: Path) -> tuple[Document, Path]:
    """Write ``report/`` from the folders below ``output`` alone; returns the content and the HTML page's path.

    ``report.md`` and ``report.html`` say the same, ``*.png`` are the pictures, and ``records.jsonl`` holds every
    record of every finished run with its passport and costs, one a line; ``analysis.jsonl`` the same of their analyses,
    where there are any, ``numbers.jsonl`` those of the number probes, ``probes.jsonl`` those of the probes of their
    context and ``tuning.jsonl`` the records of trials of learning rates. Pictures of an earlier report that this one
    has no more are deleted.

    Raises:
        ConfigError: where ``output`` is not the folder of a comparison or a file in it cannot be read.
    """
    comparison = load_comparison(output)
    document = build_document(comparison)
    folder = output / "report"
    folder.mkdir(parents=True, exist_ok=True)
    for plot in document.plots:
        plot.write(folder)
    for old in folder.glob("*.png"):
        if old.name not in {plot.file for plot in document.plots}:
            old.unlink()
    write_records(folder / RECORDS, map(_plain, record_rows(comparison)), ensure_ascii=False)
    for file, rows in extra_rows(comparison).items():
        if rows:
            write_records(folder / file, map(_plain, rows), ensure_ascii=False)
        else:
            (folder / file).unlink(missing_ok=True)
    write_atomically(folder / "report.md", render_markdown(document))
    page = folder / "report.html"
    write_atomically(page, render_html(document))
    return document, page


def _plain(value: Any) -> Any:
    """JSON has no word for infinity and NaN: they become strings, so that a reader sees that something was there."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def render_html(document: Document) -> str:
    """One page: styles inside, pictures as data, light and dark by the reader's preference."""
    return _environment(escape=True).get_template("report.html").render(doc=document)


def render_markdown(document: Document) -> str:
    """The same content; pictures are the PNG files of the same folder."""
    return _environment(escape=False).get_template("report.md").render(doc=document)


def _environment(*, escape: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=escape,  # noqa: S701 - off for Markdown only, whose cells go through md_cell
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["md_cell"] = md_cell
    environment.filters["code"] = code
    environment.globals |= {"words": words, "rule": RULE}
    return environment


def _data_uri(png: bytes) -> Markup:
    # base64 holds no character that HTML would want escaped
    return Markup(f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}")  # noqa: S704


def code(text: str) -> Markup:
    """HTML of a sentence: what stands between backticks is code."""
    parts = re.split(r"`([^`]*)`", text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


def terminal_tables(document: Document, width: int) -> list[RichTable]:
    """One row a variant; several tables where ``width`` characters are too few, so that no figure is cut off.

    Empty as long as no run is finished.
    """
    if not document.tables(GLANCE):
        return []
    (glance,) = document.tables(GLANCE)
    names = [row.variant + (" (baseline)" if row.baseline else "") for row in glance.rows]
    room = width - max(map(len, names)) - _BORDER - 1
    parts: list[list[int]] = [[]]
    for places in _together(glance, room):
        if parts[-1] and _needed(glance, [*parts[-1], *places]) > room:
            parts.append([])
        parts[-1] += places
    tables = [_table(glance, names, part) for part in parts]
    tables[0].title = escape(document.title)
    tables[-1].caption = escape(" ".join(filter(None, [glance.sentence, *glance.notes]))) or None
    return tables


def _together(glance: Table, room: int) -> list[list[int]]:
    """Places of columns that no break may part: a Δ stays with its figure, unless both exceed a table's ``room``."""
    units: list[list[int]] = []
    for place, column in enumerate(glance.columns):
        if column == DELTA and units and _needed(glance, [*units[-1], place]) <= room:
            units[-1].append(place)
        else:
            units.append([place])
    return units


def _needed(glance: Table, places: list[int]) -> int:
    return sum(_width(glance, place, places) + _BORDER for place in places)


def _title(table: Table, place: int, places: list[int]) -> str:
    """A column's title among those of ``places``: a Δ without its figure beside it says whose it is."""
    column = table.columns[place]
    return f"{DELTA} of {table.columns[place - 1]}" if column == DELTA and place - 1 not in places else column


def _width(table: Table, place: int, places: list[int]) -> int:
    """The room of a column: its longest figure, or the longest word of its title."""
    words = _title(table, place, places).split()
    return max(map(len, [*words, *(str(row.cells[place]) for row in table.rows)]))


def _table(glance: Table, names: list[str], places: list[int]) -> RichTable:
    columns = [
        Column(escape(_title(glance, place, places)), justify="right", width=_width(glance, place, places))
        for place in places
    ]
    table = RichTable(Column("Variant", no_wrap=True), *columns, title_justify="left", caption_justify="left")
    for name, row in zip(names, glance.rows, strict=True):
        table.add_row(escape(name), *(_marked(row.cells[place]) for place in places))
    return table


def _marked(cell: Cell) -> str:
    text = f"[bold]{cell.text}[/bold]" if cell.best else cell.text
    return f"{text} [dim]{cell.spread}[/dim]" if cell.spread else text
