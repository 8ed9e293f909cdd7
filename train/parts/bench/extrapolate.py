"""Benchmarks of evaluation beyond the training length, beside the loop that one would write without it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from ....models import Decoder
from ...evaluate.extrapolate.protocols import fixed_target, non_overlapping
from ...evaluate.extrapolate.scorers import score, scorer_for
from ...evaluate.extrapolate.stream import TextStream
from ...fit.measure import MemoryMeter, Step, in_fresh_process
from .pairs import Case

VOCAB, WIDTH, LAYERS, HEADS = 8192, 128, 3, 4
LARGE_VOCAB = 50_257
TRAIN_LENGTH = 128
LENGTH = 16 * TRAIN_LENGTH
MEMORY_LENGTH = 2 * LENGTH
_WINDOWS = 4


def evaluation(device: str, *, protocol: str, stride: int | None = None, vocab: int = VOCAB) -> Case:
    """Evaluation of windows against the plain loop; with a stride only the tokens new in a window are scored."""
    ours, plain = _steps(device, _WINDOWS, stride=stride, vocab=vocab)
    sizes = f"{_WINDOWS} windows of {LENGTH:,} (16x): d {WIDTH}, {LAYERS} layers, V {vocab:,}"
    note = "the baseline: model(input) and cross_entropy, window by window, all logits of a window at once"
    return Case(f"{protocol} evaluation, {sizes}", ours, plain, note)


def evaluation_memory(device: str) -> Case:
    """Growth of peak memory of both."""
    return Case(
        f"non-overlapping evaluation, growth of peak memory, a window of {MEMORY_LENGTH:,}, V {VOCAB:,}",
        lambda: in_fresh_process(memory_growth, "ours", device),
        lambda: in_fresh_process(memory_growth, "plain", device),
        note="above a window of 16 tokens",
        memory=True,
    )


_HALF, _FIXED = LENGTH // 2, TRAIN_LENGTH // 2
CASES: dict[str, Callable[[str], Case]] = {
    "extrapolate": partial(evaluation, protocol="non-overlapping"),
    # with GPT-2's number of tokens, at which the logits are most of the work
    "extrapolate-large": partial(evaluation, protocol="non-overlapping", vocab=LARGE_VOCAB),
    "extrapolate-sliding": partial(evaluation, protocol=f"sliding (stride {_HALF:,})", stride=_HALF),
    # windows score half the smallest length, as those of fixed targets do
    "extrapolate-fixed": partial(evaluation, protocol=f"fixed-target (stride {_FIXED})", stride=_FIXED),
    "extrapolate-memory": evaluation_memory,
}


def memory_growth(name: str, device: str) -> float:
    """Bytes by which scoring a window of MEMORY_LENGTH raises the peak of this process, libraries warmed up."""
    warm, measured = (_steps(device, 1, length=length)[0 if name == "ours" else 1] for length in (16, MEMORY_LENGTH))
    warm()
    meter = MemoryMeter(torch.device(device))
    measured()
    return meter.peak_mb() * 1e6


def _steps(
    device: str, windows: int, *, length: int = LENGTH, stride: int | None = None, vocab: int = VOCAB
) -> tuple[Step, Step]:
    """Scoring of random tokens by a model of random weights: ours, and the plain loop."""
    model = Decoder(vocab, WIDTH, LAYERS, HEADS).to(device).eval()
    n = (windows * length if stride is None else length + windows * stride) + 1
    ids = torch.randint(vocab, (n,))
    scored = np.arange(n) > 0
    ones = np.ones(n, dtype=np.int64)
    stream = TextStream(ids.numpy(), scored, 0 * ones, ones, ones, 1, "", "whitespace")
    # for sliding windows too: all but their first, which is scored whole
    cut = fixed_target(stream, length, length, stride=stride) if stride else non_overlapping(stream, length)
    scorer = scorer_for(model, ids[None, :16].to(device))

    def ours() -> object:
        return score(scorer, stream, cut, device=torch.device(device), batch_tokens=1 << 13, advance=lambda _: None)

    @torch.no_grad()
    def plain() -> object:
        total = 0.0
        for begin, end, first in zip(cut.begin.tolist(), cut.end.tolist(), cut.first.tolist()):
            row = ids[begin : end + 1].to(device)
            nll = F.cross_entropy(model(row[None, :-1])[0], row[1:], reduction="none")
            total += float(nll[first - begin - 1 :].double().sum())
        return total

    return ours, plain
