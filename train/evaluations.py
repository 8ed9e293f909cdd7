"""What a comparison asks of its finished runs beside their perplexity, answered one run after another by commands."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .analyze_run import is_analyzed
from .child import LoggedProcess
from .comparison import Comparison, PlannedRun
from .environment import commit, versions
from .extrapolation.protocols import PROTOCOLS
from .extrapolation.records import RECORDS_FILE, read_records
from .number_records import is_probed
from .report.formats import clock
from .run import Run as RunFolder

_POLL_SECONDS = 0.5


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


def evaluations_of(comparison: Comparison) -> list[Evaluation]:
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
        program: the words before a command; this Python's ``lmzoo`` by default.
        allow_classes: passed on.
    """
    finished = [run for run in runs if RunFolder(run.folder).finished]
    waiting = [(run, asked) for asked in evaluations for run in finished if asked.missing(run.folder)]
    wrong = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    left = (TextColumn("left:"), TimeRemainingColumn())
    with Progress(*columns, *left, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=sum(asked.steps for _, asked in waiting))
        done = 0
        for place, (run, asked) in enumerate(waiting):
            bar.update(task, description=f"{asked.command}: {run.label}")
            start = time.monotonic()

            def show(run: PlannedRun = run, asked: Evaluation = asked, before: int = done) -> None:
                bar.update(task, completed=before + asked.steps - asked.missing(run.folder))

            words = [*program, asked.command, str(run.folder), *asked.options]
            words += ["--allow_classes"] if allow_classes else []
            reason = _answer(LoggedProcess(words, run.folder / "log.txt"), show)
            done += asked.steps
            bar.update(task, completed=done)
            said = f"FAILED: {reason}" if reason else f"done in {clock(time.monotonic() - start)}"
            label = f"[{place + 1}/{len(waiting)}] {run.label}, lmzoo {asked.command}"
            console.print(f"{label}: {said}", markup=False, highlight=False)
            if reason:
                wrong.append(f"{run.label}: lmzoo {asked.command} failed: {reason}")
    return wrong


def _answer(process: LoggedProcess, show: Callable[[], None]) -> str:
    """Wait for the end; why it failed, empty if it did not."""
    try:
        while not process.wait(_POLL_SECONDS):
            show()
    finally:
        process.stop()
    return process.reason()


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
