"""What a figure was made with: model, versions, commit, machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:  # slow to import, and the first thing that every command imports is this file
    from ...models import Counts

THREADS = "LMZOO_THREADS"
JOBS = "LMZOO_JOBS"
PACKAGES = ("lmzoo", "torch", "lightning", "transformers", "tokenizers", "datasets", "numpy", "torchmetrics")


def limit_threads() -> None:
    """Hold PyTorch to the budget that this process was started with, if any."""
    budget = granted()["threads"]
    if budget is not None:
        torch.set_num_threads(budget)


def granted() -> dict[str, int | None]:
    """The budget that this process was started with, for ``environment.json``: threads, and jobs at once."""
    found = {"threads": os.environ.get(THREADS, ""), "jobs": os.environ.get(JOBS, "")}
    return {name: int(text) if text.isdecimal() and int(text) else None for name, text in found.items()}


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
        head, changed = (
            subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+changes" if changed else "")


def counted(counts: Counts) -> dict[str, int]:
    """The sizes of a model, as a passport has them."""
    return {
        "parameters": counts.total,
        "embedding_parameters": counts.embedding,
        "head_parameters": counts.head,
        "tied_parameters": counts.tied,
        "head_table_bytes": counts.head_table_bytes,
    }


def model_passport(
    counts: Counts, *, train_length: int, dtype: str, seed: int, start: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The part of a passport that the text has no say in: model, precision, code, and what training started from.

    Args:
        counts: of the model's parameters.
        train_length: tokens of a training context.
        dtype: the precision that figures were computed in.
        seed: of training.
        start: ``init_from.json`` of a run that started from another one.
    """
    return {
        "train_length": train_length,
        "dtype": dtype,
        "seed": seed,
        **counted(counts),
        "versions": versions(),
        "commit": commit(),
        **({"init_from": start["folder"], "init_from_sha256": start["sha256"]} if start else {}),
    }


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
