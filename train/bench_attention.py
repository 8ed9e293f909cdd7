"""Benchmarks of attention layers: time and memory beside the dense reference and beside softmax attention."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import ArgumentError
from ..layers import Attention, SoftmaxAttention, SoftplusAttention, reference

if TYPE_CHECKING:
    from .bench import Result

LAYERS: dict[str, type[Attention]] = {"softmax": SoftmaxAttention, "softplus": SoftplusAttention}
LENGTHS = (256, 512, 1024, 2048, 4096, 8192)


def bench_softplus(pairs: int, device: str) -> Result:
    """SoftplusAttention against rotary SoftmaxAttention, the whole layers, forward and backward."""
    from .bench import compare_steps

    torch.manual_seed(0)
    length, width, heads = 2048, 512, 8
    ours, baseline = (LAYERS[name](width, heads).to(device) for name in ("softplus", "softmax"))
    x = torch.randn(1, length, width, device=device, requires_grad=True)
    what = f"SoftplusAttention (p 15), forward + backward: T {length}, {heads} heads of {width // heads}, B 1"
    return compare_steps(
        "softplus",
        what,
        lambda: ours(x).sum().backward(),
        lambda: baseline(x).sum().backward(),
        pairs=pairs,
        note="the baseline is rotary SoftmaxAttention on PyTorch's fused kernel; projections are timed on both sides",
    )


def bench_softplus_reference(pairs: int, device: str) -> Result:
    """The strip-wise kernel against the dense reference, forward and backward."""
    from ..layers.functional import softplus_attention
    from .bench import compare_steps

    torch.manual_seed(0)
    length, width, heads = 2048, 64, 8
    tensors = [torch.randn(1, heads, length, width, device=device, requires_grad=True) for _ in range(3)]
    what = f"softplus_attention (p 15), forward + backward: T {length}, {heads} heads of {width}, B 1"
    return compare_steps(
        "softplus-reference",
        what,
        lambda: softplus_attention(*tensors).sum().backward(),
        lambda: reference.softplus_attention(*tensors).sum().backward(),
        pairs=pairs,
        note="the baseline holds (B, H, T, T); ours never does",
    )


def bench_softplus_memory(pairs: int, device: str) -> Result:
    """Growth of peak memory of SoftplusAttention and of SoftmaxAttention, each measured in processes of its own."""
    from .bench import Result

    length, repetitions = 8192, min(pairs, 3)
    ours, baseline = (
        [memory_growth_of(name, length, device) for _ in range(repetitions)] for name in ("softplus", "softmax")
    )
    ratios = sorted(b / a for a, b in zip(ours, baseline))
    return Result(
        name="softplus-memory",
        what=f"SoftplusAttention (p 15), growth of peak memory: T {length}, 4 heads of 64, B 1, forward + backward",
        ours=statistics.median(ours),
        baseline=statistics.median(baseline),
        speedup=statistics.median(ratios),
        low=ratios[0],
        high=ratios[-1],
        pairs=repetitions,
        note="the baseline is rotary SoftmaxAttention; one process each; extremes in place of quartiles",
        unit="MB",
    )


def attention_costs(lengths: Sequence[int] = LENGTHS, device: str = "cpu", pairs: int = 3) -> list[dict[str, Any]]:
    """Seconds and bytes of one forward and backward pass against T, B 1, 4 heads of 64: the data of a plot.

    One flat record a layer and length: ``attention``, ``length``, ``seconds`` (median of ``pairs`` runs after one
    that does not count) and ``bytes`` (growth of peak memory, in a process of its own).
    """
    records = []
    for name, kind in LAYERS.items():
        torch.manual_seed(0)
        layer = kind(256, 4).to(device)
        for length in lengths:
            times = [_seconds(layer, length, device) for _ in range(pairs + 1)][1:]
            growth = memory_growth_of(name, length, device)
            records.append({"attention": name, "length": length, "seconds": statistics.median(times), "bytes": growth})
    return records


def memory_growth_of(name: str, length: int, device: str) -> int:
    """:func:`memory_growth` in a process of its own, since a process never gives its peak back."""
    code = f"from {__name__} import memory_growth; print(memory_growth({name!r}, {length}, {device!r}))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"measuring the memory of {name} at length {length} failed:\n{finished.stderr[-2000:]}")
    return int(finished.stdout.split()[-1])


def memory_growth(name: str, length: int, device: str) -> int:
    """Bytes by which one forward and backward pass over ``length`` tokens raises the peak of a pass over 128.

    Resident memory of the process on a CPU, allocated memory of the device on CUDA; B 1, 4 heads of 64.
    """
    if name not in LAYERS:
        raise ArgumentError("name", f"one of {', '.join(LAYERS)}", name)
    layer = LAYERS[name](256, 4).to(device)
    peaks = []
    for n in (128, length):
        _seconds(layer, n, device)
        peaks.append(peak_memory(device))
    return peaks[1] - peaks[0]


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


def _seconds(layer: nn.Module, length: int, device: str) -> float:
    x = torch.randn(1, length, 256, device=device, requires_grad=True)
    start = time.perf_counter()
    layer(x).sum().backward()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
