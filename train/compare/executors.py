"""What carries out the commands of a comparison: the one interface, and the processes of this machine behind it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from ..config import Config
from ..runs.environment import JOBS, THREADS

_LIBRARIES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


def cores() -> int:
    """The cores that this process may use; two hardware threads of one core count once, as they do to PyTorch."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, psutil.cpu_count(logical=False) or usable)


def default_threads(jobs: int, environment: Mapping[str, str] = os.environ) -> int:
    """Cores // jobs, at least 1, and no more than an ``OMP_NUM_THREADS`` that is set already."""
    share = max(1, cores() // jobs)
    given = environment.get("OMP_NUM_THREADS", "")
    return min(share, int(given)) if given.isdecimal() and int(given) else share


def thread_environment(threads: int, jobs: int | None = 1) -> dict[str, str]:
    """The variables that give a process this budget, and tell it how many jobs share the machine (None: not known)."""
    return {**dict.fromkeys((THREADS, *_LIBRARIES), str(threads)), JOBS: "" if jobs is None else str(jobs)}


@dataclass(frozen=True)
class Needs:
    """What a run takes of a machine.

    Attributes:
        processes: that it consists of, each with threads of its own.
        gpus: None where it takes one for each process if the machine has them.
        machines: that it goes over.
    """

    processes: int = 1
    gpus: int | None = 0
    machines: int = 1

    def gpus_of(self, there: float) -> int:
        """The GPUs it takes where there are so many."""
        return min(self.processes, int(there)) if self.gpus is None else self.gpus

    def alone(self) -> Needs:
        """What an evaluation of such a run takes: one process, and a GPU if training had some."""
        return Needs(gpus=None if self.gpus is None else min(self.gpus, 1))


def needs_of(config: Config) -> Needs:
    """What a run's ``trainer.accelerator``, ``trainer.devices`` and ``trainer.num_nodes`` ask for."""
    trainer = config.get("trainer") or {}
    processes = _count(trainer.get("devices"))
    machines = int(trainer.get("num_nodes") or 1)
    accelerator = trainer.get("accelerator") or "auto"
    if accelerator in ("gpu", "cuda"):
        return Needs(processes, processes, machines)
    return Needs(processes, None if accelerator == "auto" else 0, machines)


def _count(devices: Any) -> int:
    """Processes of a run: a number, or a list of devices; ``auto`` and all (-1) are what a process is given: one."""
    if isinstance(devices, list):
        return max(len(devices), 1)
    try:
        return max(int(devices), 1)
    except (TypeError, ValueError):
        return 1


class Work(ABC):
    """A command that was handed over to be carried out.

    Attributes:
        log: the file to whose end its output goes.
    """

    log: Path

    @property
    def begun(self) -> bool:
        """Whether it has found room and runs."""
        return True

    @abstractmethod
    def wait(self, seconds: float) -> bool:
        """Wait for the end for so long; returns whether it has come."""

    @abstractmethod
    def exit_code(self) -> int:
        """The exit code, after the end; minus its number where a signal ended the command."""

    @abstractmethod
    def _end(self, *, insist: bool) -> None:
        """Tell the command, and whatever it started, to end."""

    def ask(self) -> None:
        """Ask the command, and whatever it started, to end; returns at once."""
        if not self.wait(0):
            self._end(insist=False)

    def stop(self, grace: float = 10.0) -> None:
        """End the command and whatever it started: ask first, insist after ``grace`` seconds."""
        self.ask()
        if not self.wait(grace):
            self._end(insist=True)
            self.wait(grace)

    def reason(self) -> str:
        """Why the command failed, after its end: the signal, or the log's last line. Empty if it did not fail."""
        code = self.exit_code()
        if code == 0:
            return ""
        if code < 0:
            hint = ", as when memory runs out" if -code == signal.SIGKILL else ""
            return f"the process was ended by {signal.Signals(-code).name}{hint}"
        with self.log.open("rb") as stream:
            stream.seek(max(self.log.stat().st_size - 4000, 0))
            lines = stream.read().decode("utf-8", errors="replace").strip().splitlines()
        return f"the process ended with exit code {code}" + (f": {lines[-1].strip()}" if lines else "")


class Executor(ABC):
    """Carries out commands, several at once.

    Attributes:
        slots: commands that it takes at once.
    """

    slots: int

    @abstractmethod
    def check(self, needs: Needs) -> None:
        """Raise :class:`ConfigError` for work that would never find room."""

    @abstractmethod
    def start(self, words: Sequence[str], log: Path, needs: Needs) -> Work:
        """Carry out a command, its output going to the end of the file ``log``."""


_PR_SET_PDEATHSIG = 1


class LoggedProcess(Work):
    """A process of this machine whose output goes to the end of a file.

    It leads a process group of its own, so that a Ctrl-C reaches this process alone, which then ends the group in
    order. Should this process be killed outright, the kernel asks it to end (SIGTERM) on Linux; elsewhere it goes on,
    and the lock of its run's folder keeps others away until it has ended.

    Args:
        words: what to run.
        log: an existing folder's file.
        environment: variables to set beside those of this process.
        folder: to run in; this process's by default.
    """

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

    def exit_code(self) -> int:
        return self._process.wait()

    def wait(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if not self._log.closed:
            self._log.close()
            self._end(insist=True)  # what it started and left behind, such as the other processes of a run
        return True

    def _end(self, *, insist: bool) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter on macOS, of a group of dead ones
            os.killpg(self._process.pid, signal.SIGKILL if insist else signal.SIGTERM)


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


class LocalExecutor(Executor):
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
        threads = max(1, self.threads // needs.processes)
        return LoggedProcess(words, log, environment=thread_environment(threads, self.slots))
