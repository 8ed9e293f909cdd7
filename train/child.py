"""Work on a run in a process of its own: its training, its evaluation."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from .comparison import PlannedRun
from .config import write_yaml
from .report.load import Run, load_run
from .run import Run as RunFolder

_PR_SET_PDEATHSIG = 1


class LoggedProcess:
    """A process whose output goes to the end of a file.

    It leads a process group of its own, so that a Ctrl-C reaches this process alone, which then ends the group in
    order; on Linux the kernel ends it should this process be killed outright.

    Args:
        words: what to run.
        log: an existing folder's file.
    """

    def __init__(self, words: list[str], log: Path) -> None:
        self.log = log
        self.started = time.monotonic()
        self._log: IO[bytes] = log.open("ab")
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            # threads that spin while they wait slow down a machine that others share, and distort its timings
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            preexec_fn=_die_with_parent(),  # noqa: PLW1509 - one system call, and no thread of ours holds a lock
        )

    def wait(self, seconds: float) -> bool:
        """Wait for the end for so long; returns whether it has come."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self._log.close()
        return True

    def stop(self, grace: float = 10.0) -> None:
        """End the process and whatever it started: ask first, insist after ``grace`` seconds."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            if not self.wait(grace):
                self._signal(signal.SIGKILL)
                self.wait(grace)
        self._log.close()

    def reason(self) -> str:
        """Why it failed, after its end; empty if it did not."""
        return _why(self._process.returncode, self.log) if self._process.returncode else ""

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return


class Child(LoggedProcess):
    """``lmzoo fit`` for one planned run, its output going to the run's ``log.txt``.

    Args:
        run: what to run.
        command: the words before ``--config``; the ``lmzoo fit`` of this Python when None.
        allow_classes: passed on to the run.
    """

    def __init__(self, run: PlannedRun, *, command: list[str] | None = None, allow_classes: bool = False) -> None:
        self.run = run
        folder = RunFolder(run.folder)
        run.folder.mkdir(parents=True, exist_ok=True)
        # a failure of an earlier attempt says nothing about this one
        folder.failure_file.unlink(missing_ok=True)
        write_yaml(folder.config_file, run.config)
        words = [*(command or [sys.executable, "-m", "lmzoo.train", "fit"])]
        words += ["--config", str(folder.config_file), "--run_dir", str(run.folder)]
        words += ["--allow_classes"] if allow_classes else []
        super().__init__(words, run.folder / "log.txt")

    def outcome(self) -> Run:
        """The run's folder after its end. A child that ended without saying why gets its failure written down."""
        run = load_run(self.run.folder)
        if run.state == "unfinished":
            RunFolder(self.run.folder).fail(_why(self._process.returncode, self.log))
            run = load_run(self.run.folder)
        return run


def _why(code: int, log: Path) -> str:
    """A reason for a failure of which the run left no word: the signal that ended it, or the log's last line."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = ", as when memory runs out" if -code == signal.SIGKILL else ""
        return f"the process was ended by {name}{hint}"
    with log.open("rb") as stream:
        stream.seek(max(log.stat().st_size - 4000, 0))
        lines = stream.read().decode("utf-8", errors="replace").strip().splitlines()
    said = f": {lines[-1].strip()}" if lines else ""
    return f"the process ended with exit code {code}{said}"


def _die_with_parent() -> Callable[[], None] | None:
    """What a child on Linux does before it becomes another program, so that it cannot outlive this process."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)  # loaded before the fork
    parent = os.getpid()

    def bind() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died between the fork and this line
            os._exit(1)

    return bind
