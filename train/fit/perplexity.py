"""Perplexity, summed in float64 and divided once, on one process or many."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

MOST_DOCUMENTS = 2000
"""Of more documents no sums are kept: they would be megabytes a record, and little noise is left to tell of."""


class TextPerplexity(Metric):
    r"""Token perplexity, word perplexity and bits per byte from one sum of negative log-likelihoods.

    .. math::
        \mathrm{ppl_{token}} = e^{\,S / n_{tokens}} \qquad
        \mathrm{ppl_{word}} = e^{\,S / n_{words}} \qquad
        \mathrm{bpb} = \frac{S}{\ln 2 \cdot n_{bytes}}

    where :math:`S` is the sum, in float64, of the negative log-likelihoods (nats) of every scored token, and words
    and bytes are those of the *original text* that these tokens stand for. Window means are never averaged: a short
    last window weighs what its tokens weigh. States add up across processes before the one division.

    Where every target's document is told, the sums of each document are kept too: drawing documents anew says how far
    a figure would move with other text of the kind.
    """

    full_state_update = False
    higher_is_better = False

    nll: Tensor
    tokens: Tensor
    words: Tensor
    bytes: Tensor
    by_document: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("nll", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("tokens", "words", "bytes"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        # rows of document, nll, tokens, words, bytes, a few a batch; whole numbers below 2^53 are exact
        self.add_state("by_document", [], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        # a process without a batch has to take part when the rows of all are gathered
        self.by_document.append(torch.zeros(0, 5, dtype=torch.float64, device=self.device))

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Module:
        """Follow the model to its device, but never to its precision: sums stay float64 and counts whole numbers."""
        return super()._apply(lambda state: state.to(fn(state.new_empty(0)).device), exclude_state)

    def update(self, nll: Tensor, scored: Tensor, words: Tensor, bytes: Tensor, document: Tensor | None = None) -> None:
        """Add one batch.

        Args:
            nll: (B, T) negative log-likelihood of each target, in nats, any floating type.
            scored: (B, T) bool, true where the target counts (false on padding and document separators).
            words: (B, T) words of the original text that begin in each target.
            bytes: (B, T) bytes of the original text that each target stands for.
            document: (B, T) number of the document that each target is of.
        """
        self.nll += torch.where(scored, nll.double(), 0.0).sum()
        self.tokens += scored.sum()
        self.words += torch.where(scored, words, 0).sum()
        self.bytes += torch.where(scored, bytes, 0).sum()
        if document is None:
            return
        present, place = document[scored].unique(return_inverse=True)
        each = [nll[scored].double(), *(counts[scored].double() for counts in (scored, words, bytes))]
        rows = torch.zeros(len(present), 5, dtype=torch.float64, device=nll.device)
        rows[:, 0] = present
        rows[:, 1:].index_add_(0, place, torch.stack(each, dim=1))
        self.by_document.append(rows)

    def compute(self) -> dict[str, Any]:
        """The sums and the three figures, ``nan`` where nothing was scored; ``by_document`` where these were told.

        The last is ``document``, ``nll``, ``tokens``, ``words`` and ``bytes``, lists with an entry a document; it is
        left out above :data:`MOST_DOCUMENTS`, and where not every target's document was told.
        """
        nll, tokens = float(self.nll), int(self.tokens)
        found: dict[str, Any] = dict(figures(nll, tokens, int(self.words), int(self.bytes)))
        rows = dim_zero_cat(self.by_document)
        present, place = rows[:, 0].long().unique(return_inverse=True)
        if tokens and rows[:, 2].sum() == tokens and len(present) <= MOST_DOCUMENTS:
            sums = torch.zeros(len(present), 4, dtype=torch.float64, device=rows.device)
            sums.index_add_(0, place, rows[:, 1:])
            counts = {name: sums[:, k].long().tolist() for k, name in enumerate(("tokens", "words", "bytes"), start=1)}
            found["by_document"] = {"document": present.tolist(), "nll": sums[:, 0].tolist(), **counts}
        return found


def figures(nll: float, tokens: int, words: int, n_bytes: int) -> dict[str, float | int]:
    """The record of one evaluation from its sums; see :class:`TextPerplexity` for the formulas."""
    return {
        "nll": nll,
        "tokens": tokens,
        "words": words,
        "bytes": n_bytes,
        "cross_entropy": nll / tokens if tokens else math.nan,
        "token_perplexity": _exp(nll / tokens) if tokens else math.nan,
        "word_perplexity": _exp(nll / words) if words else math.nan,
        "bits_per_byte": nll / (math.log(2) * n_bytes) if n_bytes else math.nan,
    }


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf
