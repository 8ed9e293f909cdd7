from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import AdaptiveSoftmaxHead, CorpusStatistics, reference
from lmzoo.layers.head import linear_nll as linear_nll_module
from lmzoo.layers.testing.head_checks import HEAD_CHECKS

D, V = 16, 61
COUNTS = torch.tensor([(7 * i) % 61 * (i % 5) for i in range(V)])
OPTIONS: list[dict[str, Any]] = [
    {},
    {"token_counts": COUNTS},
    {"cutoffs": [5]},
    {"cutoffs": [1, 2, 60], "div_value": 2.0, "token_counts": COUNTS.tolist()},
]


@pytest.mark.parametrize("name", HEAD_CHECKS)
@pytest.mark.parametrize("options", OPTIONS)
def test_contract(name: str, options: dict[str, Any]) -> None:
    if name == "memory":  # which wants V well above d
        options = {key: value if key == "div_value" else None for key, value in options.items()}
        HEAD_CHECKS[name](partial(AdaptiveSoftmaxHead, D, 16 * V, **options))
        return
    HEAD_CHECKS[name](partial(AdaptiveSoftmaxHead, D, V, **options))


@pytest.mark.parametrize("chunk", [1 << 22, 50])
@pytest.mark.parametrize("options", OPTIONS)
def test_equals_pytorchs_module_in_value_and_every_gradient(
    options: dict[str, Any], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_nll_module, "_SMALLEST_CHUNK", chunk)
    monkeypatch.setattr(linear_nll_module, "_LARGEST_CHUNK", chunk)
    head = AdaptiveSoftmaxHead(D, V, **options).double()
    hidden = torch.randn(63, D, dtype=torch.float64, requires_grad=True)
    target, weight = torch.randint(V, (63,)), torch.rand(63, dtype=torch.float64)
    given, expected = head.nll(hidden, target), -head.softmax(hidden, head.rank[target]).output
    assert torch.allclose(given, expected, rtol=0, atol=1e-13)
    wanted = [hidden, *head.parameters()]
    ours, theirs = (
        torch.autograd.grad((weight * y).sum(), wanted, allow_unused=True, materialize_grads=True)
        for y in (given, expected)
    )
    for a, b in zip(ours, theirs):
        assert torch.allclose(a, b, rtol=0, atol=1e-13)


@pytest.mark.parametrize("options", OPTIONS)
def test_equals_reference_in_value_and_every_gradient(options: dict[str, Any]) -> None:
    head = AdaptiveSoftmaxHead(D, V, **options).double()
    parameters = dict(head.named_parameters())
    clusters = len(head.softmax.tail)
    tails = [
        (parameters[f"softmax.tail.{c}.0.weight"], parameters[f"softmax.tail.{c}.1.weight"]) for c in range(clusters)
    ]
    for n in (1, 63, 111):
        hidden = torch.randn(n, D, dtype=torch.float64, requires_grad=True)
        target, weight = torch.randint(V, (n,)), torch.rand(n, dtype=torch.float64)
        given = head.nll(hidden, target)
        top = parameters["softmax.head.weight"]
        expected = reference.adaptive_softmax_nll(hidden, top, tails, head.rank, target)
        assert torch.allclose(given, expected, rtol=0, atol=1e-12)
        wanted = [hidden, *parameters.values()]
        pairs = [torch.autograd.grad((weight * y).sum(), wanted, allow_unused=True) for y in (given, expected)]
        for parameter, *gradients in zip(wanted, *pairs):
            ours, theirs = (torch.zeros_like(parameter) if g is None else g for g in gradients)
            assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


def test_the_shortlist_holds_the_most_frequent() -> None:
    head = AdaptiveSoftmaxHead(D, V, cutoffs=[6, 20])
    assert head.rank.tolist() == list(range(V))
    head.use_corpus(CorpusStatistics(COUNTS))
    expected = sorted(range(V), key=lambda i: (-int(COUNTS[i]), i))
    assert head.rank[expected].tolist() == list(range(V))
    fixed = AdaptiveSoftmaxHead(D, V, cutoffs=[6, 20], token_counts=COUNTS)
    fixed.use_corpus(CorpusStatistics(COUNTS.flip(0)))
    assert torch.equal(fixed.rank, head.rank)
    loaded = AdaptiveSoftmaxHead(D, V, cutoffs=[6, 20])
    loaded.load_state_dict(head.state_dict())
    hidden, target = torch.randn(5, D), torch.randint(V, (5,))
    assert torch.equal(loaded.nll(hidden, target), head.nll(hidden, target))


@pytest.mark.parametrize("size", [(1, 2), (2, 3), (3, 9), (64, 17), (128, 8192)])
def test_default_cutoffs_fit_any_size(size: tuple[int, int]) -> None:
    head = AdaptiveSoftmaxHead(*size, div_value=1.0 if size[0] < 4 else 4.0)
    assert head(torch.randn(2, size[0])).exp().sum(-1).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)


def test_autocast_leaves_the_arithmetic_alone() -> None:
    head = AdaptiveSoftmaxHead(D, V)
    hidden, target = torch.randn(9, D), torch.randint(V, (9,))
    plain, logits = head.nll(hidden, target), head(hidden)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head.nll(hidden, target), plain)
        assert torch.equal(head(hidden), logits)


def test_weights_of_products_by_hand() -> None:
    head = AdaptiveSoftmaxHead(8, 6, cutoffs=[2, 4], div_value=2.0)
    harmonic = [1 / r for r in range(1, 7)]
    shares = [sum(harmonic[2:4]) / sum(harmonic), sum(harmonic[4:]) / sum(harmonic)]
    assert head.matmul_weights() == round(4 * 8 + shares[0] * (4 * 8 + 2 * 4) + shares[1] * (2 * 8 + 2 * 2))


@pytest.mark.parametrize(
    ("size", "options", "argument"),
    [
        ((8, 1), {}, "vocab_size"),
        ((8, 9), {"cutoffs": [9]}, "cutoffs"),
        ((8, 9), {"cutoffs": []}, "cutoffs"),
        ((8, 9), {"cutoffs": [3, 3]}, "cutoffs"),
        ((8, 9), {"cutoffs": [0, 3]}, "cutoffs"),
        ((8, 9), {"cutoffs": [2, 4, 6]}, "div_value"),
        ((8, 9), {"div_value": 0.5}, "div_value"),
        ((8, 9), {"token_counts": [1, 2]}, "token_counts"),
    ],
)
def test_bad_arguments(size: tuple[int, int], options: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        AdaptiveSoftmaxHead(*size, **options)
    assert caught.value.argument == argument
    head = AdaptiveSoftmaxHead(8, 9)
    with pytest.raises(ArgumentError, match="target"):
        head.nll(torch.zeros(1, 8), torch.tensor([9]))
