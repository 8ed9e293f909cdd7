"""What ``lmzoo check`` found, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..errors import ArgumentError
from ..layers.testing import Candidate, Outcome
from ..models.contract import described
from .config import finite, write_atomically
from .environment import environment

_WORDS = {
    "kept": Text("kept", style="green"),
    "broken": Text("BROKEN", style="bold red"),
    "skipped": Text("-", style="dim"),
}


def show(console: Console, slot: str, candidate: Candidate, outcomes: Sequence[Outcome]) -> None:
    """A table of all promises, what to do about the broken ones, and the count."""
    given = ", ".join(f"{name}={_short(value)}" for name, value in candidate.arguments.items())
    console.print(Text(f"{candidate.part.__name__}({given}), slot {slot}", style="bold"))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("name", no_wrap=True, style="dim")
    table.add_column("promise")
    table.add_column("s", justify="right", no_wrap=True)
    for outcome in outcomes:
        text = Text(outcome.promise.text)
        if outcome.status == "skipped":
            text.append(f" (not tried: {outcome.seen})", style="dim")
        table.add_row(_WORDS[outcome.status], outcome.promise.name, text, f"{outcome.seconds:.1f}")
    console.print(table)
    broken = [outcome for outcome in outcomes if outcome.status == "broken"]
    for outcome in broken:
        console.print(Text.assemble((outcome.promise.name, "bold red"), ": ", outcome.promise.text))
        details = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
        place = f" (at {outcome.where})" if outcome.where else ""
        for what, sentence in (
            ("seen", outcome.seen + place),
            ("means", outcome.promise.means),
            ("do", outcome.promise.advice),
        ):
            details.add_row(Text(what, style="dim"), Text(sentence))
        console.print(Padding(details, (0, 0, 1, 2)))
    tried = sum(outcome.status != "skipped" for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    kept = f"{tried - len(broken)} of {tried} promises kept, in {seconds:.1f} s"
    console.print(Text(kept, style="bold red" if broken else "bold green"))


def write_json(file: Path, slot: str, candidate: Candidate, outcomes: Sequence[Outcome]) -> None:
    """The same as one JSON object, with the versions that it was found with."""
    try:
        part: Any = described(candidate)
    except ArgumentError:  # an argument is not kept, or has no JSON form; the table says so
        part = {"class_path": f"{candidate.part.__module__}.{candidate.part.__qualname__}"}
    content = {
        "part": part,
        "slot": slot,
        "arguments": {name: _plain(value) for name, value in candidate.arguments.items()},
        "kept": all(outcome.status != "broken" for outcome in outcomes),
        "promises": [
            {
                "name": outcome.promise.name,
                "promise": outcome.promise.text,
                "status": outcome.status,
                "seconds": outcome.seconds,
                "seen": outcome.seen or None,
                "where": outcome.where,
                "means": outcome.promise.means,
                "advice": outcome.promise.advice,
            }
            for outcome in outcomes
        ],
        "environment": environment(),
    }
    write_atomically(file, json.dumps(finite(content), indent=2) + "\n")


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | list | dict | None) else repr(value)


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{text[:37]}..."
