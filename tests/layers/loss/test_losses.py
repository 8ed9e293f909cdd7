from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import CrossEntropy, Focal, LinearHead, Loss, PowerLawDecay, reference
from lmzoo.layers.common.corpus_statistics import CorpusStatistics
from lmzoo.layers.functional import power_law_weights
from torch import Tensor

COUNTS = torch.tensor([400, 0, 90, 1, 37, 5, 0, 12])
NORMALIZATIONS = ("corpus_mean", "weighted_mean", "sum")


def problem(n: int = 63) -> tuple[Tensor, Tensor]:
    nll = 5 * torch.rand(n, dtype=torch.float64)
    return nll.requires_grad_(), torch.randint(len(COUNTS), (n,))


def value_and_gradient(loss: Loss, nll: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    value = loss(nll, target)
    return value, torch.autograd.grad(value, nll)[0]


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0, 1.5])
@pytest.mark.parametrize(("eps", "smoothing"), [(1e-7, 1.0), (1e-7, 0.0), (0.0, 3.0)])
def test_weights_equal_the_reference(alpha: float, eps: float, smoothing: float) -> None:
    given = power_law_weights(COUNTS, alpha, eps=eps, smoothing=smoothing)
    expected = reference.power_law_weights(COUNTS.double(), alpha, eps=eps, smoothing=smoothing)
    assert given.dtype == torch.float64
    assert torch.allclose(given, expected, rtol=1e-14, atol=0)


