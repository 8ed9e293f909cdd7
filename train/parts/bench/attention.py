"""Benchmarks of attention layers: time and memory beside the dense reference and beside softmax attention."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import psutil
import torch
from rich.progress import track
from torch import Tensor, nn

from ....errors import require
from ....layers import Attention, ComplexAttention, SoftmaxAttention, SoftplusAttention, reference
from ....layers.attention.visibility import Visibility
from ....layers.functional import softplus_attention
from ...fit.measure import in_fresh_process, in_turn, peak_memory
from ...runs.environment import environment
from .pairs import Case


class _DenseSoftplus(SoftplusAttention):
    """The same layer on the dense reference, which holds several (B, H, T, T)."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        return reference.softplus_attention(query, key, value, power=self.current_power())


LAYERS: dict[str, type[Attention]] = {
    "softmax": SoftmaxAttention,
    "complex": ComplexAttention,
    "softplus": SoftplusAttention,
    "softplus-dense": _DenseSoftplus,
}
LENGTHS = (256, 512, 1024, 2048, 4096, 8192)
_WIDTH, _HEADS = 256, 4
# (H, T, T) in float32 that one pass of the dense reference holds at its peak, measured and rounded up.
_DENSE_MATRICES = 24


def complex_layer(device: str) -> Case:
    """One ComplexAttention layer, forward and backward, against rotary SoftmaxAttention of the same sizes."""
    batch, length, width, heads = 4, 512, 512, 8
    ours, baseline = (LAYERS[name](width, heads).to(device) for name in ("complex", "softmax"))
    x = torch.randn(batch, length, width, device=device, requires_grad=True)
    weight = torch.randn_like(x)
    return Case(
        f"ComplexAttention, forward + backward: B {batch}, T {length}, d {width}, {heads} heads",
        lambda: ours(x).backward(weight),
        lambda: baseline(x).backward(weight),
        note="baseline: SoftmaxAttention with Rotary; delta drawn from Normal(0, 1/sqrt(D))",
    )


def softplus_layer(device: str) -> Case:
    """SoftplusAttention against rotary SoftmaxAttention, the whole layers, forward and backward."""
    length, width, heads = 2048, 512, 8
    ours, baseline = (LAYERS[name](width, heads).to(device) for name in ("softplus", "softmax"))
    x = torch.randn(1, length, width, device=device, requires_grad=True)
    return Case(
        f"SoftplusAttention (p 15), forward + backward: T {length}, {heads} heads of {width // heads}, B 1",
        lambda: ours(x).sum().backward(),
        lambda: baseline(x).sum().backward(),
        note="the baseline is rotary SoftmaxAttention on PyTorch's fused kernel; projections are timed on both sides",
    )


def softplus_kernel(device: str) -> Case:
    """The strip-wise kernel against the dense reference, forward and backward."""
    length, width, heads = 2048, 64, 8
    tensors = [torch.randn(1, heads, length, width, device=device, requires_grad=True) for _ in range(3)]
    return Case(
        f"softplus_attention (p 15), forward + backward: T {length}, {heads} heads of {width}, B 1",
        lambda: softplus_attention(*tensors).sum().backward(),
        lambda: reference.softplus_attention(*tensors).sum().backward(),
        note="the baseline holds (B, H, T, T); ours never does",
    )


def softplus_memory(device: str) -> Case:
    """Growth of peak memory of SoftplusAttention and of SoftmaxAttention."""
    length = 8192
    return Case(
        f"SoftplusAttention (p 15), growth of peak memory: T {length}, 4 heads of 64, B 1, forward + backward",
        lambda: in_fresh_process(memory_growth, "softplus", length, device),
        lambda: in_fresh_process(memory_growth, "softmax", length, device),
        note="the baseline is rotary SoftmaxAttention",
        memory=True,
    )


CASES: dict[str, Callable[[str], Case]] = {
    "complex": complex_layer,
    "softplus": softplus_layer,
    "softplus-reference": softplus_kernel,
    "softplus-memory": softplus_memory,
}


def attention_costs(lengths: Sequence[int] = LENGTHS, device: str = "cpu", pairs: int = 3) -> list[dict[str, Any]]:
    """Seconds and bytes of one forward and backward pass against T, B 1, 4 heads of 64: the data of a plot.

    The layers take turns at each length, in an order that alternates. The dense reference is left out of lengths where
    it would take more than half of the memory that is free.

    Returns:
        One flat record a length and layer: ``attention``, ``length``, ``seconds`` (median of ``pairs`` runs after one
        that does not count), ``low`` and ``high`` (the fastest and the slowest of them), ``runs``, ``bytes`` (growth
        of peak memory, in a process of its own), ``device``, ``processor``, ``cores``, ``threads`` and ``torch``.

    Raises:
        ArgumentError: a length or ``pairs`` is below 1.
    """
    require(pairs >= 1, "pairs", "1 or more", pairs)
    require(bool(lengths) and min(lengths) >= 1, "lengths", "numbers of 1 or more", list(lengths))
    torch.manual_seed(0)
    layers = {name: kind(_WIDTH, _HEADS).to(device) for name, kind in LAYERS.items()}
    made_with = _made_with(device)
    records = []
    for length in track(sorted(set(lengths)), description="attention costs", transient=True):
        names = [name for name in layers if name != "softplus-dense" or _dense_fits(length, device)]
        _, *rounds = in_turn({name: _pass(layers[name], length, device) for name in names}, pairs + 1)
        for name in names:
            times = [took[name] for took in rounds]
            records.append(
                {
                    "attention": name,
                    "length": length,
                    "seconds": statistics.median(times),
                    "low": min(times),
                    "high": max(times),
                    "runs": pairs,
                    "bytes": int(in_fresh_process(memory_growth, name, length, device)),
                    **made_with,
                }
            )
    return records


def _dense_fits(length: int, device: str) -> bool:
    needed = _DENSE_MATRICES * _HEADS * length * length * 4
    free = torch.cuda.mem_get_info(device)[0] if device.startswith("cuda") else psutil.virtual_memory().available
    return needed <= free // 2


def _made_with(device: str) -> dict[str, Any]:
    known = environment()
    processor = torch.cuda.get_device_name(device) if device.startswith("cuda") else known["processor"]
    return {
        "device": device,
        "processor": processor,
        "cores": known["cores"],
        "threads": known["torch_threads"],
        "torch": known["versions"]["torch"],
    }


def memory_growth(name: str, length: int, device: str) -> int:
    """Bytes by which one forward and backward pass over ``length`` tokens raises the peak of a pass over 128.

    Resident memory of the process on a CPU, allocated memory of the device on CUDA; B 1, 4 heads of 64.
    """
    require(name in LAYERS, "name", f"one of {', '.join(LAYERS)}", name)
    layer = LAYERS[name](_WIDTH, _HEADS).to(device)
    peaks = []
    for n in (128, length):
        _pass(layer, n, device)()
        peaks.append(peak_memory(device))
    return peaks[1] - peaks[0]


def _pass(layer: nn.Module, length: int, device: str) -> Callable[[], None]:
    """Forward and backward over one sequence of random rows."""
    x = torch.randn(1, length, _WIDTH, device=device, requires_grad=True)

    def step() -> None:
        x.grad = None  # a pass starts without what the one before left
        layer(x).sum().backward()

    return step
