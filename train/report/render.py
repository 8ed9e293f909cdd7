"""A report as one HTML page that needs nothing else, and as Markdown beside its pictures."""

from __future__ import annotations

import base64
import re
from importlib import resources

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from rich.markup import escape
from rich.table import Table as RichTable

from ..figures.table import DELTA, Table, md_cell
from .claims import words
from .claims.judge import RULE
from .document import Document
from .glance import GLANCE

_ENDINGS = (".html", ".css", ".md")


def render_html(document: Document) -> str:
    """One page: styles inside, pictures as data, light and dark by the reader's preference."""
    return _environment(escape=True).get_template("report.html").render(doc=document)


def render_markdown(document: Document) -> str:
    """The same content; pictures are the PNG files of the same folder."""
    return _environment(escape=False).get_template("report.md").render(doc=document)


def _environment(*, escape: bool) -> Environment:
    here = resources.files(__package__ or "")
    templates = {file.name: file.read_text(encoding="utf-8") for file in here.iterdir() if file.name.endswith(_ENDINGS)}
    environment = Environment(
        loader=DictLoader(templates),
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


_BORDER = 3  # between two columns


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
    left = room
    for places in _together(glance, room):
        needed = _needed(glance, places)
        if needed > left and parts[-1]:
            parts.append([])
            left = room
        parts[-1] += places
        left -= needed
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
    table = RichTable(title_justify="left", caption_justify="left")
    table.add_column("Variant", no_wrap=True)
    for place in places:
        title = _title(glance, place, places)
        table.add_column(escape(title), justify="right", width=_width(glance, place, places))
    for name, row in zip(names, glance.rows, strict=True):
        cells = [row.cells[place] for place in places]
        marked = [
            (f"[bold]{cell.text}[/bold]" if cell.best else cell.text)
            + (f" [dim]{cell.spread}[/dim]" if cell.spread else "")
            for cell in cells
        ]
        table.add_row(escape(name), *marked)
    return table
