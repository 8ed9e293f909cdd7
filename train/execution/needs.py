"""What a machine must have for a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..config import Config


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
