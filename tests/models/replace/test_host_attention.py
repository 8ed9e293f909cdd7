"""What a model's attention is, and what is refused because it is something else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import ComplexAttention, NoPosition, Rotary, SoftmaxAttention, SoftplusAttention
from lmzoo.models import replace_attention
from lmzoo.models.replace.fixed_rotary import FixedRotary
from torch import Tensor

Make = Callable[..., Any]

LLAMA, GPT2 = "model.layers.*.self_attn", "transformer.h.*.attn"
ONE = partial(ComplexAttention, delta_init="one")

RULES: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "rope_theta": 100.0, "factor": 4.0},
    "yarn": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 16},
    "llama3": {
        "rope_type": "llama3",
        "rope_theta": 100.0,
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
}


@pytest.mark.parametrize("rule", RULES)
def test_rules_for_long_contexts_are_carried_over(make_host: Make, rule: str, ids: Tensor) -> None:
    model = make_host("llama", exact=True, rope_parameters=RULES[rule])
    before = model(ids).logits
    with replace_attention(model, LLAMA, SoftmaxAttention) as replacement:
        assert torch.allclose(model(ids).logits, before, rtol=0, atol=1e-10)
        assert replacement.layers[0].positions.startswith("Rotary(base=100" if rule == "linear" else "FixedRotary(")
    with replace_attention(model, LLAMA, SoftmaxAttention, position=Rotary(100.0)):
        assert not torch.allclose(model(ids).logits, before, atol=1e-3)
    with pytest.raises(ArgumentError, match=r"rope_type: expected default.*base=.* yourself"):
        replace_attention(model, LLAMA, ONE)
    replace_attention(model, LLAMA, ONE, base=100.0).undo()
    assert torch.equal(model(ids).logits, before)


def test_rules_that_depend_on_the_length_are_refused(make_host: Make, ids: Tensor) -> None:
    rule = {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 2.0}
    model = make_host("llama", rope_parameters=rule)
    with pytest.raises(ArgumentError, match=r"rope_type: expected default, linear, llama3 or yarn .*got 'dynamic'"):
        replace_attention(model, LLAMA, SoftplusAttention)
    replace_attention(model, LLAMA, SoftplusAttention, position=NoPosition())
    assert torch.isfinite(model(ids).logits).all()


def test_fixed_frequencies_are_those_of_rotary() -> None:
    query, key = torch.randn(2, 1, 4, 9, 8, dtype=torch.float64).unbind()
    fixed = FixedRotary([100.0 ** (-c / 4) for c in range(4)], factor=1.5).bind(d_model=32, n_heads=4)
    rotary = Rotary(100.0).bind(d_model=32, n_heads=4)
    for given, wanted in zip(fixed.transform(query, key, 5), rotary.transform(query, key, 5)):
        assert torch.allclose(given, 1.5 * wanted, rtol=1e-12)
    with pytest.raises(ArgumentError, match="frequencies: expected 4 numbers for heads of width 8, got 3"):
        FixedRotary([1.0, 0.1, 0.01]).bind(d_model=32, n_heads=4)


NO_PAD = {"pad_token_id": None}
STRANGE: dict[str, tuple[str, dict[str, Any], str]] = {
    "norms of queries": ("qwen3", {"head_dim": 8}, r"parameters of q_proj.*with k_norm.weight, q_norm.weight"),
    "wide heads": ("mistral", {"head_dim": 16}, r"head_dim: expected hidden_size / num_attention_heads = 8, got '16"),
    "another scale": ("granite", {"attention_multiplier": 0.5}, "scaling: expected .* = 0.353553, got '0.5"),
    "neighbours turn together": ("cohere", {}, r"CohereAttention, whose output differs by \d+"),
    "a layer without positions": (
        "smollm3",
        {"no_rope_layers": [1, 0], "pad_token_id": None},
        r"layers.1.self_attn.*differs by \d+",
    ),
    "cross-attention": ("gpt2", {"add_cross_attention": True}, "causal attention in a model without cross-attention"),
    "scale by layer": ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scaling: .*h.1.attn"),
}


@pytest.mark.parametrize("strange", STRANGE)
def test_attention_that_computes_something_else_is_refused(make_host: Make, strange: str) -> None:
    kind, more, message = STRANGE[strange]
    model = make_host(kind, **more)
    with pytest.raises(ArgumentError, match=message):
        replace_attention(model, GPT2 if kind == "gpt2" else LLAMA, SoftplusAttention)


def test_calls_that_mean_more_than_causality_and_padding_are_refused(make_host: Make, ids: Tensor) -> None:
    model = make_host("mistral", sliding_window=8)
    replace_attention(model, LLAMA, SoftplusAttention)
    assert model(ids[:, :8]).logits.shape == (3, 8, 53)
    with pytest.raises(ArgumentError, match="sliding_window: expected at least 9, the length of the sequence"):
        model(ids[:, :9])
    with pytest.raises(ArgumentError, match="sliding_window"):
        model.generate(ids[:, :6], max_new_tokens=4, pad_token_id=0)
    model = make_host("llama", attention_dropout=0.1)
    replace_attention(model, LLAMA, SoftplusAttention)
    packed = torch.arange(17) % 9
    pairs = torch.ones(3, 1, 17, 17, dtype=torch.bool)
    bias = torch.zeros(3, 1, 17, 17).masked_fill(~pairs.tril(), -torch.inf)
    assert torch.equal(model(ids, attention_mask=bias).logits, model(ids).logits)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"position_ids": packed[None]}, "position_ids: expected positions that"),
        (
            {"position_ids": packed[None], "use_cache": False},
            "attention_mask: expected a mask that hides the future and padding",
        ),
        ({"position_ids": packed[None], "attention_mask": torch.ones(3, 17)}, "position_ids: expected positions that"),
        ({"attention_mask": pairs}, "attention_mask: expected a mask that hides the future and padding"),
        ({"attention_mask": bias - 0.5}, "attention_mask: expected an additive mask of 0 and very low numbers"),
        ({"output_attentions": True}, "output_attentions: expected False"),
        ({"cu_seq_lens_q": torch.tensor([0, 9, 17])}, "cu_seq_lens_q: expected None"),
    ]
    for more, message in wrong:
        with pytest.raises(ArgumentError, match=message):
            model(ids, **more)
    with pytest.raises(ArgumentError, match="past_key_values: expected a cache that grows"):
        model.generate(ids, max_new_tokens=3, cache_implementation="static", pad_token_id=0)
    with pytest.raises(ArgumentError, match="attention_dropout: expected 0 in training"):
        model.train()(ids)
