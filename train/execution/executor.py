"""What starts the commands of a comparison, and what it gives back for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from .needs import Needs
from .process import LoggedProcess
from .thread_budget import default_threads, thread_environment


class Work(Protocol):
    """A command that was handed over to be carried out."""

    @property
    def begun(self) -> bool:
        """Whether it has found room and runs."""

    def wait(self, seconds: float) -> bool:
        """Wait for its end for so long; returns whether it has come."""

    def ask(self) -> None:
        """Ask it to end; returns at once."""

    def stop(self, grace: float = 10.0) -> None:
        """End it, and all it has started: ask first, insist after ``grace`` seconds."""

    def reason(self) -> str:
        """Why it failed, after its end; empty if it did not."""


class Executor(Protocol):
    """Carries out commands, several at once.

    Attributes:
        slots: commands that it takes at once.
    """

    slots: int

    def check(self, needs: Needs) -> None:
        """Raise :class:`ConfigError` for work that would never find room."""

    def start(self, words: Sequence[str], log: Path, needs: Needs) -> Work:
        """Carry out a command, its output going to the end of the file ``log``."""


class LocalExecutor:
    """Processes of this machine.

    Args:
        jobs: processes at once.
        threads: of each job, shared between the processes of a run that has several; cores // jobs by default.
    """

    def __init__(self, jobs: int = 1, threads: int | None = None) -> None:
        self.slots = jobs
        self.threads = default_threads(jobs) if threads is None else threads

    def check(self, needs: Needs) -> None:
        """Whatever this machine lacks, the run itself says."""

    def start(self, words: Sequence[str], log: Path, needs: Needs) -> LoggedProcess:
        """Start a process."""
        threads = max(1, self.threads // needs.processes)
        return LoggedProcess(words, log, environment=thread_environment(threads, self.slots))
