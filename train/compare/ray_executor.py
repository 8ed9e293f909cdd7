"""Commands as tasks of a Ray cluster."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ...errors import ArgumentError, ConfigError, require
from .executors import Executor, LoggedProcess, Needs, Work, cores, thread_environment

# What the machine that asks knows about data, caches and code, and the others have to know too.
_PASSED_ON = ("LMZOO_", "HF_", "PYTHONPATH", "TOKENIZERS_PARALLELISM")
# Tasks handed over at once where the cluster alone decides how many run: the rest wait with Ray or here, no matter.
_MANY = 1000
_POLL_SECONDS = 0.5


class RayExecutor(Executor):
    """Each command a Ray task, on whichever machine has room.

    The task starts the command as a process of its machine, as :class:`LocalExecutor` would here, so that files,
    resuming and failures are the same; run folders must lie on a file system that all machines share under one path,
    with lmzoo and Python in the same place. A task that dies with its machine is a failed job: Ray does not repeat it,
    the next call resumes it. Should this process be killed outright, Ray ends its tasks, and with them, on Linux, their
    commands. A run over several machines is no single task; start it by torchrun or SLURM instead.

    Args:
        address: of the cluster; ``local`` for a new one on this machine, which ends with this executor.
        threads: of each process of a job, and the CPUs that the task asks for.
        jobs: tasks at once; as many as there is room for by default.

    Raises:
        ArgumentError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, address: str = "local", *, threads: int = 1, jobs: int | None = None) -> None:
        try:
            import ray
        except ModuleNotFoundError:
            message = "local, or Ray installed: pip install 'lmzoo[ray]'"
            raise ArgumentError("executor", message, "ray") from None
        self.address = address
        self.threads = threads
        self.slots = jobs or _MANY
        self._ray: Any = ray

    def __enter__(self) -> Self:
        options: dict[str, Any] = {"address": self.address, "log_to_driver": False, "logging_level": "ERROR"}
        if self.address == "local":
            options |= {"num_cpus": cores(), "include_dashboard": False}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # whose cluster it is decides what it reports
        try:
            self._ray.init(**options)
        except Exception as error:  # Ray raises a plain one where a cluster cannot be started in time
            expected = f"local, auto or HOST:PORT of a cluster that answers ({' '.join(str(error).split())})"
            raise ArgumentError("ray_address", expected, self.address) from None
        self._task = self._ray.remote(max_retries=0)(_carry_out)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.shutdown()

    def check(self, needs: Needs) -> None:
        """Raise ConfigError for a run over several machines, or one that a cluster on this machine has no room for."""
        if needs.machines > 1:
            message = f"expected 1 with --executor ray, whose tasks have a machine each, got {needs.machines}"
            raise ConfigError(message, key="trainer.num_nodes")
        if self.address != "local":
            return  # a cluster may grow
        there = self._ray.cluster_resources()
        cpus, gpus = self._resources(needs)
        require(cpus <= there["CPU"], "threads", f"at most {there['CPU']:g} in all, the cores here", cpus)
        require(gpus <= there.get("GPU", 0), "executor", f"a machine with {gpus} GPUs", "ray_address=local")

    def start(self, words: Sequence[str], log: Path, needs: Needs) -> RayWork:
        cpus, gpus = self._resources(needs)
        passed = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        environment = passed | thread_environment(self.threads, None)
        task = self._task.options(num_cpus=cpus, num_gpus=gpus, name=" ".join(words[-3:]))
        return RayWork(self._ray, task.remote(list(words), str(log), environment, str(Path.cwd())), log)

    def _resources(self, needs: Needs) -> tuple[int, int]:
        """CPUs and GPUs of a task."""
        there = self._ray.cluster_resources().get("GPU", 0)
        return self.threads * needs.processes, needs.gpus_of(there)


class RayWork(Work):
    """A command that was handed to Ray.

    Args:
        ray: the module.
        result: the reference to the command's exit code.
        log: the file that its output goes to; the first words in it tell that the task has begun.
    """

    def __init__(self, ray: Any, result: Any, log: Path) -> None:
        self.log = log
        self._ray = ray
        self._result = result
        self._size = _size(log)

    @property
    def begun(self) -> bool:
        """Whether a machine has taken the task."""
        return _size(self.log) > self._size

    def wait(self, seconds: float) -> bool:
        ended, _ = self._ray.wait([self._result], timeout=seconds)
        return bool(ended)

    def exit_code(self) -> int:
        return int(self._ray.get(self._result))

    def _end(self, *, insist: bool) -> None:
        """Interrupt the task, which then ends its command; where it must, the task itself."""
        self._ray.cancel(self._result, force=insist)

    def stop(self, grace: float = 10.0) -> None:
        super().stop(2 * grace)  # the task, too, gives its command time to end

    def reason(self) -> str:
        try:
            return super().reason()
        except self._ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return f"its Ray task failed: {lines[-1 if isinstance(error, self._ray.exceptions.RayTaskError) else 0]}"


def _carry_out(words: list[str], log: str, environment: Mapping[str, str], folder: str) -> int:
    """The task: run the command on this machine to its end; returns its exit code."""
    if not Path(log).parent.is_dir():
        raise FileNotFoundError(f"{socket.gethostname()} does not see {Path(log).parent}: expected a shared folder")
    with Path(log).open("a", encoding="utf-8") as stream:
        stream.write(f"Ray task on {socket.gethostname()}\n")
    process = LoggedProcess(words, Path(log), environment=environment, folder=folder)
    try:
        while not process.wait(_POLL_SECONDS):  # in short spells, between which an interruption is heard
            continue
    finally:
        process.stop()
    return process.exit_code()


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0
