"""Trainings as jobs, several at once, and what ends them in order: signals, and the lock of a comparison's folder."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, NoReturn

from rich.console import Console

from ...errors import ConfigError
from ..config import write_yaml
from ..figures.formats import NONE, clock
from ..runs.folder import RunFolder
from ..runs.load import Run, load_run
from ..storage import held
from .comparison import PlannedRun
from .display import Display
from .executors import Executor, LocalExecutor, Work, needs_of
from .jobs import Job, carry_out

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
        first, newest = self._first, self.train  # the display asks from a thread of its own
        if steps is None or newest is None or first is None:
            return math.nan
        done = newest["step"] - first["step"]
        if done <= 0:
            return math.nan
        return float((newest["seconds"] - first["seconds"]) / done * (steps - newest["step"]))

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


class Training(Job):
    """``lmzoo fit`` for one planned run.

    Args:
        run: what to run.
        command: the words before ``--config``.
        allow_classes: passed on to the run.

    Attributes:
        outcome: what the run's folder holds after its end; None before.
    """

    finished_word: ClassVar[str] = "finished"
    columns: ClassVar[tuple[str, ...]] = ("loss", "validation", "tokens/s")

    def __init__(self, run: PlannedRun, *, command: Sequence[str], allow_classes: bool = False) -> None:
        folder = run.folder.resolve()
        words = [*command, "--config", str(folder / "config.yaml"), "--run_dir", str(folder)]
        words += ["--allow_classes"] if allow_classes else []
        super().__init__(run.label, run.variant, folder, words, needs_of(run.config), run.steps)
        self.run = run
        self.outcome: Run | None = None
        self.tail = MetricsTail(folder / "metrics.jsonl")

    def skip(self) -> bool:
        """Whether the run has finished before, so that there is nothing to do."""
        if not RunFolder(self.folder).finished:
            return False
        self.look()
        self.state = "finished before"
        return True

    def start(self, executor: Executor) -> Work | None:
        """Hand the run over, unless a process that outlived an earlier call has finished it."""
        if self.skip():
            return None
        folder = RunFolder(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        # a failure of an earlier attempt says nothing about this one
        folder.failure_file.unlink(missing_ok=True)
        write_yaml(folder.config_file, self.run.config)
        return super().start(executor)

    def look(self) -> None:
        self.tail.poll()
        self.done = int(self.tail.train["step"]) if self.tail.train else 0
        if self.going_on:
            self.state = "evaluating" if self.steps is not None and self.done >= self.steps else "running"

    def end(self, reason: str) -> None:
        """Look at what the run has left. One that ended without saying why gets its failure written down."""
        self.outcome = load_run(self.folder)
        if self.outcome.state == "unfinished":
            RunFolder(self.folder).fail(reason or "the process ended without an error, and without results")
            self.outcome = load_run(self.folder)
        self.reason = self.outcome.reason
        self.state = "finished" if self.outcome.state == "finished" else "failed"

    @property
    def figures(self) -> tuple[str, ...]:
        train, validation = self.tail.train, self.tail.validation
        return (
            f"{train['cross_entropy']:.3f}" if train else NONE,
            f"{validation['cross_entropy']:.3f}" if validation else NONE,
            f"{train['tokens_per_second']:,.0f}" if train else NONE,
        )

    @property
    def news(self) -> str:
        if self.state == "evaluating":
            return "trained, evaluating"
        if self.tail.train is None:
            return ""
        loss, _, speed = self.figures
        return f"step {self.done}/{self.steps or '?'}, loss {loss}, {speed} tokens/s, {clock(self.seconds_left)} left"

    @property
    def seconds_left(self) -> float:
        return self.tail.seconds_left(self.steps)


def run_all(
    runs: Sequence[PlannedRun],
    console: Console,
    *,
    executor: Executor | None = None,
    command: Sequence[str] = (sys.executable, "-m", "lmzoo.train", "fit"),
    allow_classes: bool = False,
) -> list[Run]:
    """Make every run that is not finished yet; returns those that failed. A failed run does not stop the others.

    Args:
        runs: in the order in which to begin them.
        console: where to show what happens.
        executor: where they are made, and how many at once; one after another on this machine if None.
        command: the words that start a run; this Python's ``lmzoo fit`` by default.
        allow_classes: passed on to the runs.

    Raises:
        ConfigError: a run needs what no machine of the executor has.
        KeyboardInterrupt, Interrupted: after the runs that were going on have been ended.
    """
    executor = executor or LocalExecutor()
    jobs = [Training(run, command=command, allow_classes=allow_classes) for run in runs]
    missing = [job for job in jobs if not job.skip()]
    for job in missing:
        executor.check(job.needs)
    with Display(jobs, console).shown() as tell:
        for job in jobs:
            if job not in missing:
                tell(job)
        carry_out(missing, executor, tell)
    return [job.outcome for job in missing if job.outcome is not None and job.state == "failed"]


class Interrupted(BaseException):
    """The process was told to end by a signal; like KeyboardInterrupt no ordinary handler should catch it."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)


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


def sole_user(output: Path) -> contextlib.AbstractContextManager[None]:
    """Hold the folder, so that two comparisons never write into it at once. Raises ConfigError if another holds it."""
    message = f"another comparison is running in {output}; wait for it, or give another --output"
    return held(output, ConfigError(message))
