from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lmzoo.errors import ArgumentError
from lmzoo.layers import ALiBi, Attention, FeedForward, KeyCache, LearnedPosition, LinearHead, Rotary, SoftmaxAttention
from lmzoo.layers.head import linear_head
from lmzoo.models import Decoder
from torch import Tensor, nn
from transformers import DynamicCache

Make = Callable[..., Decoder]


def left_padding(ids: Tensor) -> Tensor:
    return torch.arange(ids.size(1))[None] >= torch.tensor([[0], [3], [16]])


def test_nll_is_the_cross_entropy_of_the_logits(make: Make, arguments: dict[str, Any], ids: Tensor) -> None:
    model = make(**arguments).double()
    expected = F.cross_entropy(model(ids[:, :-1]).transpose(1, 2), ids[:, 1:], reduction="none")
    nll = model.nll(ids)
    assert nll.shape == (3, 16)
    assert torch.allclose(nll, expected, rtol=0, atol=1e-10)


def test_masked_nll_is_that_of_each_sequence_alone(make: Make, arguments: dict[str, Any], ids: Tensor) -> None:
    model = make(**arguments).double()
    mask = left_padding(ids)
    nll = model.nll(ids, mask)
    for b, start in enumerate((0, 3, 16)):
        assert torch.equal(nll[b, :start], torch.zeros(start, dtype=torch.float64))
        if start < 16:
            alone = model.nll(ids[b : b + 1, start:])[0]
            assert torch.allclose(nll[b, start:], alone, rtol=0, atol=1e-9)


def test_padding_does_not_change_logits(make: Make, arguments: dict[str, Any], ids: Tensor) -> None:
    model = make(**arguments).double()
    logits = model(ids, left_padding(ids))
    assert bool(logits.isfinite().all())
    for b, start in enumerate((0, 3, 16)):
        assert torch.allclose(logits[b, start:], model(ids[b : b + 1, start:])[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("make_cache", [KeyCache, DynamicCache])
@pytest.mark.parametrize("padded", [False, True])
def test_cached_steps_equal_the_full_pass(
    make: Make, arguments: dict[str, Any], ids: Tensor, make_cache: Callable[[], Any], padded: bool
) -> None:
    model = make(**arguments).double()
    mask = left_padding(ids) if padded else None
    cache, rows = make_cache(), []
    for start, end in [(0, 9), *((i, i + 1) for i in range(9, 17))]:
        rows.append(model(ids[:, start:end], None if mask is None else mask[:, :end], cache))
    real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
    assert torch.allclose(torch.cat(rows, 1)[real], model(ids, mask)[real], rtol=0, atol=1e-9)


def test_no_leak_from_the_future(make: Make, arguments: dict[str, Any], ids: Tensor) -> None:
    model = make(**arguments).double()
    changed = ids.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 53
    assert torch.allclose(model(ids)[:, :9], model(changed)[:, :9], rtol=0, atol=1e-12)
    assert not torch.allclose(model(ids)[:, 9], model(changed)[:, 9])


def test_describe_and_rebuild(make: Make, arguments: dict[str, Any], ids: Tensor) -> None:
    model = make(**arguments)
    config = json.loads(json.dumps(model.config))
    torch.manual_seed(0)
    rebuilt = Decoder.from_config(config)
    assert rebuilt.config == model.config
    assert torch.equal(rebuilt(ids), model(ids))


def test_the_default_is_a_pre_norm_rotary_model(make: Make, ids: Tensor) -> None:
    model = make().double()
    x = F.embedding(ids, model.embedding.weight)
    for block in model.blocks:
        assert isinstance(block.attention.position, Rotary)
        x = x + block.attention(block.attention_norm(x))
        x = x + block.feed_forward(block.feed_forward_norm(x))
    assert torch.allclose(model(ids), model.norm(x) @ model.embedding.weight.T, rtol=0, atol=1e-10)


def test_seed_alone_decides_the_weights() -> None:
    def weights(seed: int, **arguments: Any) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        return dict(Decoder(53, 32, 2, 4, **arguments).state_dict())

    first, again, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])
    # other parts leave the tensors in common alone
    for arguments in ({"feed_forward": FeedForward}, {"head": LinearHead}, {"position": LearnedPosition(9)}):
        variant = weights(0, **arguments)
        shared = [k for k in first if k in variant and first[k].shape == variant[k].shape]
        assert {"embedding.weight", "blocks.1.attention.qkv.weight", "blocks.0.attention.output.weight"} <= set(shared)
        skipped = {"head.weight"} if "head" in arguments else set()
        assert all(torch.equal(first[k], variant[k]) for k in shared if k not in skipped)


def test_scale_of_the_initial_weights() -> None:
    torch.manual_seed(0)
    model = Decoder(512, 128, 8, 4, head=LinearHead, init_std=0.02)
    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            assert bool((parameter == 1).all())
        else:
            expected = 0.02 / math.sqrt(16) if name.endswith(".output.weight") else 0.02
            assert float(parameter.detach().std()) == pytest.approx(expected, rel=0.05), name
            assert abs(float(parameter.detach().mean())) < 0.05 * expected


