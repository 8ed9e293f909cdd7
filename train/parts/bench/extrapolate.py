"""Benchmarks of evaluation beyond the training length, beside the loop that one would write without it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from ....models import Decoder
from ...fit.measure import MemoryMeter

if TYPE_CHECKING:
    from .pairs import Result

VOCAB, WIDTH, LAYERS, HEADS = 8192, 128, 3, 4
LARGE_VOCAB = 50_257
TRAIN_LENGTH = 128
LENGTH = 16 * TRAIN_LENGTH
MEMORY_LENGTH = 2 * LENGTH
_WINDOWS = 4
_WHAT = f"windows of {LENGTH:,} (16x): d {WIDTH}, {LAYERS} layers"
_NOTE = "the baseline: model(input) and cross_entropy, window by window, all logits of a window at once"


def bench_extrapolate(pairs: int, device: str) -> Result:
    """Evaluation of windows side by side against the plain loop: every token read is scored."""
    return _bench("extrapolate", "non-overlapping", None, pairs, device)


def bench_extrapolate_large(pairs: int, device: str) -> Result:
    """The same with GPT-2's number of tokens, at which the logits are most of the work."""
    return _bench("extrapolate-large", "non-overlapping", None, pairs, device, vocab=LARGE_VOCAB)


def bench_extrapolate_sliding(pairs: int, device: str) -> Result:
    """Windows that advance by half their length, of which only the new tokens are scored."""
    return _bench("extrapolate-sliding", f"sliding (stride {LENGTH // 2:,})", LENGTH // 2, pairs, device)


def bench_extrapolate_fixed(pairs: int, device: str) -> Result:
    """Windows that score half the smallest length, as those of fixed targets do."""
    stride = TRAIN_LENGTH // 2
    return _bench("extrapolate-fixed", f"fixed-target (stride {stride})", stride, pairs, device)


def _bench(name: str, what: str, stride: int | None, pairs: int, device: str, *, vocab: int = VOCAB) -> Result:
    from .pairs import compare_steps

    ours, plain = _steps(device, _WINDOWS, stride=stride, vocab=vocab)
    what = f"{what} evaluation, {_WINDOWS} {_WHAT}, V {vocab:,}"
    return compare_steps(name, what, ours, plain, pairs=pairs, note=_NOTE)


def bench_extrapolate_memory(pairs: int, device: str) -> Result:
    """Growth of peak memory of both, each measured in processes of its own."""
    from .pairs import compare_peaks

    return compare_peaks(
        "extrapolate-memory",
        f"non-overlapping evaluation, growth of peak memory, a window of {MEMORY_LENGTH:,}, V {VOCAB:,}",
        lambda: _memory_of("ours", device),
        lambda: _memory_of("plain", device),
        pairs=pairs,
        note="above a window of 16 tokens",
    )


def memory_growth(name: str, device: str) -> float:
    """Bytes by which scoring a window of MEMORY_LENGTH raises the peak of this process, libraries warmed up."""
    warm, measured = (_steps(device, 1, length=length)[0 if name == "ours" else 1] for length in (16, MEMORY_LENGTH))
    warm()
    meter = MemoryMeter(torch.device(device))
    measured()
    return meter.peak_mb() * 1e6


def _steps(
    device: str, windows: int, *, length: int = LENGTH, stride: int | None = None, vocab: int = VOCAB
) -> tuple[Callable[[], object], Callable[[], object]]:
    from ...evaluate.extrapolate.protocols import fixed_target, non_overlapping
    from ...evaluate.extrapolate.scorers import score, scorer_for
    from ...evaluate.extrapolate.stream import TextStream

    torch.manual_seed(0)
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


def _memory_of(name: str, device: str) -> float:
    code = f"from {__name__} import memory_growth; print(memory_growth({name!r}, {device!r}))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"measuring the memory of {name} failed:\n{finished.stderr[-2000:]}")
    return float(finished.stdout.split()[-1])
