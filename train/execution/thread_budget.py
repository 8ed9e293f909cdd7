"""How many threads each of several processes at once may use.

A budget goes from the process that starts others to those others by the environment: OpenMP, MKL, OpenBLAS and the
tokenizers' Rayon read their own variables when they are loaded, PyTorch is told by :func:`limit_threads`. Sums depend
in their last bits on how many threads share them: a run goes on bit for bit where it is given as many as before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import psutil

THREADS = "LMZOO_THREADS"
JOBS = "LMZOO_JOBS"
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


def thread_environment(threads: int, jobs: int = 1) -> dict[str, str]:
    """The variables that give a process this budget, and tell it how many jobs the machine works at beside it."""
    return {**dict.fromkeys((THREADS, *_LIBRARIES), str(threads)), JOBS: str(jobs)}


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
