"""Carrying out the runs of a comparison, several at once, each in a process of its own."""

from __future__ import annotations

import contextlib
import fcntl
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from .compare_progress import Progress
from .comparison import PlannedRun
from .config import ConfigError
from .execution.executor import Executor, LocalExecutor
from .execution.needs import needs_of
from .execution.pool import Pool
from .execution.training import Training
from .report.load import Run
from .run import Run as RunFolder


class Interrupted(BaseException):
    """The process was told to end by a signal; like KeyboardInterrupt no ordinary handler should catch it."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)


def run_all(
    runs: Sequence[PlannedRun],
    progress: Progress,
    *,
    executor: Executor | None = None,
    command: Sequence[str] = (sys.executable, "-m", "lmzoo.train", "fit"),
    allow_classes: bool = False,
) -> list[Run]:
    """Make every run that is not finished yet; returns those that failed. A failed run does not stop the others.

    Args:
        runs: in the order in which to begin them.
        progress: told what happens.
        executor: where they are made, and how many at once; one after another on this machine if None.
        command: the words that start a run; this Python's ``lmzoo fit`` by default.
        allow_classes: passed on to the runs.

    Raises:
        ConfigError: a run needs what no machine of the executor has.
        KeyboardInterrupt, Interrupted: after the runs that were going on have been ended.
    """
    executor = executor or LocalExecutor()
    jobs = [Training(run, progress, command=command, allow_classes=allow_classes) for run in runs]
    missing = [job for job in jobs if not RunFolder(job.folder).finished]
    for job in missing:
        executor.check(needs_of(job.run.config))
    with progress:
        for job in jobs:
            if job not in missing:
                progress.skipped(job.run)
        Pool(executor).run(missing)
    return [job.outcome for job in missing if job.outcome is not None and job.outcome.state != "finished"]


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
