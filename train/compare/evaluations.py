"""What a comparison asks of its finished runs beside their perplexity, answered by commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from ..evaluate.extrapolate.evaluate import LengthSettings
from ..evaluate.frame import KnownTexts
from ..runs.folder import RunFolder
from .comparison import ComparisonFile, PlannedRun
from .display import Display
from .executors import Executor, LocalExecutor, needs_of
from .jobs import Job, carry_out


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
    known = KnownTexts()  # of all runs, and for the display, which asks twice a second
    return [
        Evaluation(a.command, tuple(a.as_words()), a.steps, partial(a.missing, texts=known))
        for a in asked
        if a is not None
    ]


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
    options = ("--allow_classes",) if allow_classes else ()

    def job(run: PlannedRun, asked: Evaluation) -> Job:
        folder = run.folder.resolve()
        return Job(
            label=f"{run.label}, lmzoo {asked.command}",
            kind=asked.command,
            folder=folder,
            words=(*program, asked.command, str(folder), *asked.options, *options),
            needs=needs_of(run.config).alone(),
            steps=asked.steps,
            count=lambda: asked.steps - asked.missing(folder),
        )

    finished = [run for run in runs if RunFolder(run.folder).finished]
    waiting = [(run, asked) for asked in evaluations for run in finished if asked.missing(run.folder)]
    jobs = [job(run, asked) for run, asked in waiting]
    with Display(jobs, console).shown() as tell:
        carry_out(jobs, executor or LocalExecutor(), tell)
    return [
        f"{run.label}: lmzoo {asked.command} failed: {job.reason}"
        for (run, asked), job in zip(waiting, jobs, strict=True)
        if job.reason
    ]
