"""The claims as Markdown, JSON Lines and a picture in a folder, and as a table on a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from ..config import write_atomically
from ..report.formats import NONE
from ..report.render import md_cell, md_table
from . import words
from .conditions import COLUMNS, NOTE
from .judge import RULE
from .outcome import Outcome
from .plot import claims_plot

_STYLES = {"supported": "bold green", "not supported": "bold red", "tie": "bold yellow", "not tested": "dim"}


def write_claims(folder: Path, outcomes: Sequence[Outcome], conditions: Sequence[Sequence[str]] = ()) -> Path:
    """Write ``claims.md``, ``claims.jsonl`` and ``claims.png``; returns the first, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    plot = claims_plot(outcomes)
    plot.write(folder)
    lines = [json.dumps(outcome.as_row(), allow_nan=False, ensure_ascii=False) for outcome in outcomes]
    write_atomically(folder / "claims.jsonl", "".join(f"{line}\n" for line in lines))
    file = folder / "claims.md"
    write_atomically(file, markdown(outcomes, f"![{plot.alt}]({plot.file})\n\n{plot.caption}", conditions))
    return file


def markdown(outcomes: Sequence[Outcome], picture: str, conditions: Sequence[Sequence[str]] = ()) -> str:
    """The verdicts, a table a paper, then what was claimed in words, then how the runs were trained, then the rule."""
    parts = ["# Claims", picture]
    for paper in dict.fromkeys(outcome.paper for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.paper == paper]
        parts.append(f"## {paper.title}\n\narXiv:{paper.arxiv}; {paper.status}.")
        head = ("Claim", "Verdict", "Difference [95 %]", "Claimed", "Test", "With other documents", "Decided by")
        rows = [[outcome.claim.name, *_cells(outcome)] for outcome in own]
        parts.append(md_table(head, [list(map(md_cell, row)) for row in rows]))
        parts.append("\n".join(_item(outcome) for outcome in own))
    if conditions:
        rows = [list(map(md_cell, row)) for row in conditions]
        parts += ["## How the runs were trained", NOTE, md_table(COLUMNS, rows)]
    parts.append(f"## How a claim is decided\n\n{RULE}")
    return "\n\n".join(parts) + "\n"


def terminal_table(outcomes: Sequence[Outcome]) -> Table:
    """A row a claim: its sentence and verdict, and the figures that decided it."""
    table = Table(title="Claims", title_justify="left", show_lines=True)
    for column in ("Claim", "Verdict", "Figures"):
        table.add_column(column)
    for outcome in outcomes:
        style = _STYLES[outcome.verdict]
        name = f"[bold]{escape(outcome.paper.file)}[/bold]: {escape(outcome.claim.sentence)}"
        remark = f"\n{escape(outcome.remark)}" if outcome.remark else ""
        table.add_row(name, f"[{style}]{outcome.verdict}[/{style}]{remark}", escape(words.sentence(outcome)) or NONE)
    return table


def conditions_table(conditions: Sequence[Sequence[str]]) -> Table:
    """How the runs behind the verdicts were trained."""
    table = Table(title="How the runs were trained", title_justify="left", caption=NOTE, caption_justify="left")
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for row in conditions:
        table.add_row(*map(escape, row))
    return table


def summary(outcomes: Sequence[Outcome]) -> str:
    """How many claims got which verdict."""
    return f"{len(outcomes)} claims: {words.counts(outcomes)}."


def _cells(outcome: Outcome) -> list[str]:
    claim = outcome.claim
    figures = (words.difference(outcome), words.claim_in_figures(claim), words.tests(outcome), words.documents(outcome))
    return [words.verdict(outcome), *(text or NONE for text in figures), words.decided_by(claim) or NONE]


def _item(outcome: Outcome) -> str:
    claim = outcome.claim
    measured = words.protocol(claim)
    return f"- {claim.name}: {claim.sentence} Source: {claim.source}." + (f" Measured: {measured}." if measured else "")
