"""Analysing the finished runs of a comparison, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from .analyze_run import is_analyzed
from .analyze_settings import AnalysisSettings
from .comparison import PlannedRun
from .report.formats import clock
from .run import Run as RunFolder


def analyze_all(
    runs: Sequence[PlannedRun], settings: AnalysisSettings, console: Console, *, allow_classes: bool = False
) -> list[str]:
    """Make the analyses that finished runs lack; returns what went wrong, one sentence a run.

    A run whose present weights were analysed under these settings is skipped, so that an interrupted comparison goes
    on where it was. Output goes to the run's ``log.txt``.
    """
    wrong: list[str] = []
    waiting = [r for r in runs if RunFolder(r.folder).finished and not is_analyzed(r.folder, settings)]
    for place, run in enumerate(waiting):
        words = [sys.executable, "-m", "lmzoo.train", "analyze", str(run.folder), *settings.as_words()]
        words += ["--allow_classes"] if allow_classes else []
        started = time.monotonic()
        label = f"[{place + 1}/{len(waiting)}] {run.label}"
        with console.status(f"{run.label}: being analysed"), (run.folder / "log.txt").open("a+b") as log:
            # whatever ends this process in order ends the child with it
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONUNBUFFERED": "1"},
                check=False,
            )
            if done.returncode:
                log.seek(max(log.seek(0, os.SEEK_END) - 4000, 0))
                lines = log.read().decode("utf-8", errors="replace").strip().splitlines()
                wrong.append(f"{run.label} could not be analysed: {lines[-1].strip() if lines else 'no word of why'}")
        taken = clock(time.monotonic() - started)
        said = "NOT ANALYSED, see its log.txt" if done.returncode else f"analysed in {taken}"
        console.print(f"{label}: {said}", markup=False, highlight=False)
    return wrong
