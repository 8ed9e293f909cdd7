"""Interventions change what they say, exactly, and leave nothing behind."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from lmzoo.errors import ArgumentError
from lmzoo.layers import (
    ComplexAttention,
    LearnedPosition,
    QKNormAttention,
    Rotary,
    SigmoidAttention,
    SoftmaxAttention,
    SoftplusAttention,
)
from lmzoo.models import Decoder, LMZooForCausalLM
from lmzoo.train.evaluate.interventions import (
    OPTIONS,
    add_intervention_arguments,
    intervention_from,
    parse_interventions,
)
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, GPTJConfig, GPTJForCausalLM, LlamaConfig, LlamaForCausalLM

VOCAB = 61


def decoder(attention: Any = SoftmaxAttention, **more: Any) -> Decoder:
    torch.manual_seed(0)
    return Decoder(VOCAB, 32, 2, 4, attention=attention, init_std=0.3, **more).eval()


def llama(**more: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(
        vocab_size=VOCAB, num_key_value_heads=2, max_position_embeddings=24, initializer_range=0.3, **sizes, **more
    )
    return LlamaForCausalLM(config).eval()


def gpt2() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=0, eos_token_id=0
    )
    return GPT2LMHeadModel(config).eval()


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(VOCAB, (2, 41), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits(model: nn.Module, ids: Tensor) -> Tensor:
    out = model(ids)
    return out if isinstance(out, Tensor) else out.logits


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "linear": (decoder, {"rotary_extension": "linear:4"}),
    "ntk": (decoder, {"rotary_extension": "ntk:2.5"}),
    "yarn": (decoder, {"rotary_extension": "yarn:4:16"}),
    "truncated": (decoder, {"rotary_extension": "truncated:2:16"}),
    "another rule": (
        partial(decoder, position=Rotary(extension="linear", factor=2.0)),
        {"rotary_extension": "ntk:2"},
    ),
    "rule taken back": (partial(decoder, position=Rotary(extension="ntk", factor=2.0)), {"rotary_extension": "none"}),
    "power": (partial(decoder, SoftplusAttention), {"power": 7}),
    "no power": (partial(decoder, SoftplusAttention), {"power": "none"}),
    "learned power": (partial(decoder, partial(SoftplusAttention, learned_power=True)), {"power": "3"}),
    "softmax window": (decoder, {"window": 5}),
    "complex window": (partial(decoder, ComplexAttention), {"window": 5}),
    "softplus window": (partial(decoder, SoftplusAttention), {"window": 5}),
    "sigmoid window": (partial(decoder, SigmoidAttention), {"window": 5}),
    "keys": (decoder, {"select_keys": 5}),
    "complex keys": (partial(decoder, ComplexAttention), {"select_keys": 5, "select_recent": 2, "select_sinks": 1}),
    "three": (partial(decoder, SoftplusAttention), {"rotary_extension": "linear:2", "power": 3, "window": 9}),
    "llama rule": (llama, {"rotary_extension": "yarn:4"}),
    "llama window": (llama, {"window": 5}),
    "llama keys": (llama, {"select_keys": 5}),
    "gpt2 window": (gpt2, {"window": 5}),
    "gpt2 keys": (gpt2, {"select_keys": 5}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_change_lasts_as_long_as_its_context(case: str, ids: Tensor) -> None:
    make, options = CASES[case]
    model = make()
    if case == "learned power":
        with torch.no_grad():
            for block in model.blocks:
                block.attention.log_power.copy_(torch.tensor([0.1, 0.7, 1.3, 1.9]))
    before, weights = logits(model, ids), {name: w.clone() for name, w in model.state_dict().items()}
    attributes = [set(vars(module)) for module in model.modules()]
    intervention = parse_interventions(options)
    with intervention(model):
        inside = logits(model, ids)
    assert not torch.allclose(inside, before, atol=1e-3)
    with pytest.raises(ZeroDivisionError), intervention(model):
        raise ZeroDivisionError
    assert torch.equal(logits(model, ids), before)
    assert all(torch.equal(w, weights[name]) for name, w in model.state_dict().items())
    assert [set(vars(module)) for module in model.modules()] == attributes


def test_power_is_the_power_that_was_asked_for(ids: Tensor) -> None:
    model, other = decoder(SoftplusAttention), decoder(partial(SoftplusAttention, power=4.0))
    with parse_interventions({"power": 4})(model):
        assert torch.equal(logits(model, ids), logits(other, ids))


def test_a_rule_is_the_rule_that_was_asked_for(ids: Tensor) -> None:
    for rule, position in (
        ("linear:4", Rotary(extension="linear", factor=4.0)),
        ("yarn:4:16", Rotary(extension="yarn", factor=4.0, train_length=16)),
    ):
        model, other = decoder(), decoder(position=position)
        with parse_interventions({"rotary_extension": rule})(model):
            assert torch.equal(logits(model, ids), logits(other, ids))


def test_the_training_length_of_an_exported_run_is_known(ids: Tensor) -> None:
    wrapped = LMZooForCausalLM.from_decoder(decoder(), train_length=16)
    with parse_interventions({"rotary_extension": "yarn:4"})(wrapped):
        short = logits(wrapped, ids)
    with parse_interventions({"rotary_extension": "yarn:4:16"})(wrapped):
        assert torch.equal(short, logits(wrapped, ids))
    with (
        pytest.raises(ArgumentError, match="yarn:4:LENGTH"),
        parse_interventions({"rotary_extension": "yarn:4"})(decoder()),
    ):
        pass


def test_linear_scaling_of_llama_is_the_library_s_own(ids: Tensor) -> None:
    model = llama()
    scaled = llama(rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0})
    scaled.load_state_dict(model.state_dict())
    assert not torch.allclose(logits(model, ids), logits(scaled, ids), atol=1e-3)
    with parse_interventions({"rotary_extension": "linear:4"})(model):
        torch.testing.assert_close(logits(model, ids), logits(scaled, ids))
    with pytest.raises(ArgumentError, match="rope_type"), parse_interventions({"rotary_extension": "ntk:2"})(scaled):
        pass


@pytest.mark.parametrize(
    "make", [decoder, partial(decoder, QKNormAttention), partial(decoder, SoftplusAttention), llama, gpt2]
)
def test_a_window_of_one_layer_hides_what_is_further_back(make: Any, ids: Tensor) -> None:
    """Two layers of W keys reach 2 W - 2 tokens back and not further."""
    model, window = make(), 6
    changed = ids.clone()
    changed[:, 10] = (changed[:, 10] + 1) % VOCAB
    with parse_interventions({"window": window})(model):
        same = (logits(model, ids) == logits(model, changed)).all(dim=-1).all(dim=0)
    reached = 10 + 2 * (window - 1)
    assert same[:10].all()
    assert not same[10 : reached + 1].any()
    assert same[reached + 1 :].all()


@pytest.mark.parametrize("make", [decoder, partial(decoder, ComplexAttention), llama, gpt2])
@pytest.mark.parametrize("option", ["window", "select_keys"])
def test_all_keys_are_full_attention(make: Any, option: str, ids: Tensor) -> None:
    model = make()
    before = logits(model, ids)
    with parse_interventions({option: 41})(model):
        assert torch.equal(logits(model, ids), before)


@pytest.mark.parametrize("make", [decoder, llama, gpt2])
@pytest.mark.parametrize("options", [{"window": 6}, {"select_keys": 5}])
def test_the_future_changes_nothing(make: Any, options: dict[str, Any], ids: Tensor) -> None:
    model, changed = make(), ids.clone()
    changed[:, 21:] = torch.randint(VOCAB, changed[:, 21:].shape)
    with parse_interventions(options)(model):
        torch.testing.assert_close(logits(model, changed)[:, :21], logits(model, ids)[:, :21], rtol=0, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("options", [{"window": 6}, {"select_keys": 5, "select_sinks": 2}])
def test_padding_and_cache_of_a_library_model(options: dict[str, Any], ids: Tensor) -> None:
    model = llama()
    mask = torch.ones_like(ids)
    mask[0, :9] = 0
    position = (mask.cumsum(1) - 1).clamp(min=0)
    with parse_interventions(options)(model):
        alone = model(ids[:1, 9:]).logits
        padded = model(ids, attention_mask=mask, position_ids=position).logits
        torch.testing.assert_close(padded[:1, 9:], alone, rtol=1e-4, atol=1e-5)
        past = model(ids[:, :17], use_cache=True).past_key_values
        cached = model(ids[:, 17:], past_key_values=past).logits
        torch.testing.assert_close(cached, model(ids).logits[:, 17:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (partial(decoder, ComplexAttention), {"rotary_extension": "linear:2"}, "rotary_extension: .* Rotary"),
        (gpt2, {"rotary_extension": "linear:2"}, "rotary_extension: .* Rotary"),
        (decoder, {"power": 3}, "SoftplusAttention"),
        (partial(decoder, SoftplusAttention), {"select_keys": 4}, "select_keys: .*softmax.* 'SoftplusAttention'"),
        (partial(nn.Linear, 3, 3), {"window": 4}, "window: .*attention layers"),
        (partial(nn.Linear, 3, 3), {"select_keys": 4}, "select_keys: .*attention layers"),
        (
            lambda: GPTJForCausalLM(GPTJConfig(vocab_size=VOCAB, n_embd=32, n_layer=1, n_head=4, rotary_dim=8)),
            {"window": 4},
            "window: .*attention interface",
        ),
    ],
)
def test_a_model_that_cannot_be_changed_so(make: Any, options: dict[str, Any], words: str) -> None:
    model = make()
    with pytest.raises(ArgumentError, match=words), parse_interventions(options)(model):
        pytest.fail("the context was entered")


def test_nested_limits_are_refused(ids: Tensor) -> None:
    for model in (decoder(), llama()):
        before = logits(model, ids)
        with parse_interventions({"window": 5})(model):
            inside = logits(model, ids)
            with pytest.raises(ArgumentError, match="limited already"), parse_interventions({"select_keys": 5})(model):
                pass
            assert torch.equal(logits(model, ids), inside)
        assert torch.equal(logits(model, ids), before)


@pytest.mark.parametrize(
    ("mapping", "description"),
    [
        ({}, "none"),
        ({"window": None, "power": None}, "none"),
        ({"window": "256", "rotary_extension": "yarn:4"}, "rotary_extension=yarn:4, window=256"),
        ({"rotary_extension": "ntk:2.50:128", "power": "7.0"}, "rotary_extension=ntk:2.5:128, power=7"),
        ({"power": "none"}, "power=none"),
        ({"select_keys": 128}, "select_keys=128, select_recent=32, select_sinks=8"),
        ({"select_keys": 2, "select_sinks": 5}, "select_keys=2, select_recent=1, select_sinks=5"),
    ],
)
def test_descriptions(mapping: dict[str, Any], description: str) -> None:
    made = parse_interventions(mapping)
    assert made.describe() == description
    if made.steps:
        again = dict(part.split("=") for part in description.split(", "))
        assert parse_interventions(again).describe() == description


@pytest.mark.parametrize(
    ("mapping", "argument"),
    [
        ({"windows": 4}, "intervention"),
        ({"window": 0}, "window"),
        ({"window": 2.5}, "window"),
        ({"window": "wide"}, "window"),
        ({"power": 0}, "power"),
        ({"power": "high"}, "power"),
        ({"power": "nan"}, "power"),
        ({"rotary_extension": "yarn"}, "rotary_extension"),
        ({"rotary_extension": "yran:4"}, "rotary_extension"),
        ({"rotary_extension": "yarn:0.5"}, "rotary_extension"),
        ({"rotary_extension": "yarn:4:0"}, "train_length"),
        ({"rotary_extension": "yarn:4:8:2"}, "rotary_extension"),
        ({"select_recent": 4}, "select_recent"),
        ({"select_keys": 4, "window": 4}, "select_keys"),
        ({"select_keys": 4, "select_recent": 0}, "select_recent"),
    ],
)
def test_what_cannot_be_read(mapping: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_interventions(mapping)
    assert caught.value.argument == argument


def test_command_line() -> None:
    parser = ArgumentParser()
    add_intervention_arguments(parser)
    assert intervention_from(parser.parse_args([])) is None
    words = ["--window", "64", "--power", "none", "--rotary_extension", "yarn:4"]
    made = intervention_from(parser.parse_args(words))
    assert made is not None
    assert made.describe() == "rotary_extension=yarn:4, power=none, window=64"
    plain = argparse.Namespace(**dict.fromkeys(OPTIONS))
    assert intervention_from(plain) is None


def test_two_models_have_their_own_limits(ids: Tensor) -> None:
    one, other = llama(), llama()
    with parse_interventions({"window": 5})(one):
        alone = logits(one, ids)
        with parse_interventions({"window": 9})(other):
            assert torch.equal(logits(one, ids), alone)
            assert not torch.allclose(logits(other, ids), alone, atol=1e-3)


def test_positions_that_end_still_end(ids: Tensor) -> None:
    model = decoder(position=LearnedPosition(max_length=20))
    with parse_interventions({"window": 4})(model), pytest.raises(ArgumentError, match="20"):
        logits(model, ids)
