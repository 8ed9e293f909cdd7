from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import ALiBi, NoPosition, Rotary, SoftmaxAttention, SoftplusAttention, reference
from lmzoo.layers.attention.softplus.softplus_attention import set_power
from lmzoo.layers.testing import attention_checks as contract
from lmzoo.layers.testing.allocation import largest_allocation
from lmzoo.layers.testing.attention_checks import ATTENTION_CHECKS, check_cache, check_compile
from lmzoo.models import Decoder
from torch import Tensor
from transformers import DynamicCache

VARIANTS: dict[str, dict[str, Any]] = {
    "lssar": {},
    "lssa": {"power": None},
    "power 3": {"power": 3.0},
    "power 2.5": {"power": 2.5},
    "exp": {"activation": "exp"},
    "sigmoid": {"activation": "sigmoid"},
    "relu": {"activation": "relu"},
    "no length scale": {"length_scale": False, "free_rows": 0},
    "groups": {"n_kv_heads": 2},
    "one group, no position": {"n_kv_heads": 1, "position": NoPosition},
    "learned": {"learned_scale": True, "learned_power": True},
    "growing": {"power_warmup_steps": 10},
}


def dense(layer: SoftplusAttention, x: Tensor, key_mask: Tensor | None = None) -> Tensor:
    """The layer from the references alone."""
    batch, length, _ = x.shape
    heads = [layer.n_heads, layer.n_kv_heads, layer.n_kv_heads]
    packed = torch.nn.functional.linear(x, layer.qkv.weight).view(batch, length, sum(heads), layer.head_width)
    query, key, value = torch.split(packed.transpose(1, 2), heads, dim=1)
    if isinstance(layer.position, Rotary):
        query, key = reference.rotary(query), reference.rotary(key)
    y = reference.softplus_attention(
        query,
        key,
        value,
        power=layer.current_power(),
        activation=layer.activation,
        length_scale=layer.length_scale,
        free_rows=layer.free_rows,
        key_mask=key_mask,
        score_factor=None if layer.log_scale is None else layer.log_scale.exp(),
    )
    return torch.nn.functional.linear(y.transpose(1, 2).flatten(2), layer.output.weight)


@pytest.mark.parametrize("name", ATTENTION_CHECKS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_contract(name: str, variant: str) -> None:
    ATTENTION_CHECKS[name](partial(SoftplusAttention, 32, 4, **VARIANTS[variant]))


def test_half_precision_is_held_to_what_the_layer_states() -> None:
    class Boastful(SoftplusAttention):
        factors = (0.0, 0.0)

        def half_precision_factor(self) -> tuple[float, float]:
            return self.factors

    for factors, what in (((3.0, 2.0), "dx"), ((1.5, 10.0), "y")):
        Boastful.factors = factors
        with pytest.raises(AssertionError, match=f"the error of {what} is"):
            contract.check_half_precision(partial(Boastful, 32, 4), [torch.bfloat16])


@pytest.mark.parametrize(
    ("options", "factors"),
    [
        ({"power": None}, (2.0, 2.0)),
        ({"power": None, "activation": "relu"}, (2.0, 20.0)),
        ({"power": 3.0}, (2.0, 5.0)),
        ({}, (3.0, 10.0)),
        ({"activation": "exp"}, (6.0, 20.0)),
        ({"power_warmup_steps": 10}, (3.0, 20.0)),
    ],
)
def test_half_precision_factor(options: dict[str, Any], factors: tuple[float, float]) -> None:
    assert SoftplusAttention(32, 4, **options).half_precision_factor() == pytest.approx(factors)


@pytest.mark.parametrize("variant", ["lssar", "lssa", "groups", "learned"])
def test_cache_of_transformers(variant: str) -> None:
    check_cache(partial(SoftplusAttention, 32, 4, **VARIANTS[variant]), [DynamicCache])


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["lssar", "lssa", "groups", "learned", "growing"])
def test_compile(variant: str) -> None:
    check_compile(partial(SoftplusAttention, 32, 4, **VARIANTS[variant]))


