"""What memory a computation asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.profiler import ProfilerActivity, profile


def largest_allocation(run: Callable[[], object]) -> int:
    """Bytes of the largest single CPU allocation while ``run()`` runs, those inside fused kernels included."""
    return max((size for _, size in _events(run)), default=0)


def peak_growth(run: Callable[[], object]) -> int:
    """Bytes by which CPU memory grows at most while ``run()`` runs, over what was in use before.

    Every block of PyTorch's allocator counts from its allocation to its release, those inside operators and fused
    kernels included; what a library such as oneDNN takes for itself does not. Memory that was in use before and is
    released meanwhile makes no room.
    """
    live: dict[int, int] = {}
    now = peak = 0
    for address, size in _events(run):
        if size > 0:
            live[address] = size
            now += size
        else:
            now -= live.pop(address, 0)
        peak = max(peak, now)
    return peak


def _events(run: Callable[[], object]) -> list[tuple[int, int]]:
    """(address, bytes) of each allocation in the order of time; bytes are negative where the memory is released."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    profiler: Any = recorded.profiler
    waiting, events = list(profiler.kineto_results.experimental_event_tree()), []
    while waiting:
        event = waiting.pop()
        waiting.extend(event.children)
        # events of other kinds have other fields
        size = getattr(event.extra_fields, "alloc_size", 0)
        if size:
            events.append((event.start_time_ns, event.extra_fields.ptr, size))
    return [(address, size) for _, address, size in sorted(events, key=lambda event: event[0])]
