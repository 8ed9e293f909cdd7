"""Where a model loses: cross-entropy by how often the target was seen in training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....layers import Head
from ....models import Decoder
from ...fit.perplexity import figures
from ...storage import Record

DECILES = 10
UNSEEN = "unseen"
BUCKETS = (*(str(k + 1) for k in range(DECILES)), UNSEEN)

DEFINITION = (
    "Token ids are put in the order of how often each is a label in the training split, the most frequent first (of "
    "equal counts the lower id), and this order is cut where the counts add up to each tenth of all training labels: "
    "decile 1 holds the few most frequent ids, decile 10 the many rarest, each a tenth of the training text. An id "
    "that reaches over a cut is in the decile in which it begins. Ids that training never saw stand apart. Document "
    "separators count among the training labels and are never scored."
)


def frequency_buckets(token_counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The bucket of each token id by its training count, as :data:`DEFINITION` says: (V,) -> (V,).

    0 to 9 are deciles 1 to 10 of the training text, 10 is never seen. With c_i the count and b_i the sum of the counts
    of all ids before i in the order, the decile of i is floor(10 b_i / sum c) + 1, in whole numbers. Deciles are empty
    where one id has more than a tenth of the text.
    """
    order = np.argsort(-token_counts, kind="stable")
    sorted_counts = token_counts[order]
    before = np.cumsum(sorted_counts) - sorted_counts
    total = int(token_counts.sum())
    buckets = np.full(len(token_counts), DECILES, dtype=np.int64)
    seen = sorted_counts > 0
    buckets[order[seen]] = DECILES * before[seen] // max(total, 1)
    return buckets


class LossByType:
    """Sums of negative log-likelihood, in float64, and counts of targets for every token id.

    Args:
        vocab_size: V.
    """

    def __init__(self, vocab_size: int) -> None:
        self.nll = torch.zeros(vocab_size, dtype=torch.float64)
        self.tokens = torch.zeros(vocab_size, dtype=torch.int64)
        self.words = self.bytes = 0

    def update(self, nll: Tensor, batch: dict[str, Tensor]) -> None:
        """Add one evaluation batch: ``nll`` (B, T) of the targets ``batch["input_ids"][:, 1:]``, where ``scored``."""
        scored = batch["scored"].cpu()
        target = batch["input_ids"][:, 1:].cpu()[scored]
        self.nll.index_add_(0, target, nll.cpu()[scored].double())
        self.tokens += torch.bincount(target, minlength=len(self.tokens))
        self.words += int(batch["words"].cpu()[scored].sum())
        self.bytes += int(batch["bytes"].cpu()[scored].sum())

    def record(self, token_counts: npt.NDArray[np.int64]) -> Record:
        """The figures of the whole text and of every bucket, one division each.

        The whole text's nll and tokens are the sums over the buckets.
        """
        bucket_of = frequency_buckets(token_counts)
        nll, tokens = self.nll.numpy(), self.tokens.numpy()
        buckets: list[Record] = []
        for k, name in enumerate(BUCKETS):
            own = bucket_of == k
            n, total = int(tokens[own].sum()), math.fsum(nll[own].tolist())
            buckets.append(
                {
                    "bucket": name,
                    "types": int(own.sum()),
                    "training_tokens": int(token_counts[own].sum()),
                    "tokens": n,
                    "nll": total,
                    "cross_entropy": total / n if n else math.nan,
                }
            )
        whole = figures(sum(b["nll"] for b in buckets), sum(b["tokens"] for b in buckets), self.words, self.bytes)
        return {**whole, "buckets": buckets}


@torch.no_grad()
def score_by_type(
    network: Decoder,
    heads: Mapping[str, Head],
    batches: Iterable[dict[str, Tensor]],
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, LossByType]:
    """Score evaluation batches once, through each of ``heads`` on the same hidden states.

    Args:
        network: whose hidden states the heads read; on whatever device.
        heads: by name.
        batches: of the non-overlapping protocol, as the data module gives them.
        advance: told how many batches were done.
    """
    device = network.embedding.weight.device
    sums = {name: LossByType(network.vocab_size) for name in heads}
    for batch in batches:
        ids = batch["input_ids"].to(device)
        hidden, target = network.hidden(ids[:, :-1]).flatten(0, 1), ids[:, 1:]
        for name, head in heads.items():
            sums[name].update(head.nll(hidden, target.flatten()).view_as(target), batch)
        advance(1)
    return sums
