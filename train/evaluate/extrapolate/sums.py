"""Scoring of windows, and what is added up from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .protocols import Windows
from .scorers import Scorer
from .stream import Ints, TextStream

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Every scored target once, n of them.

    Attributes:
        target: index in the stream, (n,).
        context: tokens before it in its window, (n,).
        nll: in nats, (n,).
    """

    target: Ints
    context: Ints
    nll: Floats


@torch.no_grad()
def score(
    scorer: Scorer,
    stream: TextStream,
    windows: Windows,
    *,
    device: torch.device,
    batch_tokens: int,
    advance: Callable[[int], None],
) -> Scores:
    """The nll of every target of the windows but those that the stream does not score.

    Windows of one shape are read together, as many as ``batch_tokens`` tokens hold and at least one; none is padded.

    Args:
        scorer: of the model.
        stream: the text.
        windows: on that text.
        device: where the model is.
        batch_tokens: tokens to read at once.
        advance: told the tokens read after each batch.
    """
    targets, contexts, values = [], [], []
    for begin, length, scored in _batches(windows, 1 if scorer.one_window else batch_tokens):
        ids = stream.tokens[begin[:, None] + np.arange(length + 1)]
        block = torch.from_numpy(ids).to(device)
        nll = scorer.nll(block[:, :-1], block[:, length + 1 - scored :])
        places = begin[:, None] + np.arange(length + 1 - scored, length + 1)
        wanted = stream.scored[places]
        targets.append(places[wanted])
        contexts.append((places - begin[:, None])[wanted])
        values.append(nll.double().cpu().numpy()[wanted])
        advance(ids.shape[0] * length)
    return Scores(np.concatenate(targets), np.concatenate(contexts), np.concatenate(values))


def _batches(windows: Windows, batch_tokens: int) -> Iterator[tuple[Ints, int, int]]:
    """First tokens of windows of one shape, their length and how many of their targets are scored."""
    shapes = np.stack([windows.end - windows.begin, windows.end + 1 - windows.first], axis=1)
    changes = np.flatnonzero((shapes[1:] != shapes[:-1]).any(axis=1)) + 1
    for run in np.split(np.arange(len(shapes)), changes):
        length, scored = (int(n) for n in shapes[run[0]])
        size = max(1, batch_tokens // length)
        for i in range(0, len(run), size):
            yield windows.begin[run[i : i + size]], length, scored


def by_document(stream: TextStream, scores: Scores) -> dict[str, list[Any]]:
    """Sums over the targets of each document that has any, in the documents' order; lists of equal length."""
    index = stream.document[scores.target]
    present, place = np.unique(index, return_inverse=True)
    sums: dict[str, list[Any]] = {"document": present.tolist()}
    sums["nll"] = np.bincount(place, weights=scores.nll).tolist()
    sums["tokens"] = np.bincount(place).tolist()
    for name, counts in (("words", stream.words), ("bytes", stream.bytes)):
        # whole numbers below 2^53 are exact in the float64 of weights
        sums[name] = np.bincount(place, weights=counts[scores.target]).astype(np.int64).tolist()
    return sums


def by_position(scores: Scores) -> list[dict[str, float | int]]:
    """Mean nll by the context that a target had in its window, in buckets 1, 2 to 3, 4 to 7 and so on.

    One mapping for each bucket with targets: ``first`` and ``last`` context, ``tokens``, ``nll`` (the sum) and
    ``cross_entropy`` (the mean).
    """
    bucket = np.frexp(scores.context.astype(np.float64))[1] - 1
    counts = np.bincount(bucket)
    sums = np.bincount(bucket, weights=scores.nll)
    longest = int(scores.context.max())
    return [
        {
            "first": 1 << k,
            "last": min((2 << k) - 1, longest),
            "tokens": int(counts[k]),
            "nll": float(sums[k]),
            "cross_entropy": float(sums[k] / counts[k]),
        }
        for k in np.flatnonzero(counts).tolist()
    ]
