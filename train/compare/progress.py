"""What a person sees while a comparison runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from rich import progress as bars
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress_bar import ProgressBar
from rich.table import Table

from ..figures.formats import NONE, clock
from ..runs.load import Run
from .comparison import PlannedRun

Row = dict[str, Any]


class MetricsTail:
    """The newest rows of a ``metrics.jsonl`` that another process is writing.

    Half a line is left until its end has come; a file that was replaced (a resumed run cuts off rows later than its
    checkpoint) is read from its beginning.

    Attributes:
        train: the newest training row.
        validation: the newest validation row.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.train: Row | None = None
        self.validation: Row | None = None
        self._first: Row | None = None
        self._inode = -1
        self._offset = 0

    def poll(self) -> None:
        """Read what is new."""
        try:
            with self.file.open("rb") as stream:
                inode = self.file.stat().st_ino
                if inode != self._inode:
                    self._inode, self._offset, self._first = inode, 0, None
                stream.seek(self._offset)
                new = stream.read()
        except FileNotFoundError:
            return
        complete = new[: new.rfind(b"\n") + 1]
        self._offset += len(complete)
        for line in complete.splitlines():
            self._take(line)

    def seconds_left(self, steps: int | None) -> float:
        """Training time until ``steps`` at the pace of the rows seen, validation not counted; NaN if not known."""
        if steps is None or self.train is None or self._first is None:
            return math.nan
        done = self.train["step"] - self._first["step"]
        if done <= 0:
            return math.nan
        return float((self.train["seconds"] - self._first["seconds"]) / done * (steps - self.train["step"]))

    def _take(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            split = row["split"]
        except (ValueError, KeyError, TypeError):
            return  # cut off by a kill; the report counts such lines
        if split == "train":
            self._first = self._first or row
            self.train = row
        elif split == "validation":
            self.validation = row


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


# Seconds over which a bar's pace is measured; an evaluation's parts may each take minutes.
_PACE_SECONDS = 3600.0


class EvaluationProgress:
    """On a terminal a bar for all evaluations and one for each that is going on; everywhere a line at each end.

    Args:
        steps: parts of all evaluations together.
        evaluations: how many there are.
        console: where to show it.
    """

    def __init__(self, steps: int, evaluations: int, console: Console) -> None:
        self._console = console
        self._evaluations = evaluations
        self._ended = 0
        self._done = 0
        self._now: dict[str, tuple[TaskID, int]] = {}
        self._bars = bars.Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            speed_estimate_period=_PACE_SECONDS,
        )
        self._all = self._bars.add_task("all evaluations", total=steps, visible=evaluations > 0)

    def __enter__(self) -> Self:
        self._bars.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.__exit__(kind, error, trace)

    def delayed(self, name: str) -> None:
        """Called once for an evaluation of a run in whose folder a process of an earlier call is still at work."""
        said = f"{name} waits for a process of an earlier call, which is still at work in the run's folder"
        self._console.print(said, markup=False, highlight=False)

    def started(self, name: str, steps: int) -> None:
        """Called when an evaluation of so many parts has begun."""
        self._now[name] = self._bars.add_task(f"evaluating {name}", total=steps), 0

    def going_on(self, name: str, done: int) -> None:
        """Called about twice a second, with how many parts are done."""
        task, _ = self._now[name]
        self._now[name] = task, done
        self._bars.update(task, completed=done)
        self._show()

    def ended(self, name: str, steps: int, reason: str, seconds: float) -> None:
        """Called after the end, with why it failed (empty if it did not)."""
        if name in self._now:
            self._bars.remove_task(self._now.pop(name)[0])
        self._ended += 1
        self._done += steps
        self._show()
        said = f"FAILED: {reason}" if reason else f"done in {clock(seconds)}"
        self._console.print(f"[{self._ended}/{self._evaluations}] {name}: {said}", markup=False, highlight=False)

    def _show(self) -> None:
        self._bars.update(self._all, completed=self._done + sum(done for _, done in self._now.values()))


def time_left(
    running: Sequence[tuple[float, float]], waiting: Sequence[str], done: Mapping[str, Sequence[float]]
) -> float:
    """Seconds until the last run has ended, as many going on at once as now; NaN where nothing is known yet.

    A run is expected to take as long as the mean of its variant's finished runs, else of all finished runs, else as
    those going on will have taken by their own estimate. Whoever ends first takes the next that waits.

    Args:
        running: for each run going on, the seconds it has taken and those it still needs (NaN if not known).
        waiting: the variants of the runs that have not begun, in their order.
        done: for each variant the seconds that its finished runs took.
    """
    taken = [seconds for each in done.values() for seconds in each]
    taken = taken or [gone + left for gone, left in running if math.isfinite(left)]
    usual = statistics.fmean(taken) if taken else math.nan
    free = sorted(left if math.isfinite(left) else max(usual - gone, 0.0) for gone, left in running) or [0.0]
    last = max(free)
    for variant in waiting:
        seconds = statistics.fmean(done[variant]) if done.get(variant) else usual
        free = sorted([free[0] + seconds, *free[1:]])
        last = max(last, free[-1])
    # a comparison with NaN is never true, so that max and sorted would hide one
    return math.nan if any(math.isnan(end) for end in free) else last
