"""What a person sees of jobs that are carried out: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from ..figures.formats import clock
from .jobs import Job, State

# Seconds between two lines about a job where there is no terminal.
LINE_EVERY = 15.0
# What a job may be, those first that are shown first where a terminal has fewer lines than there are jobs.
_STYLES: dict[State, str] = {
    "running": "",
    "evaluating": "cyan",
    "failed": "bold red",
    "interrupted": "yellow",
    "waiting": "dim",
    "finished": "green",
    "finished before": "green",
}
# Lines of a terminal that are not for rows: the head, the caption, "more", what stands above.
_OTHER_LINES = 6
# Characters of columns: of a bar of progress, of figures, of a state with its time, and at least of a run's name.
_BAR, _FIGURE, _STATE, _NAME = 24, 8, 17, 28


class Display:
    """Shows jobs while they are carried out.

    On a terminal it is a table with a row for each job: how far it is, its figures, the time left and its state; the
    time left of all stands below. Where the terminal has too few lines, jobs that go on or failed come first.
    Elsewhere it prints a line when a job begins or ends, and every so many seconds one that says something new.

    Args:
        jobs: all that will be told of.
        console: where to show them.
        every_seconds: the least time between two lines about a job that goes on.
    """

    def __init__(self, jobs: Sequence[Job], console: Console, every_seconds: float = LINE_EVERY) -> None:
        self.every_seconds = every_seconds
        self._jobs = list(jobs)
        self._columns = next((job.columns for job in jobs), ())
        self._console = console
        self._begin = time.monotonic()
        self._last: dict[Job, tuple[float, str]] = {}
        self._begun: set[Job] = set()
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._table)

    @contextlib.contextmanager
    def shown(self) -> Iterator[Callable[[Job], None]]:
        """Show the jobs for so long; gives :meth:`tell`, which has to hear of their changes."""
        with self._live if self._console.is_terminal and self._jobs else contextlib.nullcontext():
            yield self.tell

    def tell(self, job: Job) -> None:
        """Called when a job's state has changed, and about twice a second while it goes on."""
        if self._console.is_terminal:
            if job.state == "failed":
                self._console.print(f"[bold red]{escape(job.label)} failed:[/bold red] {escape(job.reason)}")
        elif line := self._line(job):
            self._last[job] = time.monotonic(), line
            place = f"[{self._jobs.index(job) + 1}/{len(self._jobs)}]"
            self._console.print(f"{place} {job.label}: {line}", markup=False, highlight=False)

    def _line(self, job: Job) -> str:
        """What a line would say of a job; empty where it is too early for one, or there is nothing new."""
        if job.state == "failed":
            return f"FAILED: {job.reason}"
        if job.state == "finished":
            return f"{job.finished_word} in {clock(job.seconds)}"
        if job.state == "finished before":
            return "finished already"
        if job.state == "waiting":
            return "waits for a process of an earlier call, which is still at work in its folder"
        if job not in self._begun:
            self._begun.add(job)
            return "started"
        when, before = self._last[job]
        news = job.news if time.monotonic() - when >= self.every_seconds else ""
        return "" if news == before else news

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), caption=self._caption(), caption_justify="left")
        # A line a job, since as many are shown as the terminal has lines: bars give way to names, then the figures.
        room = self._console.width - _STATE - 2 * (_FIGURE + 2) - 2
        of_figures = sum(max(len(column), _FIGURE) + 2 for column in self._columns)
        figures = self._columns if room - of_figures >= _NAME // 2 else ()
        room -= of_figures if figures else 0
        bars = room - _BAR - 2 >= _NAME
        room -= _BAR + 2 if bars else 0
        table.add_column("run", style="bold", no_wrap=True, max_width=max(room, _NAME // 2))
        if bars:
            table.add_column("", width=_BAR)
        for column in ("step", *figures, "left"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("state", no_wrap=True)
        shown = self._shown()
        for job in shown:
            self._add(table, job, bars=bars, figures=bool(figures))
        hidden = _states(self._jobs) - _states(shown)
        if hidden:
            blank = [""] * (len(table.columns) - 2)
            table.add_row(f"[dim]{sum(hidden.values())} more[/dim]", *blank, _counted(hidden))
        return table

    def _add(self, table: Table, job: Job, *, bars: bool, figures: bool) -> None:
        style = _STYLES[job.state]
        note = " for a process of an earlier call" if job.state == "waiting" and job.delayed else ""
        note = f" in {clock(job.seconds)}" if job.state == "finished" else note
        pulse = job.state == "running" and job.steps is None
        table.add_row(
            escape(job.label),
            *([ProgressBar(total=job.steps, completed=job.done, width=_BAR, pulse=pulse)] if bars else []),
            f"{job.done}/{job.steps}" if job.steps else str(job.done),
            *(job.figures if figures else ()),
            clock(job.seconds_left) if job.state == "running" else "",
            (f"[{style}]{job.state}[/{style}]" if style else job.state) + note,
        )

    def _shown(self) -> list[Job]:
        """The jobs that the terminal has lines for, in their order."""
        room = max(self._console.height - _OTHER_LINES, 1)
        order = list(_STYLES)
        first = sorted(self._jobs, key=lambda job: order.index(job.state))[:room]
        return [job for job in self._jobs if job in first]

    def _caption(self) -> str:
        now = time.monotonic()
        text = f"{_counted(_states(self._jobs))}; {clock(now - self._begin)} gone"
        running = [(now - job.began, job.seconds_left) for job in self._jobs if job.going_on]
        waiting = [job.kind for job in self._jobs if job.state == "waiting"]
        if running or waiting:
            done: dict[str, list[float]] = {}
            for job in self._jobs:
                if job.state == "finished":
                    done.setdefault(job.kind, []).append(job.seconds)
            text += f"; about {clock(time_left(running, waiting, done))} left"
        return text


def _states(jobs: Sequence[Job]) -> Counter[State]:
    return Counter(job.state for job in jobs)


def _counted(states: Counter[State]) -> str:
    """``2 running, 1 failed``."""
    return ", ".join(f"{states[state]} {state}" for state in _STYLES if states[state])


def time_left(
    running: Sequence[tuple[float, float]], waiting: Sequence[str], done: Mapping[str, Sequence[float]]
) -> float:
    """Seconds until the last job has ended, as many going on at once as now; NaN where nothing is known yet.

    A job is expected to take as long as the mean of its kind's finished jobs, else of all finished jobs, else as those
    going on will have taken by their own estimate. Whoever ends first takes the next that waits.

    Args:
        running: for each job going on, the seconds it has taken and those it still needs (NaN if not known).
        waiting: the kinds of the jobs that have not begun, in their order.
        done: for each kind the seconds that its finished jobs took.
    """
    taken = [seconds for each in done.values() for seconds in each]
    taken = taken or [gone + left for gone, left in running if math.isfinite(left)]
    usual = statistics.fmean(taken) if taken else math.nan
    free = sorted(left if math.isfinite(left) else max(usual - gone, 0.0) for gone, left in running) or [0.0]
    last = max(free)
    for kind in waiting:
        seconds = statistics.fmean(done[kind]) if done.get(kind) else usual
        free = sorted([free[0] + seconds, *free[1:]])
        last = max(last, free[-1])
    # a comparison with NaN is never true, so that max and sorted would hide one
    return math.nan if any(math.isnan(end) for end in free) else last
