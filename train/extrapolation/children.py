"""The extrapolation of a comparison's runs, one after another, each in a process of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..child import LoggedProcess
from ..comparison import PlannedRun
from ..environment import commit, versions
from ..report.formats import clock
from .protocols import PROTOCOLS
from .records import RECORDS_FILE, read_records

_POLL_SECONDS = 0.5


def extrapolate_runs(
    runs: Sequence[PlannedRun],
    lengths: Sequence[int],
    console: Console,
    *,
    command: Sequence[str] | None = None,
    allow_classes: bool = False,
) -> list[tuple[str, str]]:
    """Evaluate finished runs at ``lengths`` by all protocols; returns label and reason of those that failed.

    Runs that have all their records, made with this code, are passed over. A failed run does not stop the others.

    Args:
        runs: finished.
        lengths: window lengths; nothing is done if there are none.
        console: where to show what goes on.
        command: the words before the run's folder; the ``lmzoo extrapolate`` of this Python when None.
        allow_classes: passed on.
    """
    if not lengths:
        return []
    code = {"versions": versions(), "commit": commit()}
    pending = [run for run in runs if _missing(run.folder, lengths, code)]
    failed = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    left = (TextColumn("left:"), TimeRemainingColumn())
    with Progress(*columns, *left, console=console, disable=not console.is_terminal) as bar:
        each = len(lengths) * len(PROTOCOLS)
        task = bar.add_task("", total=len(pending) * each)
        for place, run in enumerate(pending):
            bar.update(task, description=f"evaluating {run.label}")
            start = time.monotonic()

            def poll(run: PlannedRun = run, place: int = place) -> None:
                bar.update(task, completed=(place + 1) * each - _missing(run.folder, lengths, code))

            reason = _run_one(run, lengths, [*command] if command else _command(), allow_classes, poll)
            said = f"not evaluated: {reason}" if reason else f"evaluated in {clock(time.monotonic() - start)}"
            console.print(f"[{place + 1}/{len(pending)}] {run.label}: {said}", markup=False, highlight=False)
            if reason:
                failed.append((run.label, reason))
    return failed


def _command() -> list[str]:
    return [sys.executable, "-m", "lmzoo.train", "extrapolate"]


def _run_one(
    run: PlannedRun, lengths: Sequence[int], command: list[str], allow_classes: bool, poll: Callable[[], None]
) -> str:
    """Why it failed; empty if it did not."""
    words = [*command, str(run.folder), "--lengths", ",".join(map(str, lengths)), "--no_figure"]
    process = LoggedProcess([*words, *(["--allow_classes"] if allow_classes else [])], run.folder / "log.txt")
    try:
        while not process.wait(_POLL_SECONDS):
            poll()
        poll()
    finally:
        process.stop()
    return process.reason()


def _missing(folder: Path, lengths: Sequence[int], code: Mapping[str, Any]) -> int:
    """How many of the records that ``lmzoo extrapolate`` makes by itself are not there, or of other code."""
    found = {
        (record["protocol"], record["length"])
        for record in read_records(folder / RECORDS_FILE)
        if record["longest"] in (None, max(lengths))
        and record["intervention"] is None
        and all(record["passport"][key] == value for key, value in code.items())
    }
    return sum((protocol, length) not in found for protocol in PROTOCOLS for length in lengths)
