"""Three ways to cut a text into windows, which ask three different questions."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ....errors import ArgumentError, require
from .stream import Ints, TextStream

Within = Literal["text", "document"]

PROTOCOLS = ("non_overlapping", "sliding", "fixed_target")


@dataclass(frozen=True)
class Windows:
    """W windows on a stream. Window w reads tokens[begin:end] and scores tokens[first:end + 1].

    The target at index j is predicted from the j - begin tokens before it in the window; begin < first <= end. No
    target is in two windows.

    Attributes:
        begin, end, first: (W,) each.
        stride: targets of a full window where windows overlap, else None.
        eligible: targets from which these were taken, separators not counted.
    """

    begin: Ints
    end: Ints
    first: Ints
    stride: int | None
    eligible: int

    @property
    def inputs(self) -> int:
        """Tokens that a model has to read for all of them."""
        return int((self.end - self.begin).sum())


def non_overlapping(stream: TextStream, length: int) -> Windows:
    """Windows of ``length`` side by side; every token is scored, with 1 to ``length`` tokens of context.

    Window k reads tokens[k T : k T + T] and scores the T tokens one further on. The last window is as long as what is
    left. Longer windows lower the loss by themselves, since fewer tokens have little context.
    """
    begin = np.arange(0, len(stream) - 1, length)
    end = np.minimum(begin + length, len(stream) - 1)
    return Windows(begin, end, begin + 1, None, stream.targets)


def sliding(stream: TextStream, length: int, stride: int | None = None) -> Windows:
    """Windows of ``length`` that advance by ``stride``, ``length`` // 2 if none is given; every token is scored.

    Of each window only the last ``stride`` tokens are scored, with T - stride + 1 to T tokens of context. All of the
    first window are, since the text has no more before them; the last is as long as what is left.
    """
    stride = max(1, length // 2) if stride is None else stride
    require(1 <= stride <= length, "stride", f"a number from 1 to the length {length}", stride)
    last = len(stream) - 1
    more = max(0, -(-(last - length) // stride))
    begin = stride * np.arange(more + 1)
    end = np.minimum(begin + length, last)
    first = np.concatenate([[1], begin[:-1] + length + 1])
    return Windows(begin, end, first, stride, stream.targets)


def fixed_target(
    stream: TextStream,
    length: int,
    longest: int,
    *,
    stride: int,
    targets: int | None = None,
    within: Within = "text",
) -> Windows:
    """The same targets whatever the length, each read with T - stride + 1 to T tokens of context.

    Eligible is every token with at least ``longest`` tokens before it in the text, or in its own document where
    ``within`` says so (the separator before a document counts as its first token). Eligible tokens are cut into runs
    of ``stride``, a window for each; with ``targets``, as many runs as that takes are used, spread evenly.

    Args:
        stream: the text.
        length: T.
        longest: the greatest of all lengths that are to be compared.
        stride: targets of a window, at most the smallest of these lengths.
        targets: about how many targets to score; None is all.
        within: where the context has to lie.

    Raises:
        ArgumentError: no token has so much context; an argument is out of range.
    """
    require(1 <= stride <= length <= longest, "stride", f"a number from 1 to the smallest length {length}", stride)
    if within == "text":
        spans = [(0, len(stream))]
    else:
        starts = np.searchsorted(stream.document, np.arange(stream.documents + 1))
        spans = [(int(a), int(b)) for a, b in itertools.pairwise(starts)]
    runs = [np.arange(a + longest, b, stride) for a, b in spans if b - a > longest]
    ends = [np.minimum(run + stride, b) for run, b in zip(runs, (b for a, b in spans if b - a > longest))]
    if not runs:
        most = max(b - a for a, b in spans) - 1
        raise ArgumentError("lengths", f"at most {most}, the context that the {within}'s last token has", longest)
    first, end = np.concatenate(runs), np.concatenate(ends) - 1
    scored = np.concatenate([[0], np.cumsum(stream.scored)])
    eligible = int((scored[end + 1] - scored[first]).sum())
    if targets is not None and targets < stride * len(first):
        count = -(-targets // stride)
        chosen = np.round(np.linspace(0, len(first) - 1, count)).astype(np.int64)
        first, end = first[chosen], end[chosen]
    return Windows(end - length, end, first, stride, eligible)