@pytest.mark.parametrize("length", [1, 2, 3, 4, 63, 111])
@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_reference_in_value_and_every_gradient(variant: str, length: int) -> None:
    layer = SoftplusAttention(32, 4, **VARIANTS[variant]).double()
    layer.set_step(4)
    x = torch.randn(2, length, 32, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(length)[None] >= torch.tensor([[length // 3], [0]])
    for key_mask in (None, mask):
        given, expected = layer(x, key_mask), dense(layer, x, key_mask)
        weight = torch.randn_like(given)
        if key_mask is not None:
            # A padded row may see keys that are nothing but rounding apart from it; it means nothing.
            weight = weight * key_mask[..., None]
        assert torch.allclose(given[weight != 0], expected[weight != 0], rtol=0, atol=1e-11)
        wanted = [x, *layer.parameters()]
        options = {"allow_unused": True, "materialize_grads": True}
        ours, theirs = (torch.autograd.grad((weight * y).sum(), wanted, **options) for y in (given, expected))
        for a, b in zip(ours, theirs):
            assert torch.allclose(a, b, rtol=1e-9, atol=1e-9)


def test_the_paper_has_no_parameters_beyond_the_projections() -> None:
    assert SoftplusAttention(64, 8).state_dict().keys() == SoftmaxAttention(64, 8).state_dict().keys()


def test_a_new_learned_layer_is_the_plain_one() -> None:
    plain, learned = SoftplusAttention(32, 4), SoftplusAttention(32, 4, learned_scale=True, learned_power=True)
    learned.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, 40, 32)
    assert torch.allclose(plain(x), learned(x), atol=1e-5)
    assert {n for n, _ in learned.named_parameters()} - {n for n, _ in plain.named_parameters()} == {
        "log_scale",
        "log_power",
    }
    learned(x).square().sum().backward()
    assert learned.log_scale is not None
    assert learned.log_power is not None
    for parameter in (learned.log_scale, learned.log_power):
        assert parameter.grad is not None
        assert (parameter.grad != 0).all()


def test_the_power_can_be_changed_on_a_trained_layer() -> None:
    layer = SoftplusAttention(32, 4, power=None)
    x = torch.randn(2, 40, 32)
    lssa = layer(x)
    for power in (3.0, 15.0, 2.5, None):
        layer.power = power
        other = SoftplusAttention(32, 4, power=power)
        other.load_state_dict(layer.state_dict())
        assert torch.equal(layer(x), other(x))
        assert torch.equal(layer(x), lssa) == (power is None)


def test_set_power_reaches_every_layer_of_a_model() -> None:
    model = Decoder(50, 32, 3, 4, attention=partial(SoftplusAttention, power=3.0))
    set_power(model, 7.0)
    assert [block.attention.power for block in model.blocks] == [7.0] * 3
    set_power(model, None)
    assert [block.attention.power for block in model.blocks] == [None] * 3
    with pytest.raises(ArgumentError, match="SoftplusAttention"):
        set_power(Decoder(50, 32, 1, 4), 3.0)


def test_setting_a_learned_power_sets_every_head() -> None:
    layer = SoftplusAttention(32, 4, learned_power=True)
    layer.power = 4.0
    assert torch.allclose(layer.current_power(), torch.full((4,), 4.0))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError):
        layer.power = None


def test_the_power_grows_linearly_and_is_kept() -> None:
    layer = SoftplusAttention(32, 4, power=9.0, power_warmup_steps=8)
    x = torch.randn(2, 40, 32)
    for step, power in ((0, 1.0), (4, 5.0), (8, 9.0), (100, 9.0)):
        layer.set_step(step)
        assert torch.equal(layer.current_power(), torch.full((4,), power))  # type: ignore[arg-type]
        fixed = SoftplusAttention(32, 4, power=power)
        fixed.load_state_dict(layer.state_dict(), strict=False)
        assert torch.equal(layer(x), fixed(x))
    layer.set_step(4)
    restored = SoftplusAttention(32, 4, power=9.0, power_warmup_steps=8)
    restored.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x), restored(x))
    assert SoftplusAttention(32, 4).set_step(5) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"activation": "tanh"}, "activation"),
        ({"power": 0.0}, "power"),
        ({"power": -3.0}, "power"),
        ({"free_rows": -1}, "free_rows"),
        ({"power_warmup_steps": -1}, "power_warmup_steps"),
        ({"power": None, "learned_power": True}, "power"),
        ({"power": None, "power_warmup_steps": 5}, "power"),
        ({"position": ALiBi}, "position"),
        ({"n_heads": 32, "position": NoPosition}, "n_heads"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        SoftplusAttention(32, **{"n_heads": 4, **arguments})
    assert caught.value.argument == argument


@pytest.mark.parametrize("mask", [None, "left"])
def test_nothing_quadratic_is_allocated(mask: str | None) -> None:
    layer = SoftplusAttention(32, 4)
    for length in (512, 1024):
        x = torch.randn(2, length, 32, requires_grad=True)
        real = None if mask is None else torch.arange(length)[None] >= torch.tensor([[5], [0]])
        largest = largest_allocation(lambda x=x, real=real: layer(x, real).sum().backward())
        assert largest < 4 * length * length


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory that Linux keeps in /proc")
def test_peak_memory_of_4096_tokens() -> None:
    """One dense float32 matrix of 4 heads alone would be 256 MiB."""
    code = """
import torch
from pathlib import Path
from lmzoo.layers import SoftplusAttention
torch.set_num_threads(1)
layer = SoftplusAttention(256, 4)
def peak(length):
    layer(torch.randn(1, length, 256)).sum().backward()
    line, = [l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM")]
    return int(line.split()[1])
small = peak(128)
print(peak(4096) - small)
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kilobytes = int(finished.stdout.split()[-1])
    assert 20 * 1024 < kilobytes < 160 * 1024  # inputs and gradients alone take more than the lower bound
