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

import torch

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
        "gpus": gpus,
        "command": sys.argv,
    }


def peak_memory_mb() -> tuple[float, str]:
    """The most memory used so far, in MB (10^6 bytes), and what that is a measure of."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6, "GPU memory allocated by PyTorch"
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, "resident memory of the process"
