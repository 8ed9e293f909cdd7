from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import ComplexAttention, SigmoidAttention, SoftmaxAttention, SoftplusAttention
from lmzoo.models import replace_attention
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

Make = Callable[..., Any]

LLAMA, GPT2 = "model.layers.*.self_attn", "transformer.h.*.attn"
HOSTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("llama", LLAMA, {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
    "llama, biases": ("llama", LLAMA, {"attention_bias": True, "num_key_value_heads": 4}),
    "mistral": ("mistral", LLAMA, {"sliding_window": None}),
    "qwen2": ("qwen2", LLAMA, {}),
    "gpt2": ("gpt2", GPT2, {}),
}
ONE = partial(ComplexAttention, delta_init="one")
LAYERS: dict[str, Any] = {
    "softplus": partial(SoftplusAttention, power=3.0),
    "complex": ComplexAttention,
    "sigmoid": partial(SigmoidAttention, train_length=16),
}


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest, make_host: Make) -> tuple[Any, str]:
    kind, pattern, more = HOSTS[request.param]
    return make_host(kind, exact=True, **more), pattern


@pytest.fixture(params=[(kind, layer) for kind in ("llama", "gpt2") for layer in LAYERS], ids="-".join)
def replaced(request: pytest.FixtureRequest, make_host: Make) -> Any:
    kind, layer = request.param
    model = make_host(kind, exact=True)
    replace_attention(model, GPT2 if kind == "gpt2" else LLAMA, LAYERS[layer])
    return model


def carried_gradients(model: Any) -> dict[str, Tensor]:
    """Gradients by the names that a replaced model has: q, k, v in one, Conv1D as Linear."""
    found: dict[str, Tensor] = {}
    for old_name, parameter in model.named_parameters():
        name, grad = old_name, parameter.grad
        if ".attn.c_attn.weight" in name or ".attn.c_proj.weight" in name:
            grad = grad.T
        for old, new in (("attn.c_attn", "attn.layer.qkv"), ("attn.c_proj", "attn.layer.output")):
            name = name.replace(old, new)
        name = name.replace("self_attn.o_proj", "self_attn.layer.output")
        for child in ("q_proj", "k_proj", "v_proj"):
            name = name.replace(f"self_attn.{child}", "self_attn.layer.qkv")
        found[name] = torch.cat([found[name], grad]) if name in found else grad
    return found


def test_layers_that_compute_the_same_leave_logits_and_gradients(host: tuple[Any, str], ids: Tensor) -> None:
    model, pattern = host
    mask = (torch.arange(17)[None] >= torch.tensor([[0], [3], [9]])).long()
    before = [model(ids).logits, model(ids, attention_mask=mask).logits[mask.bool()]]
    model(ids, labels=ids).loss.backward()
    expected = carried_gradients(model)
    # a model with positions in its embedding has none in its attention, which complex attention would bring
    for layer in (SoftmaxAttention, "SoftmaxAttention", *([ONE] if pattern == LLAMA else [])):
        with replace_attention(model, pattern, layer) as replacement:
            assert len(replacement.layers) == 2
            after = [model(ids).logits, model(ids, attention_mask=mask).logits[mask.bool()]]
            for given, wanted in zip(after, before):
                assert torch.allclose(given, wanted, rtol=0, atol=1e-10)
            model.zero_grad()
            model(ids, labels=ids).loss.backward()
            learned = {name: p.grad for name, p in model.named_parameters()}
            for name, gradient in expected.items():
                assert torch.allclose(learned[name], gradient, rtol=0, atol=1e-10), name
            assert all(name in expected or name.endswith((".delta", "layer.bias")) for name in learned)


@pytest.mark.parametrize("kind", HOSTS)
def test_untouched_models_in_single_precision_change_by_rounding_alone(make_host: Make, kind: str, ids: Tensor) -> None:
    name, pattern, more = HOSTS[kind]
    for implementation in ("sdpa", "eager"):
        model = make_host(name, attn_implementation=implementation, **more)
        mask = (torch.arange(17)[None] >= torch.tensor([[0], [3], [9]])).long()
        before = model(ids, attention_mask=mask).logits[mask.bool()]
        replace_attention(model, pattern, SoftmaxAttention)
        after = model(ids, attention_mask=mask).logits[mask.bool()]
        assert after.dtype == torch.float32
        assert (after - before).norm() < 1e-5 * before.norm()


