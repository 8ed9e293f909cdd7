"""What a figure was made with: versions, commit, machine."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch

from .execution.thread_budget import granted

PACKAGES = ("lmzoo", "torch", "lightning", "transformers", "tokenizers", "datasets", "numpy", "torchmetrics")


def versions() -> dict[str, str]:
    """The installed versions of the packages that decide a figure, and of Python."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit of the lmzoo checkout this runs from, with ``+changes`` when files differ; None outside of one."""
    root = Path(__file__).resolve().parent.parent
    try:
        if not (root / ".git").exists():
            return None
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


def environment() -> dict[str, Any]:
    """The content of ``environment.json``."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "versions": versions(),
        "commit": commit(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "budget": granted(),
        "gpus": gpus,
        "command": sys.argv,
    }


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
