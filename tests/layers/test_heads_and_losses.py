from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lmzoo.errors import ArgumentError
from lmzoo.layers import AdaptiveSoftmaxHead, CrossEntropy, Head, LinearHead, PowerLawDecay, VQLogitsHead, reference
from lmzoo.layers.functional import linear_nll
from lmzoo.layers.head import linear_nll as linear_nll_module
from lmzoo.layers.testing.head_checks import HEAD_CHECKS
from torch import nn
from torch.utils.checkpoint import checkpoint

OPTIONS: list[dict[str, Any]] = [{}, {"tied": True}, {"bias": True}, {"chunk_size": 4, "bias": True}]


@pytest.mark.parametrize("name", HEAD_CHECKS)
@pytest.mark.parametrize("options", OPTIONS)
def test_contract(name: str, options: dict[str, Any]) -> None:
    if name == "memory":
        options = options | {"chunk_size": None}
    HEAD_CHECKS[name](partial(LinearHead, 16, 211, **options))


def problem(n: int = 7, vocab: int = 11, width: int = 5) -> tuple[list[torch.Tensor], torch.Tensor]:
    tensors = [
        torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((n, width), (vocab, width), (vocab,))
    ]
    return tensors, torch.randint(vocab, (n,))


@pytest.mark.parametrize("chunk_size", [None, 1, 3, 7, 100])
@pytest.mark.parametrize("biased", [False, True])
def test_gradcheck(chunk_size: int | None, biased: bool) -> None:
    (hidden, weight, bias), target = problem()
    inputs = (hidden, weight, bias) if biased else (hidden, weight)

    def rows(h: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        return linear_nll(h, w, target, bias=b, chunk_size=chunk_size)

    assert torch.autograd.gradcheck(rows, inputs)
    assert torch.autograd.gradcheck(lambda *z: rows(*z).mean(), inputs)


@pytest.mark.parametrize("chunk_size", [None, 3])
def test_equals_reference(chunk_size: int | None) -> None:
    (hidden, weight, bias), target = problem(63, 111, 8)
    given = linear_nll(hidden, weight, target, bias=bias, chunk_size=chunk_size)
    expected = reference.linear_nll(hidden, weight, target, bias=bias)
    assert torch.allclose(given, expected, rtol=0, atol=1e-13)
    row_weight = torch.rand(63, dtype=torch.float64)
    for factor in (row_weight, torch.full_like(row_weight, 0.25), torch.zeros_like(row_weight)):
        ours, theirs = (
            torch.autograd.grad((factor * y).sum(), (hidden, weight, bias), retain_graph=True)
            for y in (given, expected)
        )
        for a, b in zip(ours, theirs):
            assert torch.allclose(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("biased", [False, True])
def test_a_forecast_changes_no_bit(biased: bool) -> None:
    (hidden, weight, bias), target = problem(63, 111, 8)
    wanted = (hidden, weight, bias) if biased else (hidden, weight)
    for factor in (torch.rand(63, dtype=torch.float64), torch.full((63,), 1 / 63, dtype=torch.float64)):
        outcomes = []
        for uniform in (True, False):
            nll = linear_nll(hidden, weight, target, bias=bias if biased else None, chunk_size=10, uniform=uniform)
            outcomes.append([nll, *torch.autograd.grad((factor * nll).sum(), wanted)])
        assert all(torch.equal(a, b) for a, b in zip(*outcomes))


def test_the_head_prepares_what_came_back_last_time() -> None:
    head, target = LinearHead(5, 11), torch.randint(11, (7,))
    hidden = torch.randn(7, 5, requires_grad=True)
    assert head._forecast.uniform
    (head.nll(hidden, target) * torch.rand(7)).sum().backward()
    assert not head._forecast.uniform
    head.nll(hidden, target).mean().backward()
    assert head._forecast.uniform
    with torch.no_grad():
        head.nll(hidden, target)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("told", ["right", "wrong", "zero", "partly zero"])
def test_told_weights_change_products_and_not_gradients(
    biased: bool, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hidden, weight, bias), target = problem(63, 111, 8)
    wanted = (hidden, weight, bias) if biased else (hidden, weight)
    truth = torch.rand(63, dtype=torch.float64)
    if told == "partly zero":
        truth[::3] = 0.0
    row_weight = {"wrong": truth + (torch.arange(63) == 5), "zero": 0.0 * truth}.get(told, 7.0 * truth)
    asked = []
    rows = linear_nll_module._LogProbabilities.rows
    monkeypatch.setattr(linear_nll_module._LogProbabilities, "rows", lambda self, r: asked.append(r) or rows(self, r))
    nll = linear_nll(hidden, weight, target, bias=bias if biased else None, chunk_size=10, row_weight=row_weight)
    expected = reference.linear_nll(hidden, weight, target, bias=bias if biased else None)
    assert torch.allclose(nll, expected, rtol=0, atol=1e-13)
    forward = len(asked)
    ours, theirs = (torch.autograd.grad((truth * y).mean(), wanted) for y in (nll, expected))
    for a, b in zip(ours, theirs):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-15)
    # the logits are taken once more only where what was told is not what came
    assert len(asked) - forward == (7 if told in ("wrong", "zero") else 0)


@pytest.mark.parametrize("weights", ["alike and small", "a power of Zipf's law"])
def test_told_weights_survive_float16_whatever_their_size(weights: str) -> None:
    share = 1.0 / torch.arange(1, 2001, dtype=torch.float64)
    target = torch.multinomial(share, 512, replacement=True)
    row_weight = torch.full((512,), 1e-9).double() if weights == "alike and small" else (5e6 * share[target]) ** -1.5
    head, hidden = LinearHead(16, 2000), torch.randn(512, 16)
    factor = 65536 * row_weight / row_weight.sum()  # a loss scale, as training in float16 has it

    def gradient(told: torch.Tensor | None, dtype: torch.dtype | None) -> torch.Tensor:
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            nll = head.nll(hidden, target, row_weight=told)
        return torch.autograd.grad((factor * nll).sum(), head.weight)[0]

    truth, ordinary = gradient(None, None), gradient(None, torch.float16)
    told = gradient(row_weight, torch.float16)
    assert float((told - truth).norm()) <= 2 * float((ordinary - truth).norm())


@pytest.mark.parametrize("make", [LinearHead, AdaptiveSoftmaxHead, partial(VQLogitsHead, codebook_size=5)])
def test_every_head_may_be_told_what_a_loss_weighs(make: Callable[[int, int], Head]) -> None:
    head, counts, target = make(16, 61).double(), torch.arange(61) ** 2, torch.randint(61, (40,))
    loss = PowerLawDecay(counts, 1.0)
    hidden = torch.randn(40, 16, dtype=torch.float64, requires_grad=True)
    assert head.takes_row_weight
    plain, told = head.nll(hidden, target), head.nll(hidden, target, row_weight=loss.row_weight(target))
    assert torch.equal(plain, told)
    gradients = [
        torch.autograd.grad(loss(nll, target), [hidden, *head.parameters()], allow_unused=True) for nll in (plain, told)
    ]
    for a, b in zip(*gradients):
        assert a is b or torch.allclose(a, b, rtol=1e-12, atol=1e-15)
    assert not head._forecast.uniform


@pytest.mark.parametrize(
    "make", [LinearHead, partial(LinearHead, bias=True), AdaptiveSoftmaxHead, partial(VQLogitsHead, codebook_size=5)]
)
def test_a_head_may_be_recomputed_whatever_it_forecasts(make: Callable[[int, int], Head]) -> None:
    head, target = make(16, 61).double(), torch.randint(61, (40,))
    hidden = torch.randn(40, 16, dtype=torch.float64, requires_grad=True)
    wanted = [hidden, *head.parameters()]
    weigh, factor = PowerLawDecay(torch.arange(61) ** 2, 1.0), torch.rand(40, dtype=torch.float64)

    def recomputed() -> torch.Tensor:  # in two pieces: the second is recomputed after the first has learned
        pieces = zip(hidden.split(25), target.split(25))
        return torch.cat([checkpoint(head.nll, h, t, use_reentrant=False) for h, t in pieces])

    def gradients(loss: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True, retain_graph=True)

    first = recomputed()
    for nll in (first, first, recomputed(), recomputed()):
        for loss in (lambda y: weigh(y, target), torch.Tensor.mean, lambda y: (factor * y).sum()):
            for ours, plain in zip(gradients(loss(nll)), gradients(loss(head.nll(hidden, target)))):
                assert torch.allclose(ours, plain, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "make",
    [
        LinearHead,
        AdaptiveSoftmaxHead,
        partial(VQLogitsHead, codebook_size=5),
        partial(VQLogitsHead, codebook_size=5, within_code="class_softmax", rows="own", projection=True),
    ],
)
def test_shapes_on_the_meta_device(make: Callable[[int, int], Head]) -> None:
    head, hidden = make(16, 61).to("meta"), torch.empty(2, 3, 16, device="meta")
    logits = head(hidden)
    assert (logits.shape, logits.device.type) == ((2, 3, 61), "meta")
    if not isinstance(head, AdaptiveSoftmaxHead):  # the rows of a cluster depend on the targets
        nll = head.nll(hidden[0], torch.empty(3, dtype=torch.int64, device="meta"))
        assert (nll.shape, nll.dtype) == ((3,), torch.float32)


@pytest.mark.parametrize("row_weight", [torch.ones(6), torch.ones(7, dtype=torch.int64)])
def test_bad_row_weights(row_weight: torch.Tensor) -> None:
    (hidden, weight, _), target = problem()
    with pytest.raises(ArgumentError, match="row_weight"):
        linear_nll(hidden, weight, target, row_weight=row_weight)


@pytest.mark.parametrize("frozen", [0, 1])
def test_frozen_inputs(frozen: int) -> None:
    (hidden, weight, _), target = problem()
    tensors = [hidden, weight]
    tensors[frozen] = tensors[frozen].detach()
    (given,) = torch.autograd.grad(linear_nll(*tensors, target).sum(), tensors[1 - frozen])
    (expected,) = torch.autograd.grad(reference.linear_nll(*tensors, target).sum(), tensors[1 - frozen])
    assert torch.allclose(given, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1, 7, 1000, 50_257])
