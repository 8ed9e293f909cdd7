from __future__ import annotations

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import SoftmaxAttention, T5Bias, reference
from lmzoo.layers.position.t5_bias import t5_buckets
from lmzoo.models import Decoder
from lmzoo.train.fit.optimization import decay_groups


def test_buckets_by_hand() -> None:
    # 8 buckets up to 64: distances 0 to 3 alone, then each bucket twice as wide, from 4, 8, 16 and 32 on
    distance = torch.tensor([0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 10_000])
    assert t5_buckets(distance, 8, 64).tolist() == [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 7, 7, 7, 7]


@pytest.mark.parametrize(("num_buckets", "max_distance"), [(32, 128), (2, 2), (3, 9), (6, 20), (64, 1000)])
def test_buckets_are_monotone_and_all_used(num_buckets: int, max_distance: int) -> None:
    buckets = t5_buckets(torch.arange(2 * max_distance), num_buckets, max_distance)
    assert bool((buckets.diff() >= 0).all())
    assert int(buckets[0]) == 0
    assert buckets[max_distance:].unique().tolist() == [num_buckets - 1]
    if max_distance >= 4 * num_buckets:
        assert buckets.unique().numel() == num_buckets


@pytest.mark.parametrize(("n_queries", "n_keys"), [(1, 1), (1, 9), (5, 12), (140, 140)])
def test_bias_and_gradient_equal_reference(n_queries: int, n_keys: int) -> None:
    position = T5Bias(6, 20).bind(d_model=12, n_heads=3).double()
    given = position.score_bias(n_queries, n_keys, position.weight)
    expected = reference.t5_bias(position.weight, n_queries, n_keys, max_distance=20)
    seen = reference.visible(n_queries, n_keys, None, given.device)[0]
    assert torch.equal(given.masked_fill(~seen, 0.0), expected.masked_fill(~seen, 0.0))
    weight = torch.randn_like(given).masked_fill(~seen, 0.0)
    ours, theirs = (torch.autograd.grad((weight * z).sum(), position.weight)[0] for z in (given, expected))
    assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_each_layer_learns_its_own() -> None:
    template = T5Bias()
    first, second = (SoftmaxAttention(32, 4, position=template) for _ in range(2))
    assert list(template.parameters()) == []
    assert isinstance(first.position, T5Bias)
    assert isinstance(second.position, T5Bias)
    assert first.position.weight is not second.position.weight
    first(torch.randn(1, 9, 32)).sum().backward()
    assert first.position.weight.grad is not None
    assert bool((first.position.weight.grad[:, 9:] == 0).all()), "no pair is that far apart"


def test_in_a_decoder_it_is_seeded_and_does_not_decay() -> None:
    decoders = []
    for _ in range(2):
        torch.manual_seed(3)
        decoders.append(Decoder(17, 16, 2, 2, position="T5Bias"))
    weights = [block.attention.position.weight for d in decoders for block in d.blocks]
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[1])
    kept = {id(p) for p in decay_groups(decoders[0], 0.1)[1]["params"]}
    assert id(weights[0]) in kept


@pytest.mark.parametrize(("arguments", "argument"), [((1, 8), "num_buckets"), ((8, 4), "max_distance")])
def test_bad_arguments(arguments: tuple[int, int], argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        T5Bias(*arguments)
    assert caught.value.argument == argument
