"""Carrying out jobs, several at once, whatever starts them and whatever becomes of each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ..runs.folder import RunFolder
from .executors import Executor, Work

POLL_SECONDS = 0.5


class Job(Protocol):
    """Work on one run's folder, which is told what becomes of it."""

    @property
    def folder(self) -> Path:
        """The run's folder; no two jobs work in one at once."""

    def start(self, executor: Executor) -> Work | None:
        """Hand the work over; None where nothing is left to do. Called when the folder is free."""

    def delayed(self) -> None:
        """Called once where another process, left over from an earlier call, holds the folder."""

    def begun(self) -> None:
        """Called when the work has found room and begun."""

    def going_on(self) -> None:
        """Called about twice a second, and once more after the end."""

    def ended(self, reason: str, seconds: float) -> None:
        """Called after the end, with why it failed (empty if it did not) and how long it took."""


class Pool:
    """Carries out jobs in their order, as many at once as the executor has slots.

    A job that fails does not stop the others, nor does one that cannot be started. On the way out of :meth:`run`, by an
    exception such as KeyboardInterrupt too, whatever still runs is ended: all of it is asked first, then waited for.

    Args:
        executor: what starts the work.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self._running: list[_Running] = []
        self._delayed: set[Path] = set()

    def run(self, jobs: Sequence[Job]) -> None:
        """Carry out the jobs; returns when the last has ended."""
        waiting = list(jobs)
        try:
            while waiting or self._running:
                while len(self._running) < self.executor.slots and (job := self._next(waiting)):
                    waiting.remove(job)
                    self._start(job)
                self._watch()
        finally:
            self._stop()

    def _next(self, waiting: Sequence[Job]) -> Job | None:
        """The first job whose folder nobody works in."""
        busy = {running.job.folder for running in self._running}
        for job in waiting:
            if job.folder in busy:
                continue
            if not RunFolder(job.folder).in_use:
                return job
            if job.folder not in self._delayed:
                self._delayed.add(job.folder)
                job.delayed()
        return None

    def _start(self, job: Job) -> None:
        try:
            work = job.start(self.executor)
        except OSError as error:  # no memory for a process, no space for a file
            job.ended(f"it could not be started: {error}", 0.0)
            return
        if work is not None:
            self._running.append(_Running(job, work))

    def _watch(self) -> None:
        """Wait a little, then look at everything that runs."""
        if not self._running:
            time.sleep(POLL_SECONDS)
            return
        self._running[0].work.wait(POLL_SECONDS)
        for running in list(self._running):
            if running.look():
                self._running.remove(running)

    def _stop(self) -> None:
        for running in self._running:
            running.work.ask()
        for running in self._running:
            running.work.stop()
        self._running.clear()


class _Running:
    """A job whose work was handed over."""

    def __init__(self, job: Job, work: Work) -> None:
        self.job = job
        self.work = work
        self._since: float | None = None

    def look(self) -> bool:
        """Tell the job how its work stands; returns whether that has ended."""
        ended = self.work.wait(0)
        if self._since is None and (self.work.begun or ended):
            self._since = time.monotonic()
            self.job.begun()
        if self._since is not None:
            self.job.going_on()
        if ended:
            self.job.ended(self.work.reason(), time.monotonic() - (self._since or time.monotonic()))
        return ended