def test_log_softmax_may_overwrite_its_input(width: int, dtype: torch.dtype) -> None:
    logits = 10 * torch.randn(5, width, dtype=dtype)
    expected = torch.log_softmax(logits, 1)
    assert torch.equal(torch.log_softmax(logits, 1, dtype=dtype, out=logits), expected)


def test_no_rows() -> None:
    (_, weight, _), _ = problem()
    nll = linear_nll(torch.zeros(0, 5, dtype=torch.float64), weight, torch.zeros(0, dtype=torch.int64))
    nll.sum().backward()
    assert nll.shape == (0,)
    assert weight.grad is not None
    assert float(weight.grad.abs().sum()) == 0.0


def test_extreme_logits_are_finite() -> None:
    hidden = torch.tensor([[1e4, 0.0]], requires_grad=True)
    weight = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    nll = linear_nll(hidden, weight, torch.tensor([1]))
    assert nll.item() == 2e4
    nll.backward()
    assert hidden.grad is not None
    assert hidden.grad.tolist() == [[2.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_no_worse_than_ordinary(dtype: torch.dtype) -> None:
    hidden, weight = (
        torch.randn(64, 32).to(dtype).requires_grad_(),
        (0.2 * torch.randn(300, 32)).to(dtype).requires_grad_(),
    )
    target = torch.randint(300, (64,))

    def outcome(nll: torch.Tensor) -> list[torch.Tensor]:
        return [nll, *torch.autograd.grad(nll.float().mean(), (hidden, weight))]

    truth = outcome(reference.linear_nll(hidden.double(), weight.double(), target))
    ours = outcome(linear_nll(hidden, weight, target, chunk_size=16))
    ordinary = outcome(F.cross_entropy(F.linear(hidden, weight), target, reduction="none"))
    assert ours[0].dtype == torch.float32
    # the four chunks' shares of the weight gradient are rounded before they are summed, which adds sqrt(2) at most
    for a, b, t in zip(ours, ordinary, truth):
        assert float((a.double() - t).detach().norm()) <= 1.5 * float((b.double() - t).detach().norm())


def test_autocast_multiplies_low_and_sums_high() -> None:
    hidden, weight = torch.randn(9, 16, requires_grad=True), torch.randn(50, 16, requires_grad=True)
    target = torch.randint(50, (9,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        nll = linear_nll(hidden, weight, target)
        logits = F.linear(hidden, weight)
    assert logits.dtype == torch.bfloat16
    assert torch.allclose(nll, F.cross_entropy(logits.float(), target, reduction="none"), atol=1e-5)
    nll.mean().backward()
    assert hidden.grad is not None
    assert hidden.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"target": torch.tensor([0, 1, 11])}, "target"),
        ({"target": torch.tensor([0, 1, -100])}, "target"),
        ({"target": torch.tensor([0, 1])}, "target"),
        ({"target": torch.tensor([0.0, 1.0, 2.0])}, "target"),
        ({"weight": torch.zeros(11, 4)}, "weight"),
        ({"weight": torch.zeros(11, 5, dtype=torch.float64)}, "weight"),
        ({"bias": torch.zeros(10)}, "bias"),
        ({"chunk_size": 0}, "chunk_size"),
        ({"hidden": torch.zeros(3, 1, 5)}, "hidden"),
    ],
)
def test_bad_arguments(change: dict[str, Any], argument: str) -> None:
    arguments: dict[str, Any] = {
        "hidden": torch.zeros(3, 5),
        "weight": torch.zeros(11, 5),
        "target": torch.tensor([0, 1, 2]),
    }
    with pytest.raises(ArgumentError) as caught:
        linear_nll(**(arguments | change))
    assert caught.value.argument == argument


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("wanted", [0, 1])
def test_second_derivatives_are_refused_and_first_ones_kept(linear: bool, wanted: int) -> None:
    tensors, target = problem()
    hidden, weight = tensors[:2]

    def gradient(nll: torch.Tensor, create_graph: bool) -> torch.Tensor:
        total = nll.sum() if linear else nll.square().sum()
        return torch.autograd.grad(total, [hidden, weight][wanted], create_graph=create_graph)[0]

    given = gradient(linear_nll(hidden, weight, target), True)
    assert torch.equal(given, gradient(linear_nll(hidden, weight, target), False))
    # beside a term with a second derivative a missing one would go unnoticed
    with pytest.raises(RuntimeError, match=r"second derivatives|autograd formula"):
        torch.autograd.grad((given + hidden.sum() ** 2).sum(), hidden)


