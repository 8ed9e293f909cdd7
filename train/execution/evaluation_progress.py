"""What a person sees while finished runs are evaluated."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..report.formats import clock

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
        self._bars = Progress(
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
