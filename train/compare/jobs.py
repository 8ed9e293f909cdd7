"""Jobs, trainings and evaluations alike, carried out several at once whatever becomes of each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ..runs.folder import RunFolder
from .executors import Executor, Needs, Work

POLL_SECONDS = 0.5

State = Literal["waiting", "running", "evaluating", "interrupted", "failed", "finished", "finished before"]


@dataclass(eq=False)
class Job:
    """A command that works in a run's folder, its output going to the end of ``log.txt`` there.

    Attributes:
        label: what messages call it.
        kind: jobs of one kind are expected to take equally long.
        folder: the run's; no two jobs work in one at once.
        words: the command.
        needs: what it takes of a machine.
        steps: those of the whole job; None where that is not known.
        count: tells how many steps are done.
        state: what has become of it.
        delayed: whether a process, left over from an earlier call, holds the folder.
        done: steps that were done when :meth:`look` was called last.
        done_before: steps that were done when it began, by an earlier call.
        began: when it began, by :func:`time.monotonic`.
        seconds: how long it took, once it has ended.
        reason: why it failed; empty if it did not.
    """

    label: str
    kind: str
    folder: Path
    words: Sequence[str]
    needs: Needs
    steps: int | None
    count: Callable[[], int] = lambda: 0
    state: State = "waiting"
    delayed: bool = False
    done: int = 0
    done_before: int = 0
    began: float = math.nan
    seconds: float = 0.0
    reason: str = ""

    # what a display calls the end of such jobs, and the figures that it shows of them
    finished_word: ClassVar[str] = "done"
    columns: ClassVar[tuple[str, ...]] = ()

    def start(self, executor: Executor) -> Work | None:
        """Hand the command over; None where nothing is left to do. The folder is free when this is called."""
        return executor.start(self.words, self.folder / "log.txt", self.needs)

    def look(self) -> None:
        """Look how far the command has come."""
        self.done = self.count()

    def end(self, reason: str) -> None:
        """Settle what has become of the job after its command has ended, by itself if ``reason`` is empty."""
        self.state = "failed" if reason else "finished"
        self.reason = reason

    @property
    def figures(self) -> tuple[str, ...]:
        """What stands in :attr:`columns`."""
        return ()

    @property
    def news(self) -> str:
        """How far a job that goes on has come, in words; empty where there is nothing to tell."""
        return ""

    @property
    def seconds_left(self) -> float:
        """Seconds until the last step at the pace so far; NaN if not known."""
        done = self.done  # the display asks from a thread of its own
        if self.steps is None or done <= self.done_before:
            return math.nan
        return (time.monotonic() - self.began) / (done - self.done_before) * (self.steps - done)

    @property
    def going_on(self) -> bool:
        """Whether its command has begun and not ended."""
        return self.state in ("running", "evaluating")


def carry_out(jobs: Sequence[Job], executor: Executor, tell: Callable[[Job], None]) -> None:
    """Carry out jobs in their order, as many at once as the executor has slots; returns when the last has ended.

    A job that fails does not stop the others, nor does one that cannot be started. On the way out, by an exception
    such as KeyboardInterrupt too, whatever still runs is ended: all of it is asked first, then waited for.

    Args:
        jobs: what to carry out.
        executor: what starts their commands.
        tell: called with a job when its state has changed, and about twice a second while it goes on.
    """
    waiting, works = list(jobs), dict[Job, Work]()
    try:
        while waiting or works:
            while len(works) < executor.slots and (job := _next(waiting, {job.folder for job in works}, tell)):
                waiting.remove(job)
                _start(job, executor, works, tell)
            if not works:
                time.sleep(POLL_SECONDS)
                continue
            next(iter(works.values())).wait(POLL_SECONDS)
            for job, work in list(works.items()):
                if _has_ended(job, work, tell):
                    del works[job]
    finally:
        for work in works.values():
            work.ask()
        for job, work in works.items():
            work.stop()
            job.state = "interrupted"


def _next(waiting: Sequence[Job], busy: set[Path], tell: Callable[[Job], None]) -> Job | None:
    """The first job whose folder nobody works in."""
    for job in waiting:
        if job.folder in busy:
            continue
        if not RunFolder(job.folder).in_use:
            return job
        if not any(other.delayed for other in waiting if other.folder == job.folder):
            job.delayed = True
            tell(job)
    return None


def _start(job: Job, executor: Executor, works: dict[Job, Work], tell: Callable[[Job], None]) -> None:
    job.delayed = False
    try:
        work = job.start(executor)
    except OSError as error:  # no memory for a process, no space for a file
        job.end(f"it could not be started: {error}")
        work = None
    if work is None:
        tell(job)
    else:
        works[job] = work


def _has_ended(job: Job, work: Work, tell: Callable[[Job], None]) -> bool:
    """Look at a job and tell how it stands."""
    ended = work.wait(0)
    if job.state == "waiting" and (work.begun or ended):
        job.look()
        job.done_before = job.done
        job.began, job.state = time.monotonic(), "running"
        tell(job)
    if job.going_on:
        job.look()
    if ended:
        job.seconds = time.monotonic() - job.began
        job.end(work.reason())
    if ended or job.going_on:
        tell(job)
    return ended
