"""A report as one HTML page that needs nothing else, and as Markdown beside its pictures."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from importlib import resources

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from ..claims import words
from ..claims.judge import RULE
from .document import Document

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


def md_cell(text: object) -> str:
    """A table cell on one line, its bars and HTML brackets escaped."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def md_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def code(text: str) -> Markup:
    """HTML of a sentence: what stands between backticks is code."""
    parts = re.split(r"`([^`]*)`", text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))
