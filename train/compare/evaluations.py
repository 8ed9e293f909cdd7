"""What a comparison asks of its finished runs beside their perplexity, answered by commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ..evaluate.extrapolate.evaluate import LengthSettings
from ..runs.folder import RunFolder
from .comparison import ComparisonFile, PlannedRun
from .executors import Executor, LocalExecutor, Work, needs_of
from .pool import Pool
from .progress import EvaluationProgress


@dataclass(frozen=True)
class Evaluation:
    """A question to every finished run, answered by a command in a process of its own.

    Args:
        command: of ``lmzoo``; the run's folder follows it, then ``options``.
        options: words after the folder.
        steps: how many parts the answer has, for the progress bar.
        missing: how many of them a run's folder lacks; 0 when nothing is left to do.
    """

    command: str
    options: tuple[str, ...]
    steps: int
    missing: Callable[[Path], int]


def evaluations_of(comparison: ComparisonFile) -> list[Evaluation]:
    """The evaluations that a comparison file asks for."""
    lengths = LengthSettings(comparison.lengths) if comparison.lengths else None
    asked = (lengths, comparison.analyze, comparison.numbers_probe, comparison.probes)
    return [Evaluation(a.command, tuple(a.as_words()), a.steps, a.missing) for a in asked if a is not None]


def evaluate_all(
    runs: Sequence[PlannedRun],
    evaluations: Sequence[Evaluation],
    console: Console,
    *,
    executor: Executor | None = None,
    program: Sequence[str] = (sys.executable, "-m", "lmzoo.train"),
    allow_classes: bool = False,
) -> list[str]:
    """Make what finished runs lack of their evaluations; returns what went wrong, a sentence for each failure.

    What is there is not made again, so that an interrupted comparison goes on where it was, and a failure does not stop
    the rest. Output goes to each run's ``log.txt``.

    Args:
        runs: those that have not finished are passed over.
        evaluations: what to ask of them.
        console: where to show what goes on.
        executor: where they are made, and how many at once; one after another on this machine if None.
        program: the words before a command; this Python's ``lmzoo`` by default.
        allow_classes: passed on.
    """
    finished = [run for run in runs if RunFolder(run.folder).finished]
    waiting = [(run, asked) for asked in evaluations for run in finished if asked.missing(run.folder)]
    options = ("--allow_classes",) if allow_classes else ()
    with EvaluationProgress(sum(asked.steps for _, asked in waiting), len(waiting), console) as progress:
        jobs = [Answer(run, asked, progress, program=program, options=options) for run, asked in waiting]
        Pool(executor or LocalExecutor()).run(jobs)
    return [f"{job.run.label}: lmzoo {job.asked.command} failed: {job.trouble}" for job in jobs if job.trouble]


class Answer:
    """The answer of one run to one question, as a job.

    Args:
        run: a finished run.
        asked: the question.
        progress: told what becomes of it.
        program: the words before the command.
        options: the words after those of the question.

    Attributes:
        trouble: why it failed, after its end; empty if it did not.
    """

    def __init__(
        self,
        run: PlannedRun,
        asked: Evaluation,
        progress: EvaluationProgress,
        *,
        program: Sequence[str],
        options: Sequence[str],
    ) -> None:
        self.run = run
        self.asked = asked
        self.progress = progress
        self.program = program
        self.options = options
        self.trouble = ""
        self._name = f"{run.label}, lmzoo {asked.command}"

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run.folder

    def start(self, executor: Executor) -> Work:
        """Hand the command over."""
        folder = self.folder.resolve()
        words = [*self.program, self.asked.command, str(folder), *self.asked.options, *self.options]
        return executor.start(words, folder / "log.txt", needs_of(self.run.config).alone())

    def delayed(self) -> None:
        self.progress.delayed(self._name)

    def begun(self) -> None:
        self.progress.started(self._name, self.asked.steps)

    def going_on(self) -> None:
        self.progress.going_on(self._name, self.asked.steps - self.asked.missing(self.folder))

    def ended(self, reason: str, seconds: float) -> None:
        self.trouble = reason
        self.progress.ended(self._name, self.asked.steps, reason, seconds)