@pytest.mark.parametrize("groups", [4, 1])
def test_key_heads_are_repeated_where_more_are_wanted_and_new_where_fewer_are(
    make_host: Make, ids: Tensor, groups: int
) -> None:
    model = make_host("qwen2", exact=True)
    before = model(ids).logits
    replacement = replace_attention(model, LLAMA, SoftmaxAttention, n_kv_heads=groups)
    same = torch.allclose(model(ids).logits, before, rtol=0, atol=1e-10)
    first = replacement.layers[0]
    if groups == 4:
        assert same
        assert first.carried == ("query", "key (each 2 times)", "value (each 2 times)", "output", "their biases")
        assert first.new == ()
    else:
        assert not same
        assert first.carried == ("query", "output", "their biases")
        assert first.new == ("key", "value")


def test_the_future_has_no_influence(replaced: Any, ids: Tensor) -> None:
    before = replaced(ids).logits
    for cut in (0, 7, 15):
        changed = ids.clone()
        changed[:, cut + 1 :] = (changed[:, cut + 1 :] + 1) % 53
        after = replaced(changed).logits
        assert torch.allclose(after[:, : cut + 1], before[:, : cut + 1], rtol=0, atol=1e-12)
        assert (after[:, cut + 1 :] - before[:, cut + 1 :]).abs().amax(dim=-1).min() > 1e-4


