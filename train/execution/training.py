"""A run's training as a job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..compare_progress import Progress
from ..comparison import PlannedRun
from ..config import write_yaml
from ..report.load import Run, load_run
from ..run import Run as RunFolder
from .executor import Executor, Work
from .metrics_tail import MetricsTail
from .needs import needs_of


class Training:
    """``lmzoo fit`` for one planned run, its output going to the run's ``log.txt``.

    Args:
        run: what to run.
        progress: told what becomes of it.
        command: the words before ``--config``.
        allow_classes: passed on to the run.

    Attributes:
        outcome: what the run's folder holds after its end; None before.
    """

    def __init__(
        self, run: PlannedRun, progress: Progress, *, command: Sequence[str], allow_classes: bool = False
    ) -> None:
        self.run = run
        self.progress = progress
        self.command = command
        self.allow_classes = allow_classes
        self.outcome: Run | None = None
        self._tail = MetricsTail(run.folder / "metrics.jsonl")

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run.folder

    def start(self, executor: Executor) -> Work | None:
        """Hand the run over, unless a process that outlived an earlier call has finished it."""
        folder = RunFolder(self.folder.resolve())
        if folder.finished:
            self.progress.skipped(self.run)
            return None
        folder.folder.mkdir(parents=True, exist_ok=True)
        # a failure of an earlier attempt says nothing about this one
        folder.failure_file.unlink(missing_ok=True)
        write_yaml(folder.config_file, self.run.config)
        words = [*self.command, "--config", str(folder.config_file), "--run_dir", str(folder.folder)]
        words += ["--allow_classes"] if self.allow_classes else []
        return executor.start(words, folder.folder / "log.txt", needs_of(self.run.config))

    def delayed(self) -> None:
        self.progress.delayed(self.run)

    def begun(self) -> None:
        self.progress.started(self.run)

    def going_on(self) -> None:
        self._tail.poll()
        self.progress.going_on(self.run, self._tail)

    def ended(self, reason: str, seconds: float) -> None:
        """Look at what the run has left. One that ended without saying why gets its failure written down."""
        self.outcome = load_run(self.folder)
        if self.outcome.state == "unfinished":
            RunFolder(self.folder).fail(reason or "the process ended without an error, and without results")
            self.outcome = load_run(self.folder)
        self.progress.ended(self.run, self.outcome, seconds)
