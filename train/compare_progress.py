"""What a person sees while a comparison runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from .comparison import PlannedRun
from .metrics_tail import MetricsTail
from .report.formats import NONE, clock
from .report.load import Run

# Seconds between two lines about a run where there is no terminal.
LINE_EVERY = 15.0


class Progress(Protocol):
    """Told what happens to the runs, in their order."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def skipped(self, run: PlannedRun) -> None:
        """Called for a run that was finished before."""

    def started(self, run: PlannedRun) -> None:
        """Called when the run's process has begun."""

    def going_on(self, run: PlannedRun, tail: MetricsTail) -> None:
        """Called about twice a second."""

    def ended(self, run: PlannedRun, outcome: Run, seconds: float) -> None:
        """Called when the run has finished or failed."""


class PlainProgress:
    """Lines, for logs."""

    def __init__(self, runs: Sequence[PlannedRun], console: Console) -> None:
        self._runs = list(runs)
        self._console = console
        self._last = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def skipped(self, run: PlannedRun) -> None:
        """Called for a run that was finished before."""
        self._say(run, "finished already")

    def started(self, run: PlannedRun) -> None:
        """Called when the run's process has begun."""
        self._last = time.monotonic()
        self._say(run, "started")

    def going_on(self, run: PlannedRun, tail: MetricsTail) -> None:
        """Called about twice a second."""
        if tail.train is not None and time.monotonic() - self._last >= LINE_EVERY:
            self._last = time.monotonic()
            row = tail.train
            self._say(
                run,
                f"step {row['step']}/{run.steps or '?'}, loss {row['cross_entropy']:.3f}, "
                f"{row['tokens_per_second']:,.0f} tokens/s, {clock(tail.seconds_left(run.steps))} left",
            )

    def ended(self, run: PlannedRun, outcome: Run, seconds: float) -> None:
        """Called when the run has finished or failed."""
        said = f"finished in {clock(seconds)}" if outcome.state == "finished" else f"FAILED: {outcome.reason}"
        self._say(run, said)

    def _say(self, run: PlannedRun, what: str) -> None:
        place = self._runs.index(run) + 1
        self._console.print(f"[{place}/{len(self._runs)}] {run.label}: {what}", markup=False, highlight=False)


class LiveProgress:
    """A table that changes in place, a row a run."""

    def __init__(self, runs: Sequence[PlannedRun], console: Console) -> None:
        self._runs = list(runs)
        self._state = {run.label: "[dim]waiting[/dim]" for run in runs}
        self._tails: dict[str, MetricsTail] = {}
        self._begin = time.monotonic()
        self._durations: list[float] = []
        self._to_run = len(runs)
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._table)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for label, state in self._state.items():
            if state == "running":
                self._state[label] = "[yellow]interrupted[/yellow]"
        self._live.__exit__(kind, error, trace)

    def skipped(self, run: PlannedRun) -> None:
        """Called for a run that was finished before."""
        self._to_run -= 1
        tail = MetricsTail(run.folder / "metrics.jsonl")
        tail.poll()
        self._tails[run.label] = tail
        self._state[run.label] = "[green]finished before[/green]"

    def started(self, run: PlannedRun) -> None:
        """Called when the run's process has begun."""
        self._state[run.label] = "running"

    def going_on(self, run: PlannedRun, tail: MetricsTail) -> None:
        """Called about twice a second."""
        self._tails[run.label] = tail

    def ended(self, run: PlannedRun, outcome: Run, seconds: float) -> None:
        """Called when the run has finished or failed."""
        self._durations.append(seconds)
        if outcome.state == "finished":
            self._state[run.label] = f"[green]finished[/green] in {clock(seconds)}"
        else:
            self._state[run.label] = "[bold red]failed[/bold red]"
            self._console.print(f"[bold red]{escape(run.label)} failed:[/bold red] {escape(outcome.reason)}")

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), caption=self._caption(), caption_justify="left")
        for column in ("variant", "seed"):
            table.add_column(column, style="bold" if column == "variant" else "")
        table.add_column("", width=24)
        for column in ("step", "loss", "validation", "tokens/s", "left"):
            table.add_column(column, justify="right")
        table.add_column("state")
        for run in self._runs:
            tail = self._tails.get(run.label)
            row = tail.train if tail else None
            step = int(row["step"]) if row else 0
            running = self._state[run.label] == "running"
            table.add_row(
                escape(run.variant),
                str(run.seed),
                ProgressBar(total=run.steps or None, completed=step, width=24, pulse=running and run.steps is None),
                f"{step}/{run.steps}" if run.steps else str(step),
                f"{row['cross_entropy']:.3f}" if row else NONE,
                f"{tail.validation['cross_entropy']:.3f}" if tail and tail.validation else NONE,
                f"{row['tokens_per_second']:,.0f}" if row else NONE,
                clock(tail.seconds_left(run.steps)) if tail and running else "",
                self._state[run.label],
            )
        return table

    def _caption(self) -> str:
        done = len(self._durations)
        text = f"{done} of {self._to_run} runs done, {clock(time.monotonic() - self._begin)} gone"
        if done and done < self._to_run:
            mean = sum(self._durations) / done
            # the run going on counts as whole until it ends: an estimate that errs towards longer
            text += f"; about {clock(mean * (self._to_run - done))} left"
        return text


def progress_for(runs: Sequence[PlannedRun], console: Console) -> Progress:
    """The live table on a terminal, lines elsewhere."""
    return LiveProgress(runs, console) if console.is_terminal else PlainProgress(runs, console)