def test_weights_of_known_counts() -> None:
    assert power_law_weights(torch.tensor([0, 3, 99]), 0.5, eps=0.0).tolist() == [1.0, 0.5, 0.1]
    assert power_law_weights(torch.tensor([0]), 1.0, smoothing=0.0).item() == pytest.approx(1e7), (
        "what smoothing avoids"
    )
    assert power_law_weights(COUNTS, 0.0).tolist() == [1.0] * len(COUNTS)
    huge = torch.tensor([3 * 10**12])
    assert power_law_weights(huge, 1.0).item() == pytest.approx(1 / 3e12, rel=1e-12), "float32 would round the count"


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("alpha", [0.25, 1.0])
@pytest.mark.parametrize("max_weight", [None, 1.0, 4.0])
def test_power_law_decay_equals_the_reference(normalization: str, alpha: float, max_weight: float | None) -> None:
    nll, target = problem()
    options: dict[str, Any] = {"normalization": normalization, "max_weight": max_weight}
    given = value_and_gradient(PowerLawDecay(COUNTS, alpha, **options), nll, target)
    expected = reference.power_law_decay(nll, target, COUNTS.double(), alpha, **options)
    assert torch.allclose(given[0], expected, rtol=1e-13, atol=0)
    assert torch.allclose(given[1], torch.autograd.grad(expected, nll)[0], rtol=1e-13, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "loss",
    [
        PowerLawDecay(COUNTS, 0.0),
        PowerLawDecay(COUNTS, 0.0, normalization="weighted_mean"),
        PowerLawDecay(COUNTS, 0.0, max_weight=2.0),
        Focal(0.0),
    ],
)
@pytest.mark.parametrize("n", [1, 63, 4097])
def test_no_weighting_is_cross_entropy_to_the_last_bit(loss: Loss, n: int, dtype: torch.dtype) -> None:
    nll, target = problem(n)
    nll = nll.detach().to(dtype)
    nll[0] = 0.0
    nll.requires_grad_()
    given, expected = (value_and_gradient(each, nll, target) for each in (loss, CrossEntropy()))
    assert torch.equal(given[0], expected[0])
    assert torch.equal(given[1], expected[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [7, 50, 63, 1000])
def test_no_weighting_trains_a_head_to_the_last_bit(n: int, dtype: torch.dtype) -> None:
    hidden, target = torch.randn(n, 6, dtype=dtype), torch.randint(len(COUNTS), (n,))
    head = LinearHead(6, len(COUNTS), bias=True).to(dtype)
    plain, decayed = (
        torch.autograd.grad(
            loss(head.nll(hidden, target, row_weight=loss.row_weight(target)), target), list(head.parameters())
        )
        for loss in (CrossEntropy(), PowerLawDecay(COUNTS, 0.0))
    )
    for a, b in zip(plain, decayed):
        assert torch.equal(a, b)


def test_the_mean_weight_over_the_corpus_is_one() -> None:
    labels = torch.repeat_interleave(torch.arange(len(COUNTS)), COUNTS)
    ones = torch.ones(len(labels), dtype=torch.float64)
    for options in ({}, {"max_weight": 2.0}, {"normalization": "weighted_mean"}):
        assert PowerLawDecay(COUNTS, 1.0, **options)(ones, labels).item() == pytest.approx(1.0, abs=1e-12)
    assert PowerLawDecay(COUNTS, 1.0, normalization="sum", eps=0.0, smoothing=1e-12)(ones, labels).item() == (
        pytest.approx(6.0)
    ), "at alpha = 1 every type met adds 1"


def test_batches_do_not_couple_under_corpus_mean() -> None:
    nll, target = problem(10)
    loss = PowerLawDecay(COUNTS, 1.0)
    whole = value_and_gradient(loss, nll, target)[1]
    for part in (slice(0, 5), slice(5, 10)):
        half = torch.autograd.grad(loss(nll[part], target[part]), nll)[0]
        assert torch.allclose(half[part] / 2, whole[part], rtol=1e-13, atol=0)


def test_no_weight_exceeds_the_cap() -> None:
    nll = torch.ones(1, dtype=torch.float64)
    plain = torch.stack([PowerLawDecay(COUNTS, 1.0)(nll, torch.tensor([t])) for t in range(len(COUNTS))])
    capped = PowerLawDecay(COUNTS, 1.0, max_weight=3.0)
    given = torch.stack([capped(nll, torch.tensor([t])) for t in range(len(COUNTS))])
    assert (plain > 3).any()
    share = COUNTS / COUNTS.sum().double()
    expected = plain.clamp(max=3.0)
    assert torch.allclose(given, expected / (share * expected).sum())


def test_counts_come_from_the_constructor_or_the_corpus() -> None:
    nll, target = problem()
    statistics = CorpusStatistics(COUNTS)
    given = PowerLawDecay()
    with pytest.raises(ArgumentError, match="use_corpus"):
        given(nll, target)
    with pytest.raises(ArgumentError, match="use_corpus"):
        given.log_weight()
    given.use_corpus(statistics)
    assert torch.equal(given(nll, target), PowerLawDecay(COUNTS.tolist())(nll, target))
    other = PowerLawDecay(COUNTS.flip(0))
    before = other(nll, target)
    other.use_corpus(statistics)
    assert torch.equal(other(nll, target), before), "what was given by hand stays"
    with pytest.raises(ArgumentError, match="8 ids"):
        PowerLawDecay([1, 2, 3]).use_corpus(statistics)


def test_another_corpus_replaces_an_earlier_one() -> None:
    nll, target = problem()
    again = PowerLawDecay(alpha=1.0, max_weight=2.0)
    for counts in (COUNTS, 50 * COUNTS.flip(0) + 3):
        again.use_corpus(CorpusStatistics(counts))
        assert torch.equal(again(nll, target), PowerLawDecay(counts, 1.0, max_weight=2.0)(nll, target))
        assert torch.equal(again.log_weight(), PowerLawDecay(counts, 1.0, max_weight=2.0).log_weight())


def test_counts_survive_a_change_of_precision_and_stay_out_of_the_state() -> None:
    loss = PowerLawDecay([70_001, 3, 0])
    before = loss.log_weight()
    assert torch.equal(loss.to(torch.bfloat16).log_weight(), before)
    assert not loss.state_dict()


def test_log_weight_is_the_logarithm_of_the_weights() -> None:
    loss = PowerLawDecay(COUNTS, 0.5)
    assert torch.allclose(loss.log_weight(), power_law_weights(COUNTS, 0.5).log(), rtol=1e-14, atol=0)
    capped = PowerLawDecay(COUNTS, 1.0, max_weight=3.0).log_weight()
    assert capped[1] == capped[3] == capped.max(), "rare tokens share the cap"
    assert CrossEntropy().log_weight() is None
    assert Focal().log_weight() is None


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_equals_the_reference(gamma: float) -> None:
    nll, target = problem()
    given = value_and_gradient(Focal(gamma), nll, target)
    expected = reference.focal(nll, gamma)
    assert torch.allclose(given[0], expected, rtol=1e-13, atol=0)
    assert torch.allclose(given[1], torch.autograd.grad(expected, nll)[0], rtol=1e-12, atol=0)
    assert torch.autograd.gradcheck(lambda x: Focal(gamma)(x, target), nll)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
def test_focal_is_safe_at_the_ends(gamma: float) -> None:
    # certain, a rounding error beyond certain, hardly a doubt, and hopeless
    nll = torch.tensor([0.0, -1e-7, 1e-30, 1e4], requires_grad=True)
    value, gradient = value_and_gradient(Focal(gamma), nll, torch.zeros(4, dtype=torch.int64))
    assert value.item() == pytest.approx(2500.0)
    assert gradient.isfinite().all()
    assert gradient[3].item() == 0.25
    assert gradient.min() >= 0


def test_focal_small_doubts_keep_their_digits() -> None:
    nll = torch.tensor([1e-6], requires_grad=True)
    assert Focal(1.0)(nll, torch.zeros(1)).item() == pytest.approx(1e-12, rel=1e-5), "1 - exp(-nll) would lose them"


@pytest.mark.parametrize(
    "loss", [CrossEntropy(), Focal(), *(PowerLawDecay(COUNTS, normalization=z) for z in NORMALIZATIONS)]
)
def test_no_rows_are_no_loss(loss: Loss) -> None:
    nll = torch.zeros(0, requires_grad=True)
    value, gradient = value_and_gradient(loss, nll, torch.zeros(0, dtype=torch.int64))
    assert value.item() == 0.0
    assert gradient.shape == (0,)


@pytest.mark.parametrize("target", [torch.tensor([0, 8]), torch.tensor([-1, 0]), torch.tensor([0])])
def test_targets_out_of_range(target: Tensor) -> None:
    with pytest.raises(ArgumentError) as caught:
        PowerLawDecay(COUNTS)(torch.ones(2), target)
    assert caught.value.argument == "target"
    if len(target) == 2:
        with pytest.raises(ArgumentError, match=r"values in 0\.\.7"):
            PowerLawDecay(COUNTS).row_weight(target)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"alpha": -0.5}, "alpha"),
        ({"alpha": 2.0}, "alpha"),
        ({"alpha": math.nan}, "alpha"),
        ({"normalization": "mean"}, "normalization"),
        ({"eps": -1.0}, "eps"),
        ({"eps": 0.0, "smoothing": 0.0}, "smoothing"),
        ({"smoothing": -1.0}, "smoothing"),
        ({"max_weight": 0.5}, "max_weight"),
        ({"token_counts": torch.tensor([0, 0])}, "token_counts"),
        ({"token_counts": torch.tensor([4, -1])}, "token_counts"),
        ({"token_counts": torch.tensor([0.5, 1.0])}, "token_counts"),
        ({"token_counts": torch.ones(2, 2, dtype=torch.int64)}, "token_counts"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        PowerLawDecay(**arguments)
    assert caught.value.argument == argument


@pytest.mark.parametrize("gamma", [-1.0, math.inf])
def test_bad_gamma(gamma: float) -> None:
    with pytest.raises(ArgumentError, match="gamma"):
        Focal(gamma)


def test_negative_counts_have_no_weight() -> None:
    with pytest.raises(ArgumentError, match="token_counts"):
        power_law_weights(torch.tensor([1, -2]), 0.5)
