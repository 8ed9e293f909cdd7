from collections import Counter

import numpy as np
import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.train.fit import corpus_statistics as token_mappings
from lmzoo.train.fit.corpus_statistics import cluster, cooccurrence_vectors

pytest.importorskip("sklearn")

VOCAB = 13


class Split:
    """Documents behind separators (id 0), as a tokenised split offers them."""

    def __init__(self, documents):
        self.tokens = np.concatenate([[0, *d] for d in documents]).astype(np.uint16)
        self.length = len(self.tokens)

    def separators_in(self, first, last):
        return first + np.flatnonzero(self.tokens[first:last] == 0)


@pytest.fixture
def split():
    draw = np.random.default_rng(0)
    return Split([draw.integers(1, VOCAB - 1, size=n) for n in (5, 1, 40, 0, 23)])  # the last id never occurs


def counted(split, window):
    """n_ij by brute force."""
    pairs, document = Counter(), np.cumsum(split.tokens == 0)
    for i in range(split.length):
        for j in range(split.length):
            if i != j and abs(i - j) <= window and document[i] == document[j]:
                pairs[int(split.tokens[i]), int(split.tokens[j])] += 1
    return np.array([[pairs[i, j] for j in range(VOCAB)] for i in range(VOCAB)], dtype=float)


@pytest.mark.parametrize("chunk", [1 << 20, 7, 2])
@pytest.mark.parametrize("window", [1, 4])
def test_cooccurrences_equal_brute_force(split, window, chunk, monkeypatch):
    monkeypatch.setattr(token_mappings, "_CHUNK", chunk)
    given = token_mappings._cooccurrences(split, VOCAB, window)
    assert np.array_equal(given.toarray(), counted(split, window))


def test_vectors_have_the_angles_of_the_truncated_decomposition(split):
    n = counted(split, 4)
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(n * n.sum() / np.outer(n.sum(1), n.sum(0)))
    left, values, _ = np.linalg.svd(np.where(n > 0, np.maximum(information, 0), 0))
    expected = left[:, :5] * np.sqrt(values[:5])
    expected[:-1] /= np.linalg.norm(expected[:-1], axis=1, keepdims=True)
    given = cooccurrence_vectors(split, 5, vocab_size=VOCAB).double().numpy()
    assert given.shape == (VOCAB, 5)
    assert np.array_equal(given[-1], np.zeros(5))
    assert np.allclose((given @ given.T)[:-1, :-1], (expected @ expected.T)[:-1, :-1], atol=1e-3)
    again = cooccurrence_vectors(split, 5, vocab_size=VOCAB)
    assert torch.equal(again, cooccurrence_vectors(split, 5, vocab_size=VOCAB))


def test_a_rank_as_large_as_the_vocabulary_is_an_error(split):
    with pytest.raises(ArgumentError, match="rank"):
        cooccurrence_vectors(split, VOCAB, vocab_size=VOCAB)


def test_clusters_that_lie_apart_are_found():
    torch.manual_seed(0)
    truth = torch.arange(60) % 4
    rows = 20 * torch.nn.functional.one_hot(truth, 6).float() + torch.randn(60, 6)
    given = cluster(rows, 4, 0)
    assert given.dtype == torch.int64
    assert all(len(given[truth == k].unique()) == 1 for k in range(4))
    assert len(given.unique()) == 4


@pytest.mark.parametrize("clusters", [1, 2, 7, 59, 60])
def test_no_cluster_is_empty_even_where_rows_are_equal(clusters):
    torch.manual_seed(0)
    for rows in (torch.randn(60, 3), torch.zeros(60, 3), torch.randn(2, 3).repeat(30, 1)):
        given = cluster(rows, clusters, 1)
        assert torch.equal(given.unique(), torch.arange(clusters))
        assert torch.equal(given, cluster(rows, clusters, 1))


def test_bad_arguments():
    with pytest.raises(ArgumentError, match="clusters"):
        cluster(torch.zeros(3, 2), 4, 0)
    with pytest.raises(ArgumentError, match="rows"):
        cluster(torch.tensor([[0.0], [float("nan")]]), 1, 0)
