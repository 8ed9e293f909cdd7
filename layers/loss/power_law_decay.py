"""A loss that gives rare tokens more weight, by a power of their training counts; and the weights as a function."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import ArgumentError, require
from ..common.corpus_statistics import CorpusStatistics
from ..head.vq.vq_nll import check_target
from .loss import Loss, mean

NORMALIZATIONS = ("corpus_mean", "weighted_mean", "sum")


class PowerLawDecay(Loss):
    """loss = sum_n w(target_n) nll_n / Z, w(t) = 1 / (count(t) + smoothing + eps)^alpha.

    Z is one of

    - ``corpus_mean``: N sum_v p(v) w(v), p the share of each id among the training labels: a constant for a batch
      size, so that a token's gradient does not depend on which others are in its batch.
    - ``weighted_mean``: the sum of the weights in the batch (of one device), as in the author's code.
    - ``sum``: 1, as the paper has it; the loss then grows with the batch.

    The first two are in nats a token, and with alpha = 0 they are cross-entropy to the last bit. alpha = 1 with
    ``max_weight`` is the weighting by inverse frequency with a cap.

    Plain perplexity gets worse by construction: the loss is least at q(t) proportional to w(t) p(t).
    ``head.debias(loss.log_weight())`` takes that back.

    Args:
        token_counts: (V), how often each id is a label in the training data; None waits for :meth:`use_corpus`.
        alpha: the power, 0 to 1.5. The paper has 0.25 to 1.5; 0.5 serves training from scratch, the author's code
            has 1.0.
        normalization: ``corpus_mean``, ``weighted_mean`` or ``sum``.
        eps: keeps w finite without smoothing.
        smoothing: added to every count, so that an id never seen weighs 1 and not eps^-alpha.
        max_weight: no weight exceeds this many times the corpus mean sum_v p(v) w(v). The mean in Z is then that of
            the capped weights. None is no cap.

    Raises:
        ArgumentError: an argument is out of range; no counts were given before the first use; a target is out of
            range (on a CPU; CUDA asserts it).

    Not supported: counts that change while training goes on.

    Source: arXiv:2505.16900, which reports no experiments.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"alpha": 0.0, "normalization": "corpus_mean"}
    token_counts: Tensor | None

    def __init__(
        self,
        token_counts: Sequence[int] | Tensor | None = None,
        alpha: float = 0.5,
        *,
        normalization: str = "corpus_mean",
        eps: float = 1e-7,
        smoothing: float = 1.0,
        max_weight: float | None = None,
    ) -> None:
        super().__init__()
        expected = "0 to 1.5: 0 is cross-entropy, 0.5 mild, 1 makes every token of the vocabulary count alike"
        require(math.isfinite(alpha) and 0 <= alpha <= 1.5, "alpha", expected, alpha)
        require(normalization in NORMALIZATIONS, "normalization", f"one of {', '.join(NORMALIZATIONS)}", normalization)
        expected = "None or a finite number of at least 1, in units of the mean weight"
        require(
            max_weight is None or (math.isfinite(max_weight) and max_weight >= 1), "max_weight", expected, max_weight
        )
        self.alpha = alpha
        self.normalization = normalization
        self.eps = eps
        self.smoothing = smoothing
        self.max_weight = max_weight
        power_law_weights(torch.zeros(0), alpha, eps=eps, smoothing=smoothing)  # its checks of the arguments
        # Integers, which a change of the model's precision leaves alone. Not in the state dict: a resumed run counts
        # its data again, and an exported model needs no loss.
        self.register_buffer("token_counts", None, persistent=False)
        self._given = token_counts is not None
        self._cap = math.inf
        self._mean = 1.0
        if token_counts is not None:
            self._count(torch.as_tensor(token_counts))

    def use_corpus(self, statistics: CorpusStatistics) -> None:
        """Take the counts of the training data, in place of an earlier corpus's, unless the constructor got some.

        Raises:
            ArgumentError: the constructor's counts are of another vocabulary.
        """
        if self.token_counts is None or not self._given:
            self._count(statistics.token_counts)
            return
        size = len(statistics.token_counts)
        expected = f"counts of the {size} ids of the vocabulary"
        require(len(self.token_counts) == size, "token_counts", expected, f"{len(self.token_counts)} counts")

    def forward(self, nll: Tensor, target: Tensor) -> Tensor:
        """The weighted loss of nll (N), target (N) int64, in nll's type."""
        require(target.shape == nll.shape, "target", f"shape {tuple(nll.shape)}, as nll", tuple(target.shape))
        weight = self._weight(target)
        if self.normalization == "sum":
            return (nll * weight.to(nll.dtype)).sum()
        # A factor of exactly 1 where all weights are 1, so that what is left is the plain mean.
        factor = weight / self._mean if self.normalization == "corpus_mean" else weight * (len(weight) / weight.sum())
        return mean(nll * factor.to(nll.dtype))

    def row_weight(self, target: Tensor) -> Tensor | None:
        """w(target) (N), or None where alpha is 0: then a head sums gradients exactly as for cross-entropy."""
        return None if self.alpha == 0 else self._weight(target)

    def log_weight(self) -> Tensor:
        """Log w (V) float64, by which the loss's optimum is shifted: q(t) proportional to w(t) p(t)."""
        return self._weigh(self._counts()).log()

    def _weight(self, target: Tensor) -> Tensor:
        counts = self._counts()
        check_target(target, len(counts))
        return self._weigh(counts.index_select(0, target))

    def _weigh(self, counts: Tensor) -> Tensor:
        return decay(counts, self.alpha, self.smoothing + self.eps).clamp(max=self._cap)

    def _counts(self) -> Tensor:
        if self.token_counts is None:
            raise ArgumentError(
                "token_counts", "counts, or a call of use_corpus(statistics), before the first use", None
            )
        return self.token_counts

    def _count(self, token_counts: Tensor) -> None:
        given = f"{tuple(token_counts.shape)} {token_counts.dtype}"
        whole = token_counts.dim() == 1 and not token_counts.is_floating_point()
        require(whole, "token_counts", "(V) whole numbers", given)
        counts = token_counts.to(torch.int64)
        require(int(counts.sum()) > 0, "token_counts", "at least one label counted", given)
        require(int(counts.min()) >= 0, "token_counts", "counts of at least 0", int(counts.min()))
        self._cap = math.inf  # the cap is in units of the uncapped mean
        if self.max_weight is not None:
            self._cap = self.max_weight * self._mean_of(counts)
        self._mean = self._mean_of(counts)
        self.token_counts = counts

    def _mean_of(self, counts: Tensor) -> float:
        """sum_v p(v) w(v)."""
        return float((counts * self._weigh(counts)).sum() / counts.sum())


