"""What a person sees while a comparison runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console

from .comparison import PlannedRun
from .execution.live import LiveProgress
from .execution.metrics_tail import MetricsTail
from .report.formats import clock
from .report.load import Run

# Seconds between two lines about a run where there is no terminal.
LINE_EVERY = 15.0


class Progress(Protocol):
    """Told what happens to the runs, several of which may go on at once."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def skipped(self, run: PlannedRun) -> None:
        """Called for a run that was finished before."""

    def delayed(self, run: PlannedRun) -> None:
        """Called once for a run in whose folder a process of an earlier call is still at work."""

    def started(self, run: PlannedRun) -> None:
        """Called when the run's process has begun."""

    def going_on(self, run: PlannedRun, tail: MetricsTail) -> None:
        """Called about twice a second."""

    def ended(self, run: PlannedRun, outcome: Run, seconds: float) -> None:
        """Called when the run has finished or failed."""


class PlainProgress:
    """Lines, for logs: one a run every so many seconds, where it says something new."""

    def __init__(self, runs: Sequence[PlannedRun], console: Console, every_seconds: float = LINE_EVERY) -> None:
        self.every_seconds = every_seconds
        self._runs = list(runs)
        self._console = console
        self._last: dict[Path, tuple[float, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def skipped(self, run: PlannedRun) -> None:
        """Called for a run that was finished before."""
        self._say(run, "finished already")

    def delayed(self, run: PlannedRun) -> None:
        """Called once for a run in whose folder a process of an earlier call is still at work."""
        self._say(run, "waits for a process of an earlier call, which is still at work in its folder")

    def started(self, run: PlannedRun) -> None:
        """Called when the run's process has begun."""
        self._say(run, "started")

    def going_on(self, run: PlannedRun, tail: MetricsTail) -> None:
        """Called about twice a second."""
        when, before = self._last[run.folder]
        row = tail.train
        if row is None or time.monotonic() - when < self.every_seconds:
            return
        said = (
            f"step {row['step']}/{run.steps or '?'}, loss {row['cross_entropy']:.3f}, "
            f"{row['tokens_per_second']:,.0f} tokens/s, {clock(tail.seconds_left(run.steps))} left"
        )
        if row["step"] == run.steps:
            said = "trained, evaluating"
        if said != before:
            self._say(run, said)

    def ended(self, run: PlannedRun, outcome: Run, seconds: float) -> None:
        """Called when the run has finished or failed."""
        said = f"finished in {clock(seconds)}" if outcome.state == "finished" else f"FAILED: {outcome.reason}"
        self._say(run, said)

    def _say(self, run: PlannedRun, what: str) -> None:
        self._last[run.folder] = time.monotonic(), what
        place = self._runs.index(run) + 1
        self._console.print(f"[{place}/{len(self._runs)}] {run.label}: {what}", markup=False, highlight=False)


def progress_for(runs: Sequence[PlannedRun], console: Console) -> Progress:
    """The live table on a terminal, lines elsewhere."""
    return LiveProgress(runs, console) if console.is_terminal else PlainProgress(runs, console)