class TakesNothingMore(LinearHead):
    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        return super().nll(hidden, target)


@pytest.mark.parametrize("head", [LinearHead, TakesNothingMore])
@pytest.mark.parametrize("masked", [False, True])
def test_a_head_may_be_told_what_a_loss_weighs(
    make: Make, ids: Tensor, head: type[LinearHead], masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(head=head).double()
    mask = torch.arange(17)[None] >= torch.tensor([[0], [3], [9]]) if masked else None
    weight = torch.rand(3, 16, dtype=torch.float64)
    told: list[Tensor | None] = []
    nll = linear_head.linear_nll
    monkeypatch.setattr(linear_head, "linear_nll", lambda *a, **k: told.append(k["row_weight"]) or nll(*a, **k))
    outcomes = [model.nll(ids, mask), model.nll(ids, mask, row_weight=weight)]
    assert torch.equal(*outcomes)
    gradients = [torch.autograd.grad((weight * y).sum(), list(model.parameters())) for y in outcomes]
    for a, b in zip(*gradients):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)
    real = torch.ones(3, 16, dtype=torch.bool) if mask is None else mask[:, 1:] & mask[:, :-1]
    assert told[0] is None
    assert (told[1] is not None and torch.equal(told[1], weight[real])) == (head is LinearHead)


@pytest.mark.parametrize("tied", [False, True])
def test_biases_start_at_zero(tied: bool) -> None:
    def parameters(bias: bool) -> dict[str, Tensor]:
        torch.manual_seed(0)
        head = partial(LinearHead, bias=bias, tied=tied)
        model = Decoder(53, 32, 1, 4, head=head, feed_forward=partial(FeedForward, bias=True))
        return dict(model.named_parameters())

    plain, biased = parameters(False), parameters(True)
    assert set(biased) - set(plain) == {"head.offset"}
    offsets = [name for name in biased if name.endswith(("bias", "offset"))]
    assert len(offsets) == 3
    assert all(torch.equal(biased[name], torch.zeros_like(biased[name])) for name in offsets)
    assert all(torch.equal(plain[name], biased[name]) for name in plain)


def test_a_part_may_initialise_itself() -> None:
    class Own(FeedForward):
        def __init__(self, d_model: int) -> None:
            super().__init__(d_model)
            self.gain = nn.Parameter(torch.zeros(3))

        def initialise(self, std: float, generator: torch.Generator) -> None:
            self.gain.copy_(torch.randn(3, generator=generator) * std)

    def gain(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return Decoder(11, 8, 1, 2, feed_forward=Own).blocks[0].feed_forward.gain  # type: ignore[return-value, union-attr]

    assert torch.equal(gain(3), gain(3))
    assert float(gain(3).detach().abs().sum()) > 0


def test_dropout_acts_in_training_only(make: Make, ids: Tensor) -> None:
    model = make(dropout=0.5)
    assert not torch.equal(model(ids), model(ids))
    model.eval()
    assert torch.equal(model(ids), model(ids))


class OwnPositions(Attention):
    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__(d_model, n_heads)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"vocab_size": 0}, "vocab_size"),
        ({"n_layers": 0}, "n_layers"),
        ({"n_heads": 5}, "d_model"),
        ({"dropout": 1.0}, "dropout"),
        ({"init_std": 0.0}, "init_std"),
        ({"attention": "SoftmaxAttenion"}, "class_path"),
        ({"attention": OwnPositions, "position": ALiBi}, "position"),
        ({"attention": OwnPositions, "position": LearnedPosition(9)}, "position"),
        ({"attention": partial(SoftmaxAttention, position=Rotary()), "position": ALiBi}, "position"),
        ({"attention": partial(SoftmaxAttention, position=LearnedPosition(9))}, "position"),
        ({"feed_forward": {"class_path": "SwiGLU", "init_args": {"hiden": 3}}}, "hiden"),
    ],
)
def test_bad_arguments(make: Make, arguments: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make(**arguments)
    assert caught.value.argument == argument


def test_one_token_has_no_nll(make: Make, ids: Tensor) -> None:
    with pytest.raises(ArgumentError, match="input_ids"):
        make().nll(ids[:, :1])


def test_beyond_a_learned_table(make: Make) -> None:
    with pytest.raises(ArgumentError, match="max_length"):
        make(position=LearnedPosition(16))(torch.zeros(1, 17, dtype=torch.int64))


@pytest.mark.slow
@pytest.mark.parametrize("position", [None, ALiBi, LearnedPosition(40)])
def test_compiled_nll_equals_eager(make: Make, ids: Tensor, position: Any) -> None:
    model = make(position=position)
    eager = model.nll(ids).mean()
    expected = torch.autograd.grad(eager, list(model.parameters()))
    compiled = torch.compile(model.nll, fullgraph=True)(ids).mean()
    given = torch.autograd.grad(compiled, list(model.parameters()))
    assert compiled.item() == pytest.approx(eager.item(), rel=1e-5)
    for a, b in zip(given, expected):
        assert float((a - b).norm()) <= 1e-4 * float(b.norm())
