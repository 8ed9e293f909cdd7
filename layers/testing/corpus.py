"""A made-up corpus for parts that want to know one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..common.corpus_statistics import CorpusStatistics
from ..common.part import Part, defines


def introduce(part: nn.Module, vocab_size: int, d_model: int = 8) -> None:
    """Call the part's ``use_corpus``, if it defines one, with statistics drawn from torch's generator.

    Counts fall like Zipf's law over ids in random order, and a tenth of the ids never occurs. There are also vectors
    of co-occurrence and rows of a trained model, so that a part finds whatever it may ask for.
    """
    if not defines(part, Part.use_corpus):
        return
    counts = 1000 // torch.arange(1, vocab_size + 1)
    counts[: max(1, vocab_size * 9 // 10)] += 1
    part.use_corpus(
        CorpusStatistics(
            token_counts=counts[torch.randperm(vocab_size)],
            cooccurrence=lambda rank: torch.randn(vocab_size, rank),
            embedding=torch.randn(vocab_size, d_model),
            cluster=_clusters,
        )
    )


def _clusters(rows: Tensor, number: int, seed: int) -> Tensor:
    return torch.arange(len(rows)) % number
