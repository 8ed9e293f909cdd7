"""What the data module knows of the training text, for the parts that ask."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from ...errors import require
from ...layers.common.corpus_statistics import CorpusStatistics
from ..data import TextDataModule
from ..data.encode import PreparedSplit


def corpus_statistics(data: TextDataModule, embedding: Tensor | None = None) -> CorpusStatistics:
    """Label counts of the training split now, co-occurrence and clusters when a part calls for them.

    Args:
        data: with its training split prepared.
        embedding: (V, d), the rows of a trained model that training starts from.
    """

    def cooccurrence(rank: int) -> Tensor:
        return cooccurrence_vectors(data.prepared("train"), rank, vocab_size=len(data.tokenizer))

    counts = torch.from_numpy(data.token_counts())
    return CorpusStatistics(counts, cooccurrence=cooccurrence, embedding=embedding, cluster=cluster)


Ids = npt.NDArray[np.int64]

_CHUNK = 1 << 20
"""Tokens whose pairs are counted at a time: some tens of MB."""


def cooccurrence_vectors(
    prepared: PreparedSplit, rank: int, *, vocab_size: int, window: int = 4, seed: int = 0
) -> Tensor:
    """Unit vectors (V, rank) float32 of tokens that keep similar company; 0 for a token that has none.

    The matrix of positive pointwise mutual information, max(0, log(n_ij n / (n_i n_j))), n_ij how often i and j stand
    at most ``window`` tokens apart in a document, is cut to its largest singular values: rows of U S^(1/2), each
    divided by its length (Levy and Goldberg, 2014, show that skip-gram embeddings factor a shifted form of it).
    Deterministic under ``seed``, which starts the randomised decomposition.

    Raises:
        ArgumentError: ``rank`` is not in 1..V-1 or ``window`` is below 1.
    """
    from sklearn.utils.extmath import randomized_svd
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    require(1 <= rank < vocab_size, "rank", f"an integer in 1..{vocab_size - 1}", rank)
    require(window >= 1, "window", "an integer of at least 1", window)
    ppmi = _positive_information(_cooccurrences(prepared, vocab_size, window))
    with threadpool_limits(1):  # sums depend on how many threads share them
        left, values, _ = randomized_svd(ppmi, rank, random_state=seed)
    vectors = left * np.sqrt(values)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-12)
    return torch.from_numpy(unit.astype(np.float32))


def cluster(rows: Tensor, clusters: int, seed: int) -> Tensor:
    """k-means of rows (V, d): a cluster 0..K-1 for each, (V,) int64, none empty; deterministic under ``seed``.

    Where k-means leaves a cluster empty, as it does when rows are equal, the largest cluster gives it a row: the one
    farthest from its mean.

    Raises:
        ArgumentError: ``clusters`` is not in 1..V, or a row is not finite.
    """
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    require(1 <= clusters <= rows.size(0), "clusters", f"an integer in 1..{rows.size(0)}, the rows", clusters)
    points = rows.detach().cpu().float().numpy()
    require(bool(np.isfinite(points).all()), "rows", "finite numbers", "infinity or NaN")
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal rows: mended below
        labels = KMeans(clusters, n_init=1, max_iter=100, random_state=seed).fit_predict(points)
    return torch.from_numpy(_without_empty(labels.astype(np.int64), points, clusters))


def _without_empty(
    labels: npt.NDArray[np.int64], points: npt.NDArray[np.float32], clusters: int
) -> npt.NDArray[np.int64]:
    sizes = np.bincount(labels, minlength=clusters)
    for empty in np.flatnonzero(sizes == 0):
        largest = int(sizes.argmax())
        members = np.flatnonzero(labels == largest)
        away = np.linalg.norm(points[members] - points[members].mean(axis=0), axis=1)
        labels[members[int(away.argmax())]] = empty
        sizes[largest] -= 1
        sizes[empty] = 1
    return labels


def _cooccurrences(prepared: PreparedSplit, vocab_size: int, window: int) -> Any:
    """How often two tokens stand at most ``window`` apart in a document, (V, V), symmetric."""
    from scipy.sparse import coo_array, csr_array

    total = csr_array((vocab_size, vocab_size), dtype=np.float64)
    starts = range(0, prepared.length, _CHUNK)
    console = Console(stderr=True)
    quiet = len(starts) < 4 or not console.is_terminal
    for start in track(starts, "co-occurrences", console=console, transient=True, disable=quiet):
        end = min(start + _CHUNK + window, prepared.length)
        tokens = np.asarray(prepared.tokens[start:end]).astype(np.int32)
        document = np.zeros(len(tokens), dtype=np.int32)
        document[prepared.separators_in(start, end) - start] = 1
        document = document.cumsum()
        for apart in range(1, window + 1):
            # the first of a pair lies in this chunk; the second may lie in the next
            n = min(len(tokens) - apart, _CHUNK)
            if n <= 0:
                continue
            first, second = tokens[:n], tokens[apart : apart + n]
            together = document[:n] == document[apart : apart + n]
            pairs = (first[together], second[together])
            total += coo_array((np.ones(len(pairs[0])), pairs), shape=total.shape).tocsr()
    return (total + total.T).tocsr()


def _positive_information(counts: Any) -> Any:
    of_token = np.asarray(counts.sum(axis=1)).ravel()
    pairs = counts.tocoo()
    row, column = pairs.coords
    pairs.data = np.maximum(0.0, np.log(pairs.data * of_token.sum() / (of_token[row] * of_token[column])))
    information = pairs.tocsr()
    information.eliminate_zeros()
    return information