def test_a_bias_is_not_rounded_under_autocast() -> None:
    bias = torch.linspace(-300.0, 300.0, 40).requires_grad_()
    hidden, weight, target = torch.zeros(40, 8), torch.zeros(40, 8), torch.arange(40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = linear_nll(hidden, weight, target, bias=bias)
    expected = torch.logsumexp(bias, 0) - bias
    assert torch.allclose(given, expected, rtol=0, atol=1e-3)  # bfloat16 would be off by 1
    ours, theirs = (torch.autograd.grad(nll[7], bias)[0] for nll in (given, expected))
    assert ours.dtype == torch.float32
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("biased", [False, True])
def test_logits_are_float32_under_autocast(biased: bool) -> None:
    head = LinearHead(8, 40, bias=biased)
    hidden = torch.randn(3, 8)
    if head.offset is not None:
        nn.init.uniform_(head.offset, -300.0, 300.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, product = head(hidden), F.linear(hidden, head.weight)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, product.float() if head.offset is None else product.float() + head.offset)
    logits.sum().backward()
    assert head.weight.grad is not None
    assert head.bfloat16()(hidden.bfloat16()).dtype == torch.bfloat16


def test_compiles_whole() -> None:
    (hidden, weight, bias), target = problem(20)
    compiled = torch.compile(
        lambda h, w, b, r: linear_nll(h, w, target, bias=b, chunk_size=3, row_weight=r).square().mean(),
        fullgraph=True,
        backend="aot_eager",
    )
    told = compiled(hidden, weight, bias, torch.rand(20))
    ours = torch.autograd.grad(compiled(hidden, weight, bias, None), (hidden, weight, bias))
    for a, b in zip(ours, torch.autograd.grad(told, (hidden, weight, bias))):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)
    expected = reference.linear_nll(hidden, weight, target, bias=bias).square().mean()
    for a, b in zip(ours, torch.autograd.grad(expected, (hidden, weight, bias))):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)


def test_tying_shares_the_very_parameter() -> None:
    embedding = nn.Embedding(11, 5)
    head = LinearHead(5, 11, tied=True)
    with pytest.raises(ArgumentError, match="tie"):
        head(torch.zeros(1, 5))
    head.tie(embedding.weight)
    assert head.weight is embedding.weight
    with pytest.raises(ArgumentError, match="embedding"):
        LinearHead(5, 12, tied=True).tie(embedding.weight)


def test_cross_entropy_is_the_mean() -> None:
    loss = CrossEntropy()(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([0, 1, 2]))
    assert loss.item() == 3.0
