"""Carrying out the runs of a comparison, one after another, each in a process of its own."""

from __future__ import annotations

import contextlib
import fcntl
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from .child import Child
from .compare_progress import Progress
from .comparison import PlannedRun
from .config import ConfigError
from .metrics_tail import MetricsTail
from .report.load import Run
from .run import Run as RunFolder

_POLL_SECONDS = 0.5


class Interrupted(BaseException):
    """The process was told to end by a signal; like KeyboardInterrupt no ordinary handler should catch it."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)


def run_all(
    runs: Sequence[PlannedRun], progress: Progress, *, command: list[str] | None = None, allow_classes: bool = False
) -> list[Run]:
    """Make every run that is not finished yet; returns those that failed. A failed run does not stop the others.

    Args:
        runs: in the order in which to make them.
        progress: told what happens.
        command: the words that start a run, for :class:`Child`.
        allow_classes: passed on to the runs.

    Raises:
        KeyboardInterrupt, Interrupted: after the child that was running has been ended.
    """
    failed: list[Run] = []
    with progress:
        for run in runs:
            if RunFolder(run.folder).finished:
                progress.skipped(run)
                continue
            outcome, seconds = _run_one(run, progress, command, allow_classes)
            progress.ended(run, outcome, seconds)
            if outcome.state != "finished":
                failed.append(outcome)
    return failed


def _run_one(run: PlannedRun, progress: Progress, command: list[str] | None, allow_classes: bool) -> tuple[Run, float]:
    tail = MetricsTail(run.folder / "metrics.jsonl")
    child = Child(run, command=command, allow_classes=allow_classes)
    try:
        progress.started(run)
        while not child.wait(_POLL_SECONDS):
            tail.poll()
            progress.going_on(run, tail)
        tail.poll()
        progress.going_on(run, tail)
    finally:
        child.stop()
    return child.outcome(), time.monotonic() - child.started


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into :class:`Interrupted`, so that children are ended before this process is."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise Interrupted(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def sole_user(output: Path) -> Iterator[None]:
    """Hold the folder, so that two comparisons never write into it at once. Raises ConfigError if another holds it."""
    output.mkdir(parents=True, exist_ok=True)
    with (output / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"another comparison is running in {output}; wait for it, or give another --output"
            ) from None
        yield
