"""The claims as Markdown, JSON Lines and a picture in a folder, and as a table on a terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from ...figures.formats import NONE
from ...figures.table import md_cell, md_table
from ...runs.alike import TOKENIZER
from ...runs.load import Comparison, Row
from ...runs.matching import Matching
from ...runs.rows import RECORDS
from ...runs.trials import Tuning
from ...storage import write_atomically, write_records
from . import words
from .judge import RULE
from .plot import claims_plot
from .results import Results
from .verdicts import Outcome

COLUMNS = ("Comparison", "Text", "Parameters", "Trained on", "Windows", "Precision", "Made equal", "Learning rate")

NOTE = (
    "The figures are of models of this size, trained so far and no further. Where parameters were not made equal, "
    "variants have as many as their layers come with. Of unlike tokenizers equal tokens are unlike amounts of text."
)


def conditions(outcomes: Sequence[Outcome], results: Sequence[Results]) -> list[tuple[str, ...]]:
    """A row of :data:`COLUMNS` for each comparison with a measured claim, of the variants that its claims name."""
    wanted: dict[str, set[str]] = {}
    for outcome in outcomes:
        if outcome.differences is not None:
            wanted.setdefault(outcome.claim.comparison, set()).update(outcome.claim.variants)
    measured = sorted((found for found in results if found.name in wanted), key=lambda found: found.name)
    return [_conditions(found, wanted[found.name]) for found in measured]


def _conditions(results: Results, variants: Collection[str]) -> tuple[str, ...]:
    # the precision of an extrapolation is its own, and not that of training
    rows = [row for row in results.rows[RECORDS] if row["variant"] in variants and "intervention" not in row]
    texts = [
        f"{row['corpus']}, detokenised" if row.get("detokenize") else str(row["corpus"])
        for row in rows
        if "corpus" in row
    ]
    further = [bool(row.get("init_from")) for row in rows]
    runs: list[Row] = [row.get("run") or {} for row in rows]
    trained = _numbers(run.get("train_tokens") for run in runs)
    if trained != NONE:
        trained += " tokens"
        trained += ", from a trained model" if all(further) else ", some from a trained model" if any(further) else ""
    same = [what for what in ("steps", "train_tokens") if len({run.get(what) for run in runs}) == 1 and what in runs[0]]
    equal = " and ".join(what.removeprefix("train_") for what in same)
    if equal and len({row.get(TOKENIZER) for row in rows}) > 1:
        equal += " of unlike tokenizers"
    solved = Matching(**results.asked.match).describe() if results.asked and results.asked.match else ""
    return (
        results.name,
        _each(texts),
        _numbers(row.get("parameters") for row in rows),
        trained,
        _numbers(row.get("train_length") for row in rows),
        _each(str(row["dtype"]) for row in rows if "dtype" in row),
        ", ".join(filter(None, [equal, solved])) or NONE,
        _learning_rate(results.asked, variants) if results.asked else NONE,
    )


def _learning_rate(comparison: Comparison, variants: Collection[str]) -> str:
    if comparison.tuning:
        return f"each variant's best of {_each(f'{rate:g}' for rate in Tuning(**comparison.tuning).learning_rates)}"
    models = [run.config.get("model") or {} for run in comparison.finished if run.variant in variants]
    rates = sorted({model["learning_rate"] for model in models if model.get("learning_rate") is not None})
    if len(rates) > 1:
        return f"{rates[0]:g} to {rates[-1]:g}, not tuned"
    return f"{rates[0]:g} for all" if rates else NONE


def _numbers(values: Iterable[Any]) -> str:
    known = [int(value) for value in values if value is not None]
    return " to ".join(f"{value:,}" for value in sorted({min(known), max(known)})) if known else NONE


def _each(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values)) or NONE


_STYLES = {"supported": "bold green", "not supported": "bold red", "tie": "bold yellow", "not tested": "dim"}


def write_claims(folder: Path, outcomes: Sequence[Outcome], conditions: Sequence[Sequence[str]] = ()) -> Path:
    """Write ``claims.md``, ``claims.jsonl`` and ``claims.png``; returns the first, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    plot = claims_plot(outcomes)
    plot.write(folder)
    write_records(folder / "claims.jsonl", [outcome.as_row() for outcome in outcomes], ensure_ascii=False)
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
    table = Table("Claim", "Verdict", "Figures", title="Claims", title_justify="left", show_lines=True)
    for outcome in outcomes:
        style = _STYLES[outcome.verdict]
        name = f"[bold]{escape(outcome.paper.file)}[/bold]: {escape(outcome.claim.sentence)}"
        remark = f"\n{escape(outcome.remark)}" if outcome.remark else ""
        table.add_row(name, f"[{style}]{outcome.verdict}[/{style}]{remark}", escape(words.sentence(outcome)) or NONE)
    return table


def conditions_table(conditions: Sequence[Sequence[str]]) -> Table:
    """How the runs behind the verdicts were trained."""
    columns = [Column(column, overflow="fold") for column in COLUMNS]
    title = "How the runs were trained"
    table = Table(*columns, title=title, title_justify="left", caption=NOTE, caption_justify="left")
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
