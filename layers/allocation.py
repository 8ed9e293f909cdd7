"""The largest piece of memory that a computation asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.profiler import ProfilerActivity, profile


def largest_allocation(run: Callable[[], object]) -> int:
    """Bytes of the largest single CPU allocation while ``run()`` runs, those inside fused kernels included."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    profiler: Any = recorded.profiler
    events = profiler.kineto_results.events()
    return max((int(event.nbytes()) for event in events if event.name() == "[memory]"), default=0)