def test_generation_with_cache_and_padding_is_that_of_each_row_alone(replaced: Any, ids: Tensor) -> None:
    pads = (0, 3, 9)
    mask = (torch.arange(17)[None] >= torch.tensor(pads)[:, None]).long()
    options: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    given = replaced.generate(ids, attention_mask=mask, **options)[:, 17:]
    for row, pad in enumerate(pads):
        alone = ids[row : row + 1, pad:]
        for _ in range(6):
            alone = torch.cat([alone, replaced(alone, use_cache=False).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
        assert torch.equal(given[row], alone[0, 17 - pad :])
    beams = replaced.generate(ids, attention_mask=mask, num_beams=3, **options)
    uncached = replaced.generate(ids, attention_mask=mask, num_beams=3, use_cache=False, **options)
    assert torch.equal(beams, uncached)


def test_chunks_behind_a_cache_equal_one_pass(replaced: Any, ids: Tensor) -> None:
    whole = replaced(ids).logits
    first = replaced(ids[:, :6], use_cache=True)
    second = replaced(ids[:, 6:], past_key_values=first.past_key_values).logits
    assert torch.allclose(torch.cat([first.logits, second], dim=1), whole, rtol=0, atol=1e-10)


def test_training_reaches_everything_and_lowers_the_loss(replaced: Any, ids: Tensor) -> None:
    replaced.train()
    replaced.activation_checkpointing_enable()
    optimizer = torch.optim.AdamW(replaced.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        loss = replaced(ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and bool((p.grad != 0).any()) for p in replaced.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_undo_restores_modules_and_weights_to_the_bit(host: tuple[Any, str], ids: Tensor) -> None:
    model, pattern = host
    modules = dict(model.named_modules())
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before = model(ids).logits
    replacement = replace_attention(model, pattern, SoftplusAttention)
    model.train()
    model(ids, labels=ids).loss.backward()
    torch.optim.SGD([p for n, p in model.named_parameters() if "attn" in n], lr=1.0).step()
    replacement.undo()
    replacement.undo()
    assert dict(model.named_modules()) == modules
    assert all(module.training for module in model.modules())
    restored = model.state_dict()
    assert restored.keys() == state.keys()
    assert all(torch.equal(restored[name], tensor) for name, tensor in state.items())
    assert torch.equal(model.eval()(ids).logits, before)
    with pytest.raises(RuntimeError, match="inside"), replace_attention(model, pattern, SoftplusAttention):
        raise RuntimeError("inside")
    assert dict(model.named_modules()) == modules


def test_undo_touches_nothing_where_a_module_was_exchanged_meanwhile(make_host: Make) -> None:
    model = make_host("llama")
    replacement = replace_attention(model, LLAMA, SoftplusAttention)
    ours, model.model.layers[1].self_attn = model.model.layers[1].self_attn, nn.Identity()
    with pytest.raises(ArgumentError, match=r"the replaced module at model.layers.1.self_attn, got 'Identity'"):
        replacement.undo()
    assert type(model.model.layers[0].self_attn).__name__ == "ForeignAttention"
    model.model.layers[1].self_attn = ours
    replacement.undo()
    assert type(model.model.layers[1].self_attn).__name__ == "LlamaAttention"


def test_weights_load_into_a_model_that_was_changed_alike(make_host: Make, ids: Tensor, tmp_path: Path) -> None:
    for kind, pattern in (("qwen2", LLAMA), ("gpt2", GPT2)):
        model = make_host(kind)
        replace_attention(model, pattern, ComplexAttention)
        save_model(model, str(tmp_path / "weights.safetensors"))
        fresh = type(model)(model.config).eval()
        replace_attention(fresh, pattern, ComplexAttention)
        assert not torch.allclose(fresh(ids).logits, model(ids).logits)
        load_model(fresh, str(tmp_path / "weights.safetensors"))
        assert torch.equal(fresh(ids).logits, model(ids).logits)
        assert torch.equal(
            fresh.state_dict()[f"{pattern.replace('*', '1')}.layer.delta"],
            model.get_submodule(pattern.replace("*", "1")).layer.delta,
        )


def test_some_layers_alone_and_what_the_report_says(make_host: Make) -> None:
    model = make_host("llama")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    replacement = replace_attention(model, "*.[1-9].self_attn", ComplexAttention, adaptation="head")
    (layer,) = replacement.layers
    assert (layer.name, layer.before, layer.after) == ("model.layers.1.self_attn", "LlamaAttention", "ComplexAttention")
    assert layer.carried == ("query", "key", "value", "output")
    assert layer.new == ("delta", "bias")
    assert (layer.parameters_before, layer.parameters_after) == (3072, 3072 + 2 + 4)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"model.layers.1.self_attn.layer.delta", "model.layers.1.self_attn.layer.bias"}
    head, _, row, total = str(replacement).splitlines()
    assert head.split("  ")[0] == "module"
    assert row.split("  ")[:5] == [
        "model.layers.1.self_attn",
        "LlamaAttention",
        "ComplexAttention",
        "base 10000",
        "query, key, value, output",
    ]
    assert row.endswith("delta, bias  3,072 -> 3,078")
    assert total == "1 module replaced; their parameters 3,072 -> 3,078"


def test_type_and_dropout_of_the_host_stay(make_host: Make, ids: Tensor) -> None:
    model = make_host("gpt2", resid_pdrop=0.5).to(torch.bfloat16)
    replace_attention(model, GPT2, SoftplusAttention)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    # keys that stay in float32 must not widen what comes after them, though the library's cache widens the values
    uncached = model(ids, use_cache=False).logits
    assert uncached.dtype == torch.bfloat16
    assert torch.equal(model(ids, use_cache=True).logits, uncached)
    attention = model.transformer.h[0].attn.train()
    x = torch.randn(2, 9, 32, dtype=torch.bfloat16)
    share = (attention(x)[0] == 0).float().mean()
    assert 0.35 < share < 0.65


def test_errors_before_anything_is_changed(make_host: Make) -> None:
    model = make_host("llama")
    modules = dict(model.named_modules())
    wrong: list[tuple[str, Any, dict[str, Any], str]] = [
        ("transformer.h.*.self_attn", SoftplusAttention, {}, r"pattern: .*such as .*model\.layers\.\*\.self_attn"),
        ("model.layers.*.mlp", SoftplusAttention, {}, r"pattern: .*q_proj.*c_attn.*model.layers.0.mlp, LlamaMLP"),
        (LLAMA, SoftplusAttention, {"pwoer": 3}, "pwoer: expected an argument of SoftplusAttention, such as power"),
        (LLAMA, SoftplusAttention, {"n_heads": 8}, "n_heads: expected nothing: it is the model's, got 8"),
        (LLAMA, SoftplusAttention, {"power": -1.0}, "power: "),
        (LLAMA, nn.Linear, {}, "attention: expected a subclass of lmzoo.layers.Attention, got 'Linear'"),
        (LLAMA, "SoftplusAttenton", {}, "class_path: .*SoftplusAttention"),
    ]
    for pattern, layer, arguments, message in wrong:
        with pytest.raises(ArgumentError, match=message):
            replace_attention(model, pattern, layer, **arguments)
        assert dict(model.named_modules()) == modules
    replace_attention(model, LLAMA, SoftplusAttention)
    with pytest.raises(ArgumentError, match=r"not replaced already; undo that first, got 'model.layers.0.self_attn'"):
        replace_attention(model, LLAMA, SoftmaxAttention)
