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

from ...errors import ConfigError
from ..config import write_yaml
from ..runs.folder import RunFolder
from ..runs.load import Run, load_run
from .comparison import PlannedRun
from .executors import Executor, LocalExecutor, Work, needs_of
from .pool import Pool
from .progress import MetricsTail, Progress


class Training:
    """``lmzoo fit`` for one planned run, its output going to the run's ``log.txt``.

    Args:
        run: what to run.
        progress: told what becomes of it.
        command: the words before ``--config``.
        allow_classes: passed on to the run.

    Attributes:
        outcome: what the run's folder holds after its end; None before.
    """

    def __init__(
        self, run: PlannedRun, progress: Progress, *, command: Sequence[str], allow_classes: bool = False
    ) -> None:
        self.run = run
        self.progress = progress
        self.command = command
        self.allow_classes = allow_classes
        self.outcome: Run | None = None
        self._tail = MetricsTail(run.folder / "metrics.jsonl")

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run.folder

    def start(self, executor: Executor) -> Work | None:
        """Hand the run over, unless a process that outlived an earlier call has finished it."""
        folder = RunFolder(self.folder.resolve())
        if folder.finished:
            self.progress.skipped(self.run)
            return None
        folder.folder.mkdir(parents=True, exist_ok=True)
        # a failure of an earlier attempt says nothing about this one
        folder.failure_file.unlink(missing_ok=True)
        write_yaml(folder.config_file, self.run.config)
        words = [*self.command, "--config", str(folder.config_file), "--run_dir", str(folder.folder)]
        words += ["--allow_classes"] if self.allow_classes else []
        return executor.start(words, folder.folder / "log.txt", needs_of(self.run.config))

    def delayed(self) -> None:
        self.progress.delayed(self.run)

    def begun(self) -> None:
        self.progress.started(self.run)

    def going_on(self) -> None:
        self._tail.poll()
        self.progress.going_on(self.run, self._tail)

    def ended(self, reason: str, seconds: float) -> None:
        """Look at what the run has left. One that ended without saying why gets its failure written down."""
        self.outcome = load_run(self.folder)
        if self.outcome.state == "unfinished":
            RunFolder(self.folder).fail(reason or "the process ended without an error, and without results")
            self.outcome = load_run(self.folder)
        self.progress.ended(self.run, self.outcome, seconds)


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
