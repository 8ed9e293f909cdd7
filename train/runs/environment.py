"""What a figure was made with: versions, commit, machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

THREADS = "LMZOO_THREADS"


JOBS = "LMZOO_JOBS"


def limit_threads() -> None:
    """Hold PyTorch to the budget that this process was started with, if any."""
    budget = granted()["threads"]
    if budget is not None:
        import torch

        torch.set_num_threads(budget)


def granted() -> dict[str, int | None]:
    """The budget that this process was started with, for ``environment.json``: threads, and jobs at once."""
    found = {"threads": os.environ.get(THREADS, ""), "jobs": os.environ.get(JOBS, "")}
    return {name: int(text) if text.isdecimal() and int(text) else None for name, text in found.items()}


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
    root = Path(__file__).resolve().parents[2]
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
