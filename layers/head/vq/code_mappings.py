"""Which of K codes each of V tokens shares: (V,) int64 code ids on the CPU, deterministic, no code ever empty."""

from __future__ import annotations

import torch
from torch import Tensor

from ....errors import ArgumentError, require
from ...common.corpus_statistics import CorpusStatistics


def named_mapping(
    name: str, statistics: CorpusStatistics, codebook_size: int, *, tail_codes: int, tail: str, rank: int, seed: int
) -> Tensor:
    """The mapping of a name, for the vocabulary that the statistics count; for the options see the functions below."""
    vocab_size = statistics.token_counts.numel()
    if name == "random":
        return random_mapping(vocab_size, codebook_size, seed)
    if name == "contiguous":
        return contiguous_mapping(vocab_size, codebook_size)
    if name == "frequency":
        return frequency_mapping(statistics.token_counts, codebook_size, tail_codes=tail_codes, tail=tail)
    return clustered_mapping(name, statistics, vocab_size, codebook_size, rank=rank, seed=seed)


def contiguous_mapping(vocab_size: int, codebook_size: int) -> Tensor:
    """K blocks of neighbouring ids whose sizes differ by one at most."""
    return torch.arange(vocab_size, device="cpu") * codebook_size // vocab_size


def random_mapping(vocab_size: int, codebook_size: int, seed: int) -> Tensor:
    """K codes of (almost) equal size, their tokens drawn under a seed."""
    order = torch.randperm(vocab_size, generator=torch.Generator().manual_seed(seed), device="cpu")
    return _by_rank(order, contiguous_mapping(vocab_size, codebook_size))


def frequency_mapping(token_counts: Tensor, codebook_size: int, *, tail_codes: int = 1, tail: str = "mass") -> Tensor:
    """The K - ``tail_codes`` most frequent tokens alone; the others share ``tail_codes`` codes, the frequent first.

    Args:
        token_counts: (V,) int64.
        codebook_size: K.
        tail_codes: codes that the tail is cut into, along falling frequency; K leaves no token alone by rule.
        tail: ``mass``: the cuts give each tail code an equal part of the tail's occurrences (each token counted once
            more than it occurs); ``size``: an equal number of tokens.
    """
    vocab_size = token_counts.numel()
    order = by_falling_frequency(token_counts)
    heads = codebook_size - tail_codes
    counts = token_counts.cpu()[order[heads:]].double() + 1.0
    ends = torch.arange(1, tail_codes + 1, dtype=torch.float64)
    if tail == "mass":
        cuts = torch.searchsorted(counts.cumsum(0), ends[:-1] * (counts.sum() / tail_codes)) + 1
    else:
        cuts = (ends[:-1] * counts.numel() / tail_codes).long()
    # a token more frequent than a whole share would leave the next code empty
    steps = torch.arange(tail_codes - 1)
    cuts = torch.maximum(torch.cummax(cuts - steps, 0).values if cuts.numel() else cuts, torch.ones_like(cuts)) + steps
    cuts = torch.minimum(cuts, counts.numel() - tail_codes + 1 + steps)
    tail_ids = torch.bucketize(torch.arange(counts.numel()), cuts, right=True)
    return _by_rank(order, torch.cat([torch.arange(heads), heads + tail_ids]))[:vocab_size]


def clustered_mapping(
    name: str, statistics: CorpusStatistics, vocab_size: int, codebook_size: int, *, rank: int, seed: int
) -> Tensor:
    """Clusters of a trained model's rows (``kmeans``) or of co-occurrence vectors of a rank (``cooccurrence``).

    Raises:
        ArgumentError: the statistics lack what the mapping needs.
    """
    if statistics.cluster is None:
        raise ArgumentError("mapping", "random, contiguous or frequency where nothing can cluster", name)
    if name == "kmeans":
        if statistics.embedding is None:
            raise ArgumentError("mapping", "for kmeans, training that starts from a trained model", "no model")
        rows = statistics.embedding
    else:
        if statistics.cooccurrence is None:
            raise ArgumentError("mapping", "for cooccurrence, training text to count in", "no text")
        rows = statistics.cooccurrence(rank)
    return checked_mapping(statistics.cluster(rows, codebook_size, seed), vocab_size, codebook_size)


def code_means(rows: Tensor, mapping: Tensor, codebook_size: int) -> Tensor:
    """The mean of the rows (V, d) of each code, (K, d) float64; 0 for a code without a token."""
    codes = mapping.cpu()
    total = torch.zeros(codebook_size, rows.size(1), dtype=torch.float64, device="cpu")
    total.index_add_(0, codes, rows.detach().cpu().double())
    return total / torch.bincount(codes, minlength=codebook_size).clamp(min=1)[:, None]


def by_falling_frequency(token_counts: Tensor) -> Tensor:
    """Token ids (V,), the most frequent first, lower ids first among equals."""
    return torch.argsort(token_counts.cpu(), descending=True, stable=True)


def checked_mapping(mapping: Tensor, vocab_size: int, codebook_size: int) -> Tensor:
    """A mapping given from outside, (V,) int64 on the CPU; codes may be empty."""
    given = mapping.detach().cpu()
    fits = given.shape == (vocab_size,) and not given.is_floating_point()
    require(fits, "mapping", f"{vocab_size} integers, one code id for each token", (tuple(given.shape), given.dtype))
    span = (int(given.min()), int(given.max()))
    require(span[0] >= 0 and span[1] < codebook_size, "mapping", f"code ids in 0..{codebook_size - 1}", span)
    return given.long()


def _by_rank(order: Tensor, values: Tensor) -> Tensor:
    return torch.empty_like(values).scatter_(0, order, values)
