"""Memory and seconds of a step, and steps timed in turn."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import torch


def resident_memory(device: str) -> int:
    """Bytes in use now: allocated on a CUDA device, else resident in this process."""
    if device.startswith("cuda"):
        return int(torch.cuda.memory_allocated(device))
    return int(psutil.Process().memory_info().rss)


def peak_memory(device: str) -> int:
    """Bytes in use at most so far."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    # getrusage is second choice: a child process starts from the peak of its parent there.
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
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
        self._start = 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.kind = "GPU memory allocated by PyTorch"
        elif _reset_peak():
            self._start = resident_memory("cpu")
            self.kind = "growth of the process's resident memory"
        else:
            self.kind = "the process's resident memory, libraries and text preparation included"

    def peak_mb(self) -> float:
        """MB (10^6 bytes)."""
        return max(0, peak_memory(str(self.device)) - self._start) / 1e6


def _reset_peak() -> bool:
    """Forget the peak of resident memory so far; only Linux can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def in_fresh_process(function: Callable[..., float], *arguments: object) -> float:
    """What a function returns in a process of its own, since a process never gives its peak of memory back.

    Args:
        function: of a module, which the process imports.
        arguments: names and numbers, which the process is told as Python writes them.

    Raises:
        RuntimeError: it failed there; with the end of what the process said.
    """
    name = function.__name__
    code = f"from {function.__module__} import {name}; print({name}(*{arguments!r}))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"{name}{arguments} failed in a process of its own:\n{finished.stderr[-2000:]}")
    return float(finished.stdout.split()[-1])


Step = Callable[[], object]


def seconds(step: Step) -> float:
    """Wall time of one call, with what it left running on the current GPU."""
    _synchronise()
    start = time.perf_counter()
    step()
    _synchronise()
    return time.perf_counter() - start


def in_turn(steps: Mapping[str, Step], rounds: int) -> Iterator[dict[str, float]]:
    """Seconds of every step, round by round; what else the machine does in a round falls on all of them.

    Each round begins one step later than the one before. Every second round runs backwards; of an even number of steps
    every second cycle does. So no step always comes first, and none has one neighbour only.
    """
    names = list(steps)
    for i in range(rounds):
        order = names[i % len(names) :] + names[: i % len(names)]
        backwards = i if len(names) % 2 else i // len(names)
        yield {name: seconds(steps[name]) for name in (order[::-1] if backwards % 2 else order)}


def quartiles(values: list[float]) -> tuple[float, float]:
    """The lower and the upper one; both the value itself where there is one only."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
