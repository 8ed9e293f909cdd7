"""Seconds of a step, and steps timed in turn."""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import torch


def resident_memory(device: str) -> int:
    """Bytes in use now: allocated on a CUDA device, else resident in this process; its peak where no one tells."""
    if device.startswith("cuda"):
        return int(torch.cuda.memory_allocated(device))
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return peak_memory(device)


def peak_memory(device: str) -> int:
    """Bytes in use at most so far."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage would not do: a child process starts from the peak of its parent there.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource  # not on every system

    # Kilobytes, but bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class MemoryMeter:
    """The most memory that training needed.

    On a GPU what PyTorch allocated there; on a CPU how far the process's resident memory grew above what it was when
    the meter was made, with libraries loaded and the text prepared.

    Args:
        device: where training happens.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.kind = "GPU memory allocated by PyTorch"
            return
        self._start = psutil.Process().memory_info().rss
        self._resettable = self._reset_peak()
        self.kind = "growth of the process's resident memory"
        if not self._resettable:
            self._start = 0
            self.kind = "the process's resident memory, libraries and text preparation included"

    def peak_mb(self) -> float:
        """MB (10^6 bytes)."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 1e6
        return max(0, self._peak() - self._start) / 1e6

    @staticmethod
    def _reset_peak() -> bool:
        """Forget the peak so far; only Linux can."""
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return False
        return True

    def _peak(self) -> int:
        if self._resettable:
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


Step = Callable[[], object]


def seconds(step: Step) -> float:
    """Wall time of one call, with what it left running on a GPU."""
    _synchronise()
    start = time.perf_counter()
    step()
    _synchronise()
    return time.perf_counter() - start


def in_turn(steps: Mapping[str, Step], rounds: int) -> Iterator[dict[str, float]]:
    """Seconds of every step, round by round; what else the machine does in a round falls on all of them.

    Each round begins one step later than the one before, every second runs backwards: no step has one neighbour only.
    """
    names = list(steps)
    for i in range(rounds):
        order = names[i % len(names) :] + names[: i % len(names)]
        yield {name: seconds(steps[name]) for name in (order[::-1] if i % 2 else order)}


def quartiles(values: list[float]) -> tuple[float, float]:
    """The lower and the upper one; both the value itself where there is one only."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
