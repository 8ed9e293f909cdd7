"""Benchmarks of output heads and their losses: time and memory beside all logits at once."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from ....errors import ArgumentError
from ....layers import LinearHead, VQLogitsHead
from ...fit.measure import peak_memory, resident_memory

if TYPE_CHECKING:
    from .pairs import Result

VOCAB = 50_257


def bench_head(pairs: int, device: str, *, name: str = "head", vocab: int = 8192, weighted: bool = False) -> Result:
    """``LinearHead.nll`` forward and backward against one unchunked matrix product and cross_entropy."""
    from .pairs import compare_steps

    rows, width = 2048, 256
    torch.manual_seed(0)
    head = LinearHead(width, vocab).to(device)
    weight = head.weight
    assert weight is not None
    hidden = torch.randn(rows, width, device=device, requires_grad=True)
    target = torch.randint(vocab, (rows,), device=device)
    factor = torch.rand(rows, device=device)

    def ours() -> None:
        nll = head.nll(hidden, target, row_weight=factor if weighted else None)
        (factor * nll if weighted else nll).mean().backward()

    def plain() -> None:
        nll = F.cross_entropy(F.linear(hidden, weight), target, reduction="none")
        (factor * nll if weighted else nll).mean().backward()

    how = "weighed rows" if weighted else "mean"
    what = f"LinearHead.nll, {how}, forward + backward: N {rows}, d {width}, V {vocab}"
    told = "; ours is told the weights, as a loss tells them that knows them from the targets" if weighted else ""
    note = f"the baseline holds all (N, V) logits; ours never does{told}"
    return compare_steps(name, what, ours, plain, pairs=pairs, note=note)


def bench_head_large(pairs: int, device: str) -> Result:
    """The same with a large vocabulary."""
    return bench_head(pairs, device, name="head-large", vocab=VOCAB)


def bench_head_weighted(pairs: int, device: str) -> Result:
    """The same, large, behind a loss that weighs rows, as Power-Law Decay does."""
    return bench_head(pairs, device, name="head-weighted", vocab=VOCAB, weighted=True)


def bench_head_memory(pairs: int, device: str) -> Result:
    """Peak memory of a forward and backward pass beyond weights and their gradients, in processes of their own."""
    from .pairs import compare_peaks

    return compare_peaks(
        "head-memory",
        f"LinearHead.nll, peak memory beyond weights and gradients: N 4096, d 256, V {VOCAB}, forward + backward",
        lambda: memory_of("told", device),
        lambda: memory_of("plain", device),
        pairs=pairs,
        note="behind weighed rows, which ours is told, as in training; the baseline holds all logits, ours those of a "
        "chunk of rows, or the prepared gradient by the weights (V d numbers) where that is more",
    )


def bench_vq(pairs: int, device: str, *, within_code: str = "none") -> Result:
    """The codebook head's loss, forward and backward, against a full head with cross_entropy."""
    from .pairs import compare_steps

    rows, width, codes = 2048, 512, 1024
    torch.manual_seed(0)
    # targets and counts as Zipf's law has them: for classes the time depends on which codes are asked for
    share = 1.0 / torch.arange(1, VOCAB + 1)
    classes = within_code == "class_softmax"
    tail = codes if classes else 1
    counts = (1e6 * share).long()
    head = VQLogitsHead(width, VOCAB, codes, within_code=within_code, token_counts=counts, tail_codes=tail).to(device)
    weight = torch.nn.Parameter(0.02 * torch.randn(VOCAB, width, device=device))
    if classes:
        head.tie(torch.nn.Parameter(weight.detach().clone()))
    hidden = torch.randn(rows, width, device=device, requires_grad=True)
    target = torch.multinomial(share, rows, replacement=True).to(device)
    name = "vq-classes" if classes else "vq"
    what = f"VQLogitsHead.nll ({within_code}), forward + backward: N {rows}, d {width}, V {VOCAB}, K {codes}"
    note = "the baseline is a full head: all logits in one product, then cross_entropy; targets follow Zipf's law"
    return compare_steps(
        name,
        what,
        lambda: head.nll(hidden, target).mean().backward(),
        lambda: F.cross_entropy(F.linear(hidden, weight), target).backward(),
        pairs=pairs,
        note=note,
    )


def bench_vq_classes(pairs: int, device: str) -> Result:
    """The same with a softmax over the tokens of the target's code, whose rows are the tied embedding."""
    return bench_vq(pairs, device, within_code="class_softmax")


def bench_vq_logits(pairs: int, device: str, *, rows: int = 1) -> Result:
    """Logits of a few rows, as decoding asks for them, against a full head's."""
    from .pairs import compare_steps

    width, codes, often = 512, 1024, 16
    torch.manual_seed(0)
    head, full = VQLogitsHead(width, VOCAB, codes).to(device), LinearHead(width, VOCAB).to(device)
    hidden = torch.randn(rows, width, device=device)

    @torch.no_grad()
    def repeat(part: torch.nn.Module) -> None:
        for _ in range(often):
            part(hidden)

    what = f"{often} x all V logits for decoding: N {rows}, d {width}, V {VOCAB}, K {codes}"
    note = "ours spreads K logits over V tokens; its greedy() and sample() do without that"
    return compare_steps(f"vq-logits-{rows}", what, lambda: repeat(head), lambda: repeat(full), pairs=pairs, note=note)


def bench_vq_logits_batch(pairs: int, device: str) -> Result:
    """The same for 16 rows."""
    return bench_vq_logits(pairs, device, rows=16)


def memory_of(kind: str, device: str) -> int:
    """:func:`head_memory` in a process of its own, since a process never gives its peak back."""
    code = f"from {__name__} import head_memory; print(head_memory({kind!r}, {device!r}))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"measuring the memory of the {kind} head failed:\n{finished.stderr[-2000:]}")
    return int(finished.stdout.split()[-1])


def head_memory(kind: str, device: str, *, rows: int = 4096, width: int = 256, vocab: int = VOCAB) -> int:
    """Bytes by which the peak of one pass with weighed rows lies above weights, inputs and all gradients.

    Args:
        kind: ``told``, ours that prepares the gradient by the weights, as behind a mean or a loss that tells its
            weights; ``untold``, ours that makes it in the backward pass; or ``plain``.
        device: cpu, where it is the resident memory of this process, or cuda, where it is the device's.
        rows: N.
        width: d.
        vocab: V.
    """
    if kind not in ("told", "untold", "plain"):
        raise ArgumentError("kind", "told, untold or plain", kind)
    head = LinearHead(width, vocab).to(device)
    weight = head.weight
    assert weight is not None

    def step(n: int) -> int:
        hidden = torch.randn(n, width, device=device, requires_grad=True)
        target, factor = torch.randint(vocab, (n,), device=device), torch.rand(n, device=device)
        weight.grad = None
        before = resident_memory(device)
        if kind == "plain":
            nll = F.cross_entropy(F.linear(hidden, weight), target, reduction="none")
        else:
            nll = head.nll(hidden, target, row_weight=factor if kind == "told" else None)
        (factor * nll).mean().backward()
        gradients = sum(t.grad.nbytes for t in (weight, hidden) if t.grad is not None)
        return peak_memory(device) - before - gradients

    step(2)  # what libraries set up at their first use is no part of the head
    return step(rows)
