from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import ComplexAttention, NoPosition, Rotary, SoftmaxAttention, reference
from lmzoo.layers.attention.phase_map import _plain, phase_map, phase_table
from lmzoo.layers.functional import complex_attention, rotary
from lmzoo.layers.testing.attention_checks import ATTENTION_CHECKS, check_cache, check_compile
from lmzoo.models import Decoder
from lmzoo.train.fit.optimization import decay_groups
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import DynamicCache

VARIANTS = [
    {},
    {"n_kv_heads": 2, "delta_init": "one"},
    {"n_kv_heads": 1, "delta_init": "zero", "scale": 1.0},
    {"n_kv_heads": 2, "adaptation": "head", "base": 100.0},
    {"adaptation": "layer"},
]


def inputs(heads: int, groups: int, rows: int, keys: int, half: int) -> list[Tensor]:
    shapes = [(2, heads, rows, 2 * half), (2, groups, keys, 2 * half), (2, groups, keys, 2 * half)]
    shapes += [(groups, half), (heads, half)]
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def gradients(y: Tensor, wanted: list[Tensor], weight: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad((weight * y).sum(), wanted))


def polar_map(x: Tensor, delta: Tensor, bias: Tensor, angle: Tensor) -> Tensor:
    r, s = x.chunk(2, dim=-1)
    size, phase = torch.sqrt(r**2 + s**2), delta[:, None] * torch.atan2(s, r) + bias[:, None] + angle
    return torch.cat([size * phase.cos(), size * phase.sin()], dim=-1)


@pytest.mark.parametrize("name", ATTENTION_CHECKS)
@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_contract(name: str, options: dict[str, object]) -> None:
    ATTENTION_CHECKS[name](partial(ComplexAttention, 32, 4, **options))


def test_cache_of_transformers() -> None:
    check_cache(partial(ComplexAttention, 32, 4, n_kv_heads=2), [DynamicCache])


@pytest.mark.slow
@pytest.mark.parametrize("options", VARIANTS[:2], ids=str)
def test_compile(options: dict[str, object]) -> None:
    check_compile(partial(ComplexAttention, 32, 4, **options))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("rows", "keys"), [(1, 1), (2, 2), (63, 63), (111, 111), (5, 12)])
