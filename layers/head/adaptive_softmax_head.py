"""The adaptive softmax, PyTorch's own: the baseline of the literature for fewer output parameters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import require
from ..common.corpus_statistics import CorpusStatistics
from ..common.full_precision import full_dtype, without_autocast
from .head import Head
from .linear_nll import linear_nll
from .row_forecast import RowForecast
from .vq.code_mappings import by_falling_frequency
from .vq.token_codes import checked_counts
from .vq.vq_nll import check_target


class AdaptiveSoftmaxHead(Head):
    """p(i) = p(i in shortlist), or p(cluster) p(i | cluster) for a rarer token; Grave et al., arXiv:1609.04309.

    ``torch.nn.AdaptiveLogSoftmaxWithLoss`` over the tokens in the order of falling training frequency. The first
    ``cutoffs[0]`` form the shortlist, in one softmax with C clusters; cluster c holds the tokens up to the next cutoff
    (the last one up to V) and sees hidden states through a product of rank d / ``div_value``^c, c = 1..C.

    The order comes from ``token_counts`` or :meth:`use_corpus` and is saved with the model, as the rank (V) of each
    token, int32. Without either, ids are taken as sorted by falling frequency, which holds for few tokenizers: the head
    stays a normalised distribution but wastes its shortlist.

    Everything is computed in float32, under autocast too. :meth:`nll` costs the shortlist for each row and a cluster's
    columns only for the rows whose target lies there, a chunk of rows at a time, see :func:`linear_nll`: its memory is
    O(chunk x the widest of shortlist and clusters + N d). Which rows these are depends on the data, so
    ``torch.compile`` breaks its graph here. Logits are those of PyTorch's module, which also holds the weights.

    Args:
        d_model: d, the width of the hidden states.
        vocab_size: V, at least 2.
        cutoffs: increasing ranks in 1..V-1 at which shortlist and clusters end; None takes V/16 and V/4, or fewer
            where d is too narrow for two clusters.
        div_value: factor by which each cluster's rank falls.
        token_counts: V training counts.

    Raises:
        ArgumentError: a value is out of range, a cluster's rank falls below 1, or counts do not fit.
    """

    why_fixed = "sorts tokens into clusters by training frequency, which new ones do not have"

    rank: Tensor

    def __init__(
        self,
        d_model: int,
        vocab_size: int,
        *,
        cutoffs: Sequence[int] | None = None,
        div_value: float = 4.0,
        token_counts: Sequence[int] | Tensor | None = None,
    ) -> None:
        super().__init__(d_model, vocab_size)
        require(vocab_size >= 2, "vocab_size", "an integer of at least 2", vocab_size)
        require(div_value >= 1.0, "div_value", "a number of at least 1", div_value)
        self.cutoffs = None if cutoffs is None else [int(c) for c in cutoffs]
        self.div_value = div_value
        given = token_counts.tolist() if isinstance(token_counts, Tensor) else token_counts
        self.token_counts = None if given is None else [int(c) for c in given]
        ends = _default_cutoffs(d_model, vocab_size, div_value) if self.cutoffs is None else self.cutoffs
        fits = bool(ends) and ends == sorted(set(ends)) and ends[0] >= 1 and ends[-1] < vocab_size
        require(fits, "cutoffs", f"increasing integers in 1..{vocab_size - 1}", cutoffs)
        narrowest = int(d_model // div_value ** len(ends))
        expected = f"at most {d_model ** (1 / len(ends)):.3g}, so that {len(ends)} clusters have a rank of at least 1"
        require(narrowest >= 1, "div_value", expected, div_value)
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(d_model, vocab_size, ends, div_value)
        self._forecast = RowForecast()
        self.register_buffer("rank", torch.arange(vocab_size, dtype=torch.int32))
        if self.token_counts is not None:
            self._sort(torch.tensor(self.token_counts, device="cpu"))

    def use_corpus(self, statistics: CorpusStatistics) -> None:
        """Sort the tokens by training frequency, unless the constructor was given counts."""
        if self.token_counts is None:
            self._sort(statistics.token_counts)

    def forward(self, hidden: Tensor) -> Tensor:
        """Log-probabilities (..., V) of hidden (..., d), float32, float64 for float64 hidden."""
        dtype = full_dtype(hidden)
        rows = hidden.flatten(0, -2) if hidden.dim() > 1 else hidden[None]
        weights = {f"softmax.{name}": p.to(dtype) for name, p in self.softmax.named_parameters()}
        with without_autocast(hidden):
            log_p: Tensor = torch.func.functional_call(_LogProb(self.softmax), weights, (rows.to(dtype),))
        return log_p.index_select(-1, self.rank).view(*hidden.shape[:-1], self.vocab_size)

    def nll(self, hidden: Tensor, target: Tensor, *, row_weight: Tensor | None = None) -> Tensor:
        """-log p(target | hidden): (N, d), (N) -> (N)."""
        check_target(target, self.vocab_size)
        hidden, softmax = hidden.to(full_dtype(hidden)), self.softmax
        rank = self.rank[target].long()
        cluster = torch.stack([rank >= end for end in softmax.cutoffs[:-1]]).sum(0)  # 0 is the shortlist
        column = torch.where(cluster > 0, softmax.shortlist_size + cluster - 1, rank)
        with without_autocast(hidden):
            product = partial(linear_nll, uniform=self._forecast.uniform)
            nll = product(hidden, softmax.head.weight.to(hidden.dtype), column, row_weight=row_weight)
            for c, (start, tail) in enumerate(zip(softmax.cutoffs, softmax.tail), 1):
                rows = (cluster == c).nonzero().squeeze(1)
                down, columns = (p.to(hidden.dtype) for p in tail.parameters())
                weight = None if row_weight is None else row_weight[rows]
                within = product(F.linear(hidden[rows], down), columns, rank[rows] - start, row_weight=weight)
                nll = nll.index_add(0, rows, within)
        return nll if row_weight is not None else self._forecast.watch(nll)

    def matmul_weights(self) -> int:
        """The shortlist's rows; a cluster's in the share of the rows that Zipf's law sends there.

        An estimate that needs no corpus: token of rank r with probability proportional to 1 / r.
        """
        inverse = 1.0 / torch.arange(1, self.vocab_size + 1, dtype=torch.float64, device="cpu")
        ends = self.softmax.cutoffs
        weights = float(self.softmax.head.weight.numel())
        for i, tail in enumerate(self.softmax.tail):
            share = float(inverse[ends[i] : ends[i + 1]].sum() / inverse.sum())
            weights += share * sum(p.numel() for p in tail.parameters())
        return round(weights)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        state_dict.pop(prefix + "order", None)  # the inverse of the ranks, which an earlier version saved too
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    @torch.no_grad()
    def _sort(self, token_counts: Tensor) -> None:
        if not self.rank.is_meta:
            order = by_falling_frequency(checked_counts(token_counts, self.vocab_size))
            self.rank.copy_(torch.argsort(order))


class _LogProb(nn.Module):
    """``log_prob`` of PyTorch's module as a call, which is what can be given weights of another type."""

    def __init__(self, softmax: nn.AdaptiveLogSoftmaxWithLoss) -> None:
        super().__init__()
        self.softmax = softmax

    def forward(self, hidden: Tensor) -> Tensor:
        log_p: Tensor = self.softmax.log_prob(hidden)
        return log_p


def _default_cutoffs(d_model: int, vocab_size: int, div_value: float) -> list[int]:
    ends = sorted({max(1, vocab_size // 16), max(1, vocab_size // 4)})
    while len(ends) > 1 and d_model // div_value ** len(ends) < 1:
        ends.pop()
    return ends
