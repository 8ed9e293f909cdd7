from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import Head, LinearHead, PowerLawDecay
from lmzoo.layers.head.head import DebiasedHead
from lmzoo.layers.testing.head_checks import HEAD_CHECKS
from torch import Tensor, nn

V, D = 211, 16
LOG_WEIGHT = torch.linspace(-9.0, 1.0, V, dtype=torch.float64)


class Plain(LinearHead):
    """A head that has only what every head has."""

    debias = Head.debias


def debiased(cls: type[LinearHead], **options: Any) -> Head:
    return cls(D, V, bias=True).debias(LOG_WEIGHT)


@pytest.mark.parametrize("name", HEAD_CHECKS)
def test_contract_of_the_general_head(name: str) -> None:
    options: dict[str, Any] = {} if name == "memory" else {"chunk_size": 4}
    HEAD_CHECKS[name](lambda: DebiasedHead(LinearHead(D, V), LOG_WEIGHT, **options))


@pytest.mark.parametrize("name", ["agreement", "distribution", "types"])
@pytest.mark.parametrize("cls", [LinearHead, Plain])
def test_contract(name: str, cls: type[LinearHead]) -> None:
    HEAD_CHECKS[name](partial(debiased, cls))


@pytest.mark.parametrize("cls", [LinearHead, Plain])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_probabilities_are_divided_by_the_weights(cls: type[LinearHead], biased: bool, dtype: torch.dtype) -> None:
    head = cls(D, V, bias=biased)
    if head.offset is not None:
        nn.init.normal_(head.offset)
    head = head.to(dtype)
    hidden, target = torch.randn(7, D).to(dtype), torch.arange(7)
    q = torch.softmax(head.double()(hidden.double()), 1)
    expected = -torch.log((q / LOG_WEIGHT.exp()) / (q / LOG_WEIGHT.exp()).sum(1, keepdim=True))
    given = head.to(dtype).debias(LOG_WEIGHT).nll(hidden, target)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.05}[dtype]
    assert torch.allclose(given.double(), expected[torch.arange(7), target], rtol=0, atol=tolerance)


@pytest.mark.parametrize("cls", [LinearHead, Plain])
def test_the_shift_is_not_rounded_under_autocast(cls: type[LinearHead]) -> None:
    head = cls(D, V)
    nn.init.zeros_(head.weight)
    other, shift = head.debias(LOG_WEIGHT), -LOG_WEIGHT.float()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        nll = other.nll(torch.ones(V, D), torch.arange(V))
        logits = other(torch.ones(1, D))
    assert torch.allclose(nll, torch.logsumexp(shift, 0) - shift, rtol=0, atol=1e-5)
    assert torch.equal(logits[0], shift)


def test_weights_are_shared_and_the_head_is_left_alone() -> None:
    for options in ({}, {"tied": True}, {"bias": True}):
        head = LinearHead(D, V, **options)
        if head.tied:
            head.tie(nn.Parameter(torch.randn(V, D)))
        hidden = torch.randn(3, D)
        before = head(hidden)
        other = head.debias(LOG_WEIGHT)
        assert isinstance(other, LinearHead), "no logits are held"
        assert other.weight is head.weight
        assert other.tied == head.tied
        assert torch.equal(head(hidden), before)
        assert torch.allclose(other(hidden), before - LOG_WEIGHT.float(), atol=1e-5)


@pytest.mark.parametrize("cls", [LinearHead, Plain])
@pytest.mark.parametrize("log_weight", [torch.zeros(V - 1), torch.full((V,), -torch.inf)])
def test_bad_weights(cls: type[LinearHead], log_weight: Tensor) -> None:
    with pytest.raises(ArgumentError, match="log_weight"):
        cls(D, V).debias(log_weight)


@pytest.mark.parametrize("cls", [LinearHead, Plain])
@pytest.mark.parametrize("options", [{"alpha": 0.5}, {"alpha": 1.0}, {"alpha": 1.0, "max_weight": 3.0}])
def test_it_undoes_power_law_decay_exactly(cls: type[LinearHead], options: dict[str, Any]) -> None:
    """A table of logits, one row for each context, trained to its optimum: q ~ w p, and p after debiasing."""
    counts = torch.tensor([[40, 9, 1, 300, 2], [3, 80, 25, 1, 60], [7, 7, 7, 7, 7]])
    context, target = (
        index.repeat_interleave(counts.flatten()) for index in torch.cartesian_prod(*map(torch.arange, counts.shape)).T
    )
    hidden = torch.eye(3, dtype=torch.float64)
    loss = PowerLawDecay(counts.sum(0), **options)
    head = cls(3, 5).double()
    optimizer = torch.optim.LBFGS(
        head.parameters(), max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value: Tensor = loss(head.nll(hidden[context], target), target)
        value.backward()
        return value

    optimizer.step(closure)
    p = counts / counts.sum(1, keepdim=True).double()
    shifted = p * loss.log_weight().exp()
    q = torch.softmax(head(hidden).detach(), 1)
    assert torch.allclose(q, shifted / shifted.sum(1, keepdim=True), rtol=0, atol=1e-6)
    assert (q - p).abs().max() > 0.05, "the shift is there to be undone"
    recovered = head.debias(loss.log_weight())
    assert torch.allclose(torch.softmax(recovered(hidden), 1), p, rtol=0, atol=1e-6)
    entropy = -(counts * p.log()).sum() / counts.sum()
    assert recovered.nll(hidden[context], target).mean().item() == pytest.approx(entropy.item(), abs=1e-9)
    assert head.nll(hidden[context], target).mean().item() > entropy.item() + 0.01
