"""How many tokens a codebook head has to tell a target from, on average."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .corpus_statistics import CorpusStatistics

if TYPE_CHECKING:
    from .vq_logits_head import VQLogitsHead


def mean_columns(head: VQLogitsHead) -> float:
    """sum_v p(v) n_M(v): the tokens of the target's code, none for a token alone in its code.

    p(v) is the token's share of the training counts. Before these are known, Zipf's law over the ids stands for them,
    p(v) in proportion to 1 / (v + 1); for ``kmeans`` and ``cooccurrence``, whose codes are not known then either, it is
    an even V / K.
    """
    with torch.device("cpu"):  # also where a model is only counted, on the meta device
        if head.codes.known:
            mapping, counts = head.codes.mapping.cpu().long(), head.codes.counts.cpu()
        elif head.mapping in ("kmeans", "cooccurrence"):
            return head.vocab_size / head.codebook_size
        else:
            counts = head._own_counts()
            mapping = head._codes_of(CorpusStatistics(counts))
        share = counts.double() if bool(counts.any()) else 1.0 / torch.arange(1, head.vocab_size + 1).double()
        sizes = torch.bincount(mapping)[mapping].double()
        return float((share * sizes.masked_fill(sizes == 1, 0.0)).sum() / share.sum())
