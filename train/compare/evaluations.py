"""What a comparison asks of its finished runs beside their perplexity, answered by commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ..evaluate.analyze.run import is_analyzed
from ..evaluate.extrapolate.protocols import PROTOCOLS
from ..runs.environment import commit, versions
from ..runs.evaluation_files import RECORDS_FILE, is_probed, read_records
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
    asked = []
    code = {"versions": versions(), "commit": commit()}
    if lengths := comparison.lengths:
        at = ("--lengths", ",".join(map(str, lengths)), "--no_figure")
        steps = len(lengths) * len(PROTOCOLS)
        asked.append(Evaluation("extrapolate", at, steps, lambda folder: _lengths_missing(folder, lengths, code)))
    if analysis := comparison.analyze:
        words = tuple(analysis.as_words())
        asked.append(Evaluation("analyze", words, 1, lambda folder: not is_analyzed(folder, analysis)))
    if probe := comparison.numbers_probe:
        words = tuple(probe.as_words())
        asked.append(Evaluation("numbers", words, 1, lambda folder: not is_probed(folder, probe.as_passport())))
    if probes := comparison.probes:
        words = (*probes.as_words(), "--no_figure")
        asked.append(Evaluation("probe", words, 1, lambda folder: not probes.answered(folder, code)))
    return asked


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


def _lengths_missing(folder: Path, lengths: Sequence[int], code: Mapping[str, Any]) -> int:
    """How many of the records that ``lmzoo extrapolate`` makes by itself are not there, or of other code."""
    found = {
        (record["protocol"], record["length"])
        for record in read_records(folder / RECORDS_FILE)
        if record["longest"] in (None, max(lengths))
        and record["intervention"] is None
        and all(record["passport"][key] == value for key, value in code.items())
    }
    return sum((protocol, length) not in found for protocol in PROTOCOLS for length in lengths)
