"""What the data module knows of the training text, for the parts that ask."""

from __future__ import annotations

import torch
from torch import Tensor

from ..layers.corpus_statistics import CorpusStatistics
from .data import TextDataModule


def corpus_statistics(data: TextDataModule, embedding: Tensor | None = None) -> CorpusStatistics:
    """Label counts of the training split now, co-occurrence and clusters when a part calls for them.

    Args:
        data: with its training split prepared.
        embedding: (V, d), the rows of a trained model that training starts from.
    """

    def cooccurrence(rank: int) -> Tensor:
        from .token_mappings import cooccurrence_vectors

        vectors: Tensor = cooccurrence_vectors(data.prepared("train"), rank, vocab_size=len(data.tokenizer))
        return vectors

    def cluster(rows: Tensor, n_clusters: int, seed: int) -> Tensor:
        from .token_mappings import cluster as k_means

        codes: Tensor = k_means(rows, n_clusters, seed)
        return codes

    counts = torch.from_numpy(data.token_counts())
    return CorpusStatistics(counts, cooccurrence=cooccurrence, embedding=embedding, cluster=cluster)
