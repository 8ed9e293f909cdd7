"""A table of all runs of a comparison that changes in place."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from ..comparison import PlannedRun
from ..report.formats import NONE, clock
from ..report.load import Run
from .metrics_tail import MetricsTail
from .time_left import time_left

# What a run may be, those first that are shown first where a terminal has fewer lines than there are runs.
_STYLES = {
    "running": "",
    "evaluating": "cyan",
    "failed": "bold red",
    "interrupted": "yellow",
    "waiting": "dim",
    "finished": "green",
    "finished before": "green",
}
# Lines of a terminal that are not for rows: the head, the caption, "more runs", what stands above.
_OTHER_LINES = 6


class LiveProgress:
    """A row a run: variant, seed, how far, losses, tokens/s, time left and state; the time left of all below.

    Where the terminal has too few lines for all runs, those that are going on or failed come before the others.

    Args:
        runs: all that will be told of.
        console: a terminal.
    """

    def __init__(self, runs: Sequence[PlannedRun], console: Console) -> None:
        self._runs = list(runs)
        self._state = {run.folder: "waiting" for run in runs}
        self._note: dict[Path, str] = {}
        self._tails: dict[Path, MetricsTail] = {}
        self._began: dict[Path, float] = {}
        self._durations: dict[str, list[float]] = {}
        self._begin = time.monotonic()
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._table)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for run in self._going_on():
            self._state[run.folder] = "interrupted"
        self._live.__exit__(kind, error, trace)

    def skipped(self, run: PlannedRun) -> None:
        """Called for a run that was finished before."""
        tail = MetricsTail(run.folder / "metrics.jsonl")
        tail.poll()
        self._tails[run.folder] = tail
        self._state[run.folder] = "finished before"

    def delayed(self, run: PlannedRun) -> None:
        """Called once for a run in whose folder a process of an earlier call is still at work."""
        self._note[run.folder] = " for a process of an earlier call"

    def started(self, run: PlannedRun) -> None:
        """Called when the run's process has begun."""
        self._state[run.folder] = "running"
        self._note.pop(run.folder, None)
        self._began[run.folder] = time.monotonic()

    def going_on(self, run: PlannedRun, tail: MetricsTail) -> None:
        """Called about twice a second."""
        self._tails[run.folder] = tail
        trained = run.steps is not None and tail.train is not None and tail.train["step"] >= run.steps
        self._state[run.folder] = "evaluating" if trained else "running"

    def ended(self, run: PlannedRun, outcome: Run, seconds: float) -> None:
        """Called when the run has finished or failed."""
        if outcome.state == "finished":
            self._durations.setdefault(run.variant, []).append(seconds)
            self._state[run.folder], self._note[run.folder] = "finished", f" in {clock(seconds)}"
        else:
            self._state[run.folder] = "failed"
            self._console.print(f"[bold red]{escape(run.label)} failed:[/bold red] {escape(outcome.reason)}")

    def _going_on(self) -> list[PlannedRun]:
        return [run for run in self._runs if self._state[run.folder] in ("running", "evaluating")]

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), caption=self._caption(), caption_justify="left")
        table.add_column("variant", style="bold")
        table.add_column("seed")
        table.add_column("", width=24)
        for column in ("step", "loss", "validation", "tokens/s", "left"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("state")
        shown = self._shown()
        for run in shown:
            self._add(table, run)
        hidden = Counter(self._state.values()) - Counter(self._state[run.folder] for run in shown)
        if hidden:
            table.add_row(f"[dim]{sum(hidden.values())} more[/dim]", *[""] * 7, _counted(hidden))
        return table

    def _add(self, table: Table, run: PlannedRun) -> None:
        tail = self._tails.get(run.folder)
        row = tail.train if tail else None
        step = int(row["step"]) if row else 0
        state = self._state[run.folder]
        style = _STYLES[state]
        table.add_row(
            escape(run.variant),
            str(run.seed),
            ProgressBar(total=run.steps, completed=step, width=24, pulse=state == "running" and run.steps is None),
            f"{step}/{run.steps}" if run.steps else str(step),
            f"{row['cross_entropy']:.3f}" if row else NONE,
            f"{tail.validation['cross_entropy']:.3f}" if tail and tail.validation else NONE,
            f"{row['tokens_per_second']:,.0f}" if row else NONE,
            clock(tail.seconds_left(run.steps)) if tail and state == "running" else "",
            (f"[{style}]{state}[/{style}]" if style else state) + self._note.get(run.folder, ""),
        )

    def _shown(self) -> list[PlannedRun]:
        """The runs that the terminal has lines for, in their order."""
        room = max(self._console.height - _OTHER_LINES, 1)
        if len(self._runs) <= room:
            return self._runs
        order = list(_STYLES)
        first = sorted(self._runs, key=lambda run: order.index(self._state[run.folder]))[:room]
        chosen = {run.folder for run in first}
        return [run for run in self._runs if run.folder in chosen]

    def _caption(self) -> str:
        states = Counter(self._state.values())
        now = time.monotonic()
        text = f"{_counted(states)}; {clock(now - self._begin)} gone"
        running = []
        for run in self._going_on():
            tail = self._tails.get(run.folder)
            left = tail.seconds_left(run.steps) if tail else math.nan
            running.append((now - self._began[run.folder], left))
        waiting = [run.variant for run in self._runs if self._state[run.folder] == "waiting"]
        if running or waiting:
            text += f"; about {clock(time_left(running, waiting, self._durations))} left"
        return text


def _counted(states: Counter[str]) -> str:
    """``2 running, 1 failed``."""
    return ", ".join(f"{states[state]} {state}" for state in _STYLES if states[state])
