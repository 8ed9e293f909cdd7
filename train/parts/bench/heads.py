"""Benchmarks of output heads and their losses: time and memory beside all logits at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....errors import require
from ....layers import LinearHead, VQLogitsHead
from ...fit.measure import in_fresh_process, peak_memory, resident_memory
from .pairs import Case

VOCAB = 50_257


def _full_nll(hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """The baseline: all (N, V) logits in one product, then cross_entropy; (N,)."""
    return F.cross_entropy(F.linear(hidden, weight), target, reduction="none")


def _weight_of(head: LinearHead) -> nn.Parameter:
    assert head.weight is not None
    return head.weight


def linear(device: str, *, large: bool = False, weighted: bool = False) -> Case:
    """``LinearHead.nll`` forward and backward, behind a mean or behind a loss that weighs rows, as Power-Law Decay."""
    rows, width, vocab = 2048, 256, VOCAB if large else 8192
    head = LinearHead(width, vocab).to(device)
    hidden = torch.randn(rows, width, device=device, requires_grad=True)
    target = torch.randint(vocab, (rows,), device=device)
    factor = torch.rand(rows, device=device) if weighted else None

    def backward(nll: Tensor) -> None:
        (nll if factor is None else factor * nll).mean().backward()

    how = "weighed rows" if weighted else "mean"
    told = "; ours is told the weights, as a loss tells them that knows them from the targets" if weighted else ""
    return Case(
        f"LinearHead.nll, {how}, forward + backward: N {rows}, d {width}, V {vocab}",
        lambda: backward(head.nll(hidden, target, row_weight=factor)),
        lambda: backward(_full_nll(hidden, _weight_of(head), target)),
        note=f"the baseline holds all (N, V) logits; ours never does{told}",
    )


def linear_memory(device: str) -> Case:
    """Peak memory of a forward and backward pass beyond weights and their gradients."""
    return Case(
        f"LinearHead.nll, peak memory beyond weights and gradients: N 4096, d 256, V {VOCAB}, forward + backward",
        lambda: in_fresh_process(head_memory, "told", device),
        lambda: in_fresh_process(head_memory, "plain", device),
        note="behind weighed rows, which ours is told, as in training; the baseline holds all logits, ours those of a "
        "chunk of rows, or the prepared gradient by the weights (V d numbers) where that is more",
        memory=True,
    )


def codebook(device: str, *, within_code: str = "none") -> Case:
    """The codebook head's loss, forward and backward, against a full head with cross_entropy.

    With ``class_softmax`` it has a softmax over the tokens of the target's code, whose rows are the tied embedding.
    """
    rows, width, codes = 2048, 512, 1024
    # targets and counts as Zipf's law has them: for classes the time depends on which codes are asked for
    share = 1.0 / torch.arange(1, VOCAB + 1)
    classes = within_code == "class_softmax"
    tail = codes if classes else 1
    counts = (1e6 * share).long()
    head = VQLogitsHead(width, VOCAB, codes, within_code=within_code, token_counts=counts, tail_codes=tail).to(device)
    weight = nn.Parameter(0.02 * torch.randn(VOCAB, width, device=device))
    if classes:
        head.tie(nn.Parameter(weight.detach().clone()))
    hidden = torch.randn(rows, width, device=device, requires_grad=True)
    target = torch.multinomial(share, rows, replacement=True).to(device)
    return Case(
        f"VQLogitsHead.nll ({within_code}), forward + backward: N {rows}, d {width}, V {VOCAB}, K {codes}",
        lambda: head.nll(hidden, target).mean().backward(),
        lambda: _full_nll(hidden, weight, target).mean().backward(),
        note="the baseline is a full head: all logits in one product, then cross_entropy; targets follow Zipf's law",
    )


def codebook_logits(device: str, *, rows: int) -> Case:
    """Logits of a few rows, as decoding asks for them, against a full head's."""
    width, codes, often = 512, 1024, 16
    head, full = VQLogitsHead(width, VOCAB, codes).to(device), LinearHead(width, VOCAB).to(device)
    hidden = torch.randn(rows, width, device=device)

    @torch.no_grad()
    def repeat(part: nn.Module) -> None:
        for _ in range(often):
            part(hidden)

    return Case(
        f"{often} x all V logits for decoding: N {rows}, d {width}, V {VOCAB}, K {codes}",
        lambda: repeat(head),
        lambda: repeat(full),
        note="ours spreads K logits over V tokens; its greedy() and sample() do without that",
    )


CASES: dict[str, Callable[[str], Case]] = {
    "head": linear,
    "head-large": partial(linear, large=True),
    "head-weighted": partial(linear, large=True, weighted=True),
    "head-memory": linear_memory,
    "vq": codebook,
    "vq-classes": partial(codebook, within_code="class_softmax"),
    "vq-logits-1": partial(codebook_logits, rows=1),
    "vq-logits-16": partial(codebook_logits, rows=16),
}


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
    require(kind in ("told", "untold", "plain"), "kind", "told, untold or plain", kind)
    head = LinearHead(width, vocab).to(device)
    weight = _weight_of(head)

    def step(n: int) -> int:
        hidden = torch.randn(n, width, device=device, requires_grad=True)
        target, factor = torch.randint(vocab, (n,), device=device), torch.rand(n, device=device)
        weight.grad = None
        before = resident_memory(device)
        if kind == "plain":
            nll = _full_nll(hidden, weight, target)
        else:
            nll = head.nll(hidden, target, row_weight=factor if kind == "told" else None)
        (factor * nll).mean().backward()
        gradients = sum(t.grad.nbytes for t in (weight, hidden) if t.grad is not None)
        return peak_memory(device) - before - gradients

    step(2)  # what libraries set up at their first use is no part of the head
    return step(rows)