@pytest.mark.parametrize("groups", [4, 2, 1])
def test_equals_reference_in_value_and_every_gradient(groups: int, rows: int, keys: int, masked: bool) -> None:
    tensors = inputs(4, groups, rows, keys, 3)
    options: dict[str, object] = {"base": 100.0, "scale": 0.7} if masked else {}
    if masked:
        options["key_mask"] = torch.arange(keys)[None] >= torch.tensor([[keys // 3], [0]])
    given = complex_attention(*tensors, **options)
    expected = reference.complex_attention(*tensors, **options)
    weight = torch.randn_like(given)
    assert torch.allclose(given, expected, rtol=0, atol=1e-11)
    for ours, theirs in zip(gradients(given, tensors, weight), gradients(expected, tensors, weight)):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-10)


def test_a_delta_of_each_head_with_shared_keys() -> None:
    query, key, value, _, bias = inputs(4, 2, 9, 9, 3)
    delta = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    tensors = [query, key, value, delta, bias]
    given, expected = complex_attention(*tensors), reference.complex_attention(*tensors)
    weight = torch.randn_like(given)
    assert torch.allclose(given, expected, rtol=0, atol=1e-12)
    for ours, theirs in zip(gradients(given, tensors, weight), gradients(expected, tensors, weight)):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-11)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_layer_equals_reference(options: dict[str, object]) -> None:
    layer = ComplexAttention(24, 4, **options).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 13, 24, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(13)[None] >= torch.tensor([[4], [0]])
    groups, half = layer.n_kv_heads, 3
    packed = torch.nn.functional.linear(x, layer.qkv.weight).view(2, 13, -1, 6).transpose(1, 2)
    y = reference.complex_attention(
        *torch.split(packed, [4, groups, groups], dim=1),
        layer.delta.expand(groups, half),
        layer.bias.expand(4, half),
        base=layer.base,
        scale=layer.scale,
        key_mask=mask,
    )
    expected = torch.nn.functional.linear(y.transpose(1, 2).flatten(2), layer.output.weight)
    given, wanted = layer(x, mask), [x, *layer.parameters()]
    weight = torch.randn_like(given)
    assert torch.allclose(given, expected, rtol=0, atol=1e-12)
    for ours, theirs in zip(gradients(given, wanted, weight), gradients(expected, wanted, weight)):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("groups", [4, 2])
def test_delta_one_is_rotary_softmax_attention(groups: int, dtype: torch.dtype) -> None:
    ours = ComplexAttention(64, 4, n_kv_heads=groups, delta_init="one").to(dtype)
    theirs = SoftmaxAttention(64, 4, n_kv_heads=groups, position=Rotary()).to(dtype)
    missing = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert missing.unexpected_keys == ["delta", "bias"]
    x = torch.randn(2, 63, 64).to(dtype).requires_grad_()
    wanted = [[x, layer.qkv.weight, layer.output.weight] for layer in (ours, theirs)]
    y, z = ours(x), theirs(x)
    weight = torch.randn_like(y)
    tolerance = {torch.float64: 1e-13, torch.float32: 2e-6, torch.bfloat16: 2e-2}[dtype]
    for a, b in zip([y, *gradients(y, wanted[0], weight)], [z, *gradients(z, wanted[1], weight)]):
        assert float((a - b).detach().norm()) <= tolerance * float(b.detach().norm())


def test_a_decoder_that_starts_as_rotary_trains_as_rotary() -> None:
    losses: list[list[float]] = []
    for attention in (partial(ComplexAttention, delta_init="one"), SoftmaxAttention):
        torch.manual_seed(5)
        decoder = Decoder(29, 32, 2, 4, attention=attention, init_std=0.2).double()
        for name, parameter in decoder.named_parameters():
            parameter.requires_grad_(not name.endswith(("delta", "attention.bias")))
        optimizer = torch.optim.SGD([p for p in decoder.parameters() if p.requires_grad], lr=0.1)
        ids = torch.randint(29, (4, 24), generator=torch.Generator().manual_seed(1))
        losses.append([])
        for _ in range(8):
            loss = decoder.nll(ids).mean()
            losses[-1].append(float(loss.detach()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert losses[0] == pytest.approx(losses[1], rel=1e-10)
    assert losses[0][-1] < losses[0][0] - 0.3


def test_map_keeps_magnitudes_and_turns_phases() -> None:
    # 3 + 4i has phase atan2(4, 3); delta 2 doubles it, b adds 0.5, position 1 adds 1 radian to the first channel
    x = torch.tensor([[[[3.0, 4.0]]]], dtype=torch.float64)
    delta, bias = torch.tensor([[2.0]]).double(), torch.tensor([[0.5]]).double()
    phase = 2 * math.atan2(4.0, 3.0) + 0.5 + 1.0
    mapped = phase_map(x, delta, bias, phase_table(2, 2, 10000.0, x)[1:])
    assert mapped.flatten().tolist() == pytest.approx([5 * math.cos(phase), 5 * math.sin(phase)], abs=1e-14)


def test_map_gradients() -> None:
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    delta, bias = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    angle = phase_table(4, 6, 10.0, x)
    assert torch.autograd.gradcheck(lambda *z: phase_map(*z, angle), (x, delta, bias))
    assert torch.autograd.gradcheck(lambda a, b: phase_map(a, b, None, angle), (x, delta))
    given, expected = phase_map(x, delta, bias, angle), polar_map(x, delta, bias, angle)
    assert torch.allclose(given, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-12, 1e9])
def test_map_at_extreme_magnitudes(size: float) -> None:
    x = (size * torch.randn(1, 2, 3, 8)).requires_grad_()
    delta, bias = torch.randn(2, 2, 4).unbind()
    delta.requires_grad_()
    angle = phase_table(3, 8, 10000.0, x)
    y = phase_map(x, delta, bias, angle)
    truth = polar_map(x.double(), delta.double(), bias.double(), angle.double())
    assert torch.allclose(y.double(), truth, rtol=1e-4, atol=1e-5 * size)
    weight = torch.randn_like(y)
    on_x, on_delta = torch.autograd.grad((weight * y).sum(), (x, delta))
    assert bool(on_x.isfinite().all())
    # a map of bounded slope: max(1, |delta|) in any direction
    bound = float(delta.abs().max().clamp(min=1.0)) * float(weight.abs().max()) * 4.0
    assert float(on_x.abs().max()) <= bound
    assert bool(on_delta.isfinite().all())


def test_gradient_at_the_origin_is_that_of_the_rotation() -> None:
    x = torch.zeros(1, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn_like(x)
    angle = phase_table(3, 4, 10000.0, x)
    delta, zero = torch.full((1, 2), 0.3, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    (given,) = gradients(phase_map(x, delta, zero, angle), [x], weight)
    (expected,) = gradients(rotary(x), [x], weight)
    assert torch.allclose(given, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("path", ["eager", "compiled"])
def test_signed_zeros_have_phase_zero(path: str, dtype: torch.dtype) -> None:
    zeros = torch.tensor([[0.0, 0.0], [0.0, -0.0], [-0.0, 0.0], [-0.0, -0.0]], dtype=dtype)
    x = zeros.view(1, 4, 1, 2).requires_grad_()
    delta = torch.full((4, 1), 0.3, dtype=dtype, requires_grad=True)
    turn = torch.full((4, 1, 1), 0.7, dtype=dtype)
    weight = torch.randn_like(x)
    y = phase_map(x, delta, None, turn) if path == "eager" else _plain(x, delta, turn)
    on_x, on_delta = gradients(y, [x, delta], weight)
    # the rotation by 0.7, transposed
    cos, sin = math.cos(0.7), math.sin(0.7)
    expected = weight @ torch.tensor([[cos, -sin], [sin, cos]], dtype=dtype)
    assert torch.allclose(on_x, expected, rtol=0, atol=1e-6)
    assert not y.any()
    assert not on_delta.any()


@pytest.mark.parametrize("delta", [0.0, 0.5, 1.0, 1.7, 2.0])
def test_the_jump_across_the_negative_axis(delta: float) -> None:
    above, below = (torch.tensor([[[[-3.0, s]]]], dtype=torch.float64, requires_grad=True) for s in (1e-12, -1e-12))
    angle = phase_table(1, 2, 10000.0, above)
    ratio, zero = torch.full((1, 1), delta, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    high, low = (phase_map(x, ratio, zero, angle) for x in (above, below))
    assert float((high - low).norm()) == pytest.approx(6 * abs(math.sin(math.pi * delta)), abs=1e-10)
    for x, y in ((above, high), (below, low)):
        assert bool(gradients(y, [x], torch.ones_like(y))[0].isfinite().all())


def test_phases_are_exact_far_out() -> None:
    x = torch.randn(1, 2, 4, 64)
    delta, bias = torch.randn(2, 2, 32).unbind()
    angle, exact = (phase_table(100_004, 64, 10000.0, z)[-4:] for z in (x, x.double()))
    truth = polar_map(x.double(), delta.double(), bias.double(), exact)
    assert float((phase_map(x, delta, bias, angle) - truth).abs().max()) < 5e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_once(dtype: torch.dtype) -> None:
    x = torch.randn(1, 4, 64, 64).to(dtype)
    delta, bias = (torch.randn(4, 32) for _ in range(2))
    truth = polar_map(x.double(), delta.double(), bias.double(), phase_table(64, 64, 10000.0, x.double()))
    given = phase_map(x, delta, bias, phase_table(64, 64, 10000.0, x))
    rounding = (truth.to(dtype).double() - truth).abs().max()
    assert float((given.double() - truth).abs().max()) <= 1.01 * float(rounding) + 1e-5


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_autocast_trains(options: dict[str, object]) -> None:
    layer = ComplexAttention(64, 4, **options)
    x = torch.randn(2, 40, 64)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    full = layer(x)
    assert y.dtype == torch.bfloat16
    assert float((y - full).norm()) < 0.03 * float(full.norm())
    y.sum().backward()
    assert layer.delta.grad is not None
    assert layer.delta.grad.dtype == torch.float32
    assert bool(layer.delta.grad.isfinite().all())


@pytest.mark.parametrize("name", ["zero", "one"])
def test_constant_starts(name: str) -> None:
    layer = ComplexAttention(24, 4, delta_init=name)
    assert layer.delta.unique().tolist() == [{"zero": 0.0, "one": 1.0}[name]]
    assert layer.bias.unique().tolist() == [0.0]


def test_normal_start_has_the_authors_spread() -> None:
    layer = ComplexAttention(4096, 32)  # 64 complex channels, 2048 numbers
    assert float(layer.delta.std()) == pytest.approx(1 / 8, rel=0.06)
    assert float(layer.delta.mean()) == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(
    ("options", "delta", "bias"),
    [
        ({}, (4, 3), (4, 3)),
        ({"n_kv_heads": 2}, (2, 3), (4, 3)),
        ({"n_kv_heads": 2, "adaptation": "head"}, (2, 1), (4, 1)),
        ({"n_kv_heads": 2, "adaptation": "layer"}, (1, 3), (1, 3)),
    ],
)
def test_shapes_of_the_adaptation(options: dict[str, object], delta: tuple[int, int], bias: tuple[int, int]) -> None:
    layer = ComplexAttention(24, 4, **options)
    assert (tuple(layer.delta.shape), tuple(layer.bias.shape)) == (delta, bias)


def test_adaptation_does_not_decay() -> None:
    layer = ComplexAttention(24, 4)
    decay, keep = decay_groups(layer, 0.1)
    assert {id(p) for p in keep["params"]} == {id(layer.delta), id(layer.bias)}
    assert len(decay["params"]) == 2


def test_no_complex_number_in_the_graph() -> None:
    seen: set[torch.dtype] = set()

    class Spy(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            seen.update(z.dtype for z in (out if isinstance(out, tuple | list) else [out]) if isinstance(z, Tensor))
            return out

    layer = ComplexAttention(24, 4)
    with Spy():
        layer(torch.randn(1, 5, 24)).sum().backward()
    assert torch.float32 in seen
    assert not any(dtype.is_complex for dtype in seen)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"delta_init": "ones"}, "delta_init"),
        ({"adaptation": "channel"}, "adaptation"),
        ({"scale": 0.0}, "scale"),
        ({"base": -1.0}, "base"),
        ({"d_model": 12}, "d_model"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        ComplexAttention(**({"d_model": 24, "n_heads": 4} | arguments))  # type: ignore[arg-type]
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("place", "shape", "argument"),
    [
        (0, (2, 4, 13, 6), "query"),
        (0, (2, 4, 12, 5), "query"),
        (1, (2, 3, 12, 6), "key"),
        (3, (3, 3), "delta"),
        (4, (2, 3), "bias"),
    ],
)
def test_bad_shapes(place: int, shape: tuple[int, ...], argument: str) -> None:
    tensors = [z.detach() for z in inputs(4, 2, 12, 12, 3)]
    tensors[place] = torch.zeros(shape, dtype=torch.float64)
    with pytest.raises(ArgumentError) as caught:
        complex_attention(*tensors)
    assert caught.value.argument == argument


def test_positions_are_its_own() -> None:
    assert isinstance(ComplexAttention(24, 4).position, NoPosition)
    with pytest.raises(TypeError):
        ComplexAttention(24, 4, position=Rotary())  # type: ignore[call-arg]


def test_training_after_inference_mode() -> None:
    layer = ComplexAttention(32, 4)
    x = torch.randn(1, 9, 32)
    with torch.inference_mode():
        layer(x)
    layer(x).sum().backward()
    assert layer.delta.grad is not None
