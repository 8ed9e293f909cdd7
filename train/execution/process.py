"""A process whose output goes to a file, and which does not outlive this one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1


class LoggedProcess:
    """A process whose output goes to the end of a file.

    It leads a process group of its own, so that a Ctrl-C reaches this process alone, which then ends the group in
    order. Should this process be killed outright, the kernel asks it to end (SIGTERM) on Linux; elsewhere it goes on,
    and the lock of its run's folder keeps others away until it has ended.

    Args:
        words: what to run.
        log: an existing folder's file.
        environment: variables to set beside those of this process.
        folder: to run in; this process's by default.
    """

    begun = True

    def __init__(
        self,
        words: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        folder: str | None = None,
    ) -> None:
        self.log = log
        self._log: IO[bytes] = log.open("ab")
        self._process = subprocess.Popen(
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            # threads that spin while they wait slow down a machine that others share, and distort its timings
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            start_new_session=True,
            preexec_fn=_die_with_parent(),  # noqa: PLW1509 - one system call, and no thread of ours holds a lock
        )

    @property
    def code(self) -> int:
        """The exit code, after the end; minus its number where a signal ended the process."""
        return self._process.wait()

    def wait(self, seconds: float) -> bool:
        """Wait for the end for so long; returns whether it has come."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if not self._log.closed:
            self._log.close()
            self._signal(signal.SIGKILL)  # what it started and left behind, such as the other processes of a run
        return True

    def ask(self) -> None:
        """Ask the process, and whatever it started, to end; returns at once."""
        if not self.wait(0):
            self._signal(signal.SIGTERM)

    def stop(self, grace: float = 10.0) -> None:
        """End the process and whatever it started: ask first, insist after ``grace`` seconds."""
        self.ask()
        if not self.wait(grace):
            self._signal(signal.SIGKILL)
            self.wait(grace)

    def reason(self) -> str:
        """Why it failed, after its end; empty if it did not."""
        return why(self.code, self.log) if self.code else ""

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter on macOS, of a group of dead ones
            os.killpg(self._process.pid, number)


def why(code: int, log: Path) -> str:
    """A reason for a failure of which there is no other word: the signal that ended it, or the log's last line."""
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