def power_law_weights(token_counts: Tensor, alpha: float, *, eps: float = 1e-7, smoothing: float = 1.0) -> Tensor:
    """w(t) = 1 / (count(t) + smoothing + eps)^alpha.

    A token never seen has a finite weight, 1 under the default smoothing (at 0 it would be eps^-alpha, ten million at
    alpha = 1). alpha = 0 is 1 everywhere, exactly.

    Args:
        token_counts: (V), how often each id is a label in the training data.
        alpha: the power, 0 or more.
        eps: keeps the base above 0 without smoothing.
        smoothing: added to every count.

    Returns:
        (V) float64.

    Raises:
        ArgumentError: a count or an argument is negative or not finite, or eps and smoothing are both 0.

    Source: power-law decay loss, arXiv:2505.16900, which has smoothing = 0.
    """
    for name, value in (("alpha", alpha), ("eps", eps), ("smoothing", smoothing)):
        require(math.isfinite(value) and value >= 0, name, "a finite number of at least 0", value)
    require(eps + smoothing > 0, "smoothing", "above 0 where eps is 0: a count of 0 would weigh infinitely", smoothing)
    if token_counts.numel():
        least, most = (float(c) for c in token_counts.aminmax())
        require(least >= 0 and math.isfinite(most), "token_counts", "finite counts of at least 0", (least, most))
    return decay(token_counts, alpha, smoothing + eps)


def decay(counts: Tensor, alpha: float, offset: float) -> Tensor:
    """(count + offset)^-alpha in float64, unchecked: a check would have to wait for the device."""
    return (counts.to(torch.float64) + offset).pow(-alpha)
