from __future__ import annotations

import pytest
import torch
from lmzoo.layers.head.vq.code_mappings import code_means, contiguous_mapping, frequency_mapping, random_mapping

ZIPF = (1000 / torch.arange(1, 38)).long()[torch.randperm(37, generator=torch.Generator().manual_seed(0))]


@pytest.mark.parametrize("size", range(1, 38))
def test_no_code_is_empty(size: int) -> None:
    every = torch.arange(size)
    assert torch.equal(contiguous_mapping(37, size).unique(), every)
    assert torch.equal(random_mapping(37, size, 5).unique(), every)
    for tail_codes in (1, (size + 1) // 2, size):
        for tail in ("mass", "size"):
            for counts in (ZIPF, torch.zeros(37, dtype=torch.int64), 10**9 * torch.arange(37) ** 3):
                given = frequency_mapping(counts, size, tail_codes=tail_codes, tail=tail)
                assert torch.equal(given.unique(), every)
                # rarer tokens have later codes
                ranked = given[torch.argsort(counts, descending=True, stable=True)]
                assert torch.equal(ranked, ranked.sort().values)
                assert torch.equal(ranked[: size - tail_codes], every[: size - tail_codes])


def test_sizes_are_even() -> None:
    for given in (contiguous_mapping(37, 10), random_mapping(37, 10, 5)):
        assert sorted(set(torch.bincount(given).tolist())) == [3, 4]
    assert torch.equal(contiguous_mapping(37, 10), contiguous_mapping(37, 10).sort().values)
    assert torch.equal(random_mapping(37, 10, 5), random_mapping(37, 10, 5))
    assert not torch.equal(random_mapping(37, 10, 5), random_mapping(37, 10, 6))
    even = torch.bincount(frequency_mapping(ZIPF, 12, tail_codes=5, tail="size"))[7:]
    assert int(even.max() - even.min()) <= 1


def test_tail_codes_have_even_mass() -> None:
    counts = torch.randint(1, 50, (3000,), generator=torch.Generator().manual_seed(0))
    given = frequency_mapping(counts, 20, tail_codes=10)
    mass = torch.zeros(20, dtype=torch.int64).index_add_(0, given, counts + 1)[10:]
    # each share is met up to a token on either side
    assert int((mass - mass.double().mean()).abs().max()) <= 100


def test_one_tail_by_hand() -> None:
    assert frequency_mapping(torch.tensor([5, 0, 9, 5, 1]), 3).tolist() == [1, 2, 0, 2, 2]


def test_means_are_those_of_the_codes() -> None:
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0], [10.0, 10.0]])
    assert code_means(rows, torch.tensor([2, 2, 0]), 3).tolist() == [[10.0, 10.0], [0.0, 0.0], [2.0, 3.0]]
